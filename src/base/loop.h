// One thread's event loop over epoll(7). A turn: wait, hand each ready watch its
// events, run the deadlines, then before_sleep, once, whatever came. Work that
// many events ask for (flush the clients of a stream, reap the dead) is marked
// during the turn and done there.
//
// All of it belongs to the thread that runs the loop.
#pragma once

#include <sys/epoll.h>

#include "base/base.h"
#include "base/deadline.h"
#include "base/list.h"

// Embedded in whatever owns the descriptor.
struct watch {
    void (*ready)(struct watch *w, uint32_t events); // EPOLLIN, EPOLLOUT, EPOLLHUP, …
};

struct loop {
    int epoll_fd;
    bool stopping;
    int64_t now_ms; // monotonic; read once a turn
    struct list queues;
    bool (*before_sleep)(void *ctx);       // true: there is more to do, do not sleep
    void (*turned)(void *ctx, int64_t us); // NULL, or told how long each turn took
    void *ctx;
};

bool loop_init(struct loop *l); // false: errno says why
void loop_done(struct loop *l);

// Start, change and end watching fd. A watch must stay valid until the end of the
// turn in which watching ended, for the loop may hold events for it already. The
// first two return false with errno set.
bool loop_watch(struct loop *l, int fd, struct watch *w, uint32_t events);
bool loop_rewatch(struct loop *l, int fd, struct watch *w, uint32_t events);
void loop_unwatch(struct loop *l, int fd);

void loop_add_queue(struct loop *l, struct deadline_queue *q);

void loop_run(struct loop *l);  // until loop_stop
void loop_stop(struct loop *l); // at the end of this turn
