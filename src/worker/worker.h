// A thread that serves clients: its own listener, its clients, its view of their
// streams. Workers share nothing but segments' reference counts; the tail and the
// broker reach them by letter.
#pragma once

#include <pthread.h>

#include "base/mailbox.h"
#include "shared/config.h"
#include "shared/metrics.h"
#include "shared/pulse.h"
#include "worker/clients.h"
#include "worker/pattern.h"
#include "worker/stream.h"

struct worker {
    int number;
    const struct config *config;
    pthread_t thread;
    struct loop loop;
    struct mailbox mailbox;
    struct streams streams;
    struct patterns patterns;
    struct clients clients;
    struct metrics metrics;
    char thread_name[24];
    struct watch listener, admin_listener;
    int listen_fd, spare_fd;
    int admin_fd; // the listener for operators; -1: this worker has none
    struct deadline_queue ends, pauses, admin_pauses;
    struct deadline end, pause, admin_pause;
    bool running;        // the thread was started
    atomic_bool drained; // its clients are gone, or the time for that is over
};

// What all workers of a broker share.
struct worker_world {
    const struct config *config;
    const struct pulse *pulse;
    struct mailbox *tail;
    struct metric_rows metrics;
    struct door door;
    atomic_size_t clients;
    size_t max_clients;
    size_t outbox_bytes; // one worker's share
};

// Prepares a worker on a listening socket, which it takes over, as well as one for operators
// (-1: none). False: *why is a
// sentence to be freed, and the process is to end.
bool worker_init(struct worker *w, int number, struct worker_world *world, int listen_fd,
                 int admin_fd, char **why);
bool worker_start(struct worker *w, char **why);

void worker_drain(struct worker *w); // `drained` is set when its clients are gone, or time is up
void worker_stop(struct worker *w);  // it ends at once
void worker_join(struct worker *w);  // waits for its end; its clients are gone then
void worker_done(struct worker *w);  // when nobody posts to it any more
