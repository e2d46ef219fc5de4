// The brokers of a world, side by side, each at a port of its own: started, drained, killed, and
// replaced by another on another port.
#pragma once

#include "process.h"

#define BROKERS_MAX 2

struct broker_slot {
    struct process *process; // NULL: none is there
    int number;              // of its kind, from 1; never the same again
    int port;
    bool drains;
};

struct brokers {
    struct broker_slot slots[BROKERS_MAX];
    int count;                                            // of the slots in use
    int number;                                           // of the last one that was started
    void (*set_up)(struct brokers *b, struct process *p); // its settings, but the port
    void *ctx;
};

void brokers_start(struct brokers *b, int slot);
void brokers_drain(struct brokers *b, int slot); // SIGTERM
void brokers_kill(struct brokers *b, int slot);
// A slot whose process has ended by itself is empty again, and it is checked how it ended.
void brokers_bury_ended(struct brokers *b);
struct broker_slot *brokers_choose(struct brokers *b, struct rng *r); // NULL: none is there
