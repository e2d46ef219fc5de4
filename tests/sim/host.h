// The Redis of a world: a model of it (redis/model.h) at a port, and all that can befall it.
//
// It takes its time: what came is served some microseconds later, several connections in one
// turn, as Redis does it. It can hang, be killed and come back with what it had, with less, or
// with nothing; it can fail over to a replica that lagged; its clock can be set.
#pragma once

#include "net.h"
#include "redis/model.h"

struct host {
    struct model *model;
    struct model_conn *hand; // of the world: publishers, and whoever hurts streams
    struct acceptor acceptor;
    struct list visitors, dirty;
    struct event work, due;
    int64_t clock_offset_us; // of its wall clock from the brokers' machine's
    struct model_image *saved;
    uint64_t life;
    bool hangs, is_down;
};

void host_init(struct host *h, int port, const char *version);
void host_done(struct host *h);

// A command of the world's own, done at once. The reply is valid until the next one.
struct view host_command(struct host *h, size_t argc, const struct view *argv);
bool host_answers(const struct host *h); // it is up and does not hang

void host_hang(struct host *h, bool hangs);
void host_kill(struct host *h); // connections break; nobody listens
enum host_data { HOST_KEEPS, HOST_LOSES_ALL, HOST_LOADS_SAVED };
void host_restart(struct host *h, enum host_data data);
void host_save(struct host *h);
void host_step_clock(struct host *h, int64_t by_us);
void host_break_connections(struct host *h, bool silently); // a router that forgot them
