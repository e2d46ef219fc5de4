#include "base/loop.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS_PER_TURN 256

bool loop_init(struct loop *l)
{
    *l = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .now_ms = clock_mono_ms() };
    list_init(&l->queues);
    return l->epoll_fd >= 0;
}

void loop_done(struct loop *l)
{
    close(l->epoll_fd);
    l->epoll_fd = -1;
}

static bool control(struct loop *l, int op, int fd, struct watch *w, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = w };
    return epoll_ctl(l->epoll_fd, op, fd, &event) == 0;
}

bool loop_watch(struct loop *l, int fd, struct watch *w, uint32_t events)
{
    return control(l, EPOLL_CTL_ADD, fd, w, events);
}

bool loop_rewatch(struct loop *l, int fd, struct watch *w, uint32_t events)
{
    return control(l, EPOLL_CTL_MOD, fd, w, events);
}

void loop_unwatch(struct loop *l, int fd)
{
    control(l, EPOLL_CTL_DEL, fd, NULL, 0);
}

void loop_add_queue(struct loop *l, struct deadline_queue *q)
{
    list_push(&l->queues, &q->of_loop);
}

static int sleep_ms(const struct loop *l)
{
    int64_t next = INT64_MAX;
    LIST_EACH (node, &l->queues) {
        int64_t due = deadline_queue_next(LIST_ITEM(node, struct deadline_queue, of_loop));
        if (due < next)
            next = due;
    }
    if (next == INT64_MAX)
        return -1;
    int64_t wait = next - clock_mono_ms();
    return wait < 0 ? 0 : wait > 60 * MS_PER_S ? (int)(60 * MS_PER_S) : (int)wait;
}

static void run_deadlines(struct loop *l)
{
    LIST_EACH (node, &l->queues)
        deadline_queue_run(LIST_ITEM(node, struct deadline_queue, of_loop), l->now_ms);
}

void loop_run(struct loop *l)
{
    struct epoll_event events[EVENTS_PER_TURN];
    bool more = l->before_sleep && l->before_sleep(l->ctx); // what was asked for before the start

    while (!l->stopping) {
        int n = epoll_wait(l->epoll_fd, events, EVENTS_PER_TURN, more ? 0 : sleep_ms(l));
        CHECK(n >= 0 || errno == EINTR);
        int64_t begun_us = clock_mono_us();
        l->now_ms = begun_us / 1000;
        for (int i = 0; i < n; i++) {
            struct watch *w = events[i].data.ptr;
            w->ready(w, events[i].events);
        }
        run_deadlines(l);
        more = l->before_sleep && l->before_sleep(l->ctx);
        if (l->turned)
            l->turned(l->ctx, clock_mono_us() - begun_us);
    }
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}
