#include "cli/asker.h"

#include <errno.h>
#include <stdio.h>

#define REPLY_MAX (16 * MIB)

static void stop_with(struct asker *a, const char *why)
{
    if (!a->is_over)
        snprintf(a->why, sizeof(a->why), "%s", why);
    a->is_over = true;
    loop_stop(&a->loop);
}

static void came_up(void *ctx)
{
    loop_stop(&((struct asker *)ctx)->loop);
}

static void went_down(void *ctx, const char *why)
{
    stop_with(ctx, why);
}

static void replied(void *ctx, struct view reply)
{
    struct asker *a = ctx;
    a->reply.len = 0;
    buffer_add_view(&a->reply, reply);
    loop_stop(&a->loop);
}

static void pushed(void *ctx, struct view push)
{
    (void)ctx;
    (void)push;
}

static void is_late(struct deadline *d)
{
    struct asker *a = CONTAINER_OF(d, struct asker, timeout);
    stop_with(a, "it does not answer in time");
}

static bool before_sleep(void *ctx)
{
    link_flush(((struct asker *)ctx)->link);
    return false;
}

// Until something came, or the time is over.
static void wait_for_it(struct asker *a)
{
    a->loop.stopping = a->is_over;
    int64_t due_ms = clock_mono_ms() + a->timeouts.after_ms;
    deadline_arm_at(&a->timeouts, &a->timeout, due_ms < a->ends_ms ? due_ms : a->ends_ms);
    loop_run(&a->loop);
    deadline_cancel(&a->timeout);
}

bool asker_open(struct asker *a, const struct redis_url *url, int64_t timeout_ms, int64_t total_ms)
{
    static const struct link_events events = {
        .up = came_up, .down = went_down, .reply = replied, .push = pushed
    };
    const struct link_options options = {
        .connect_timeout_ms = timeout_ms,
        .reply_timeout_ms = timeout_ms,
        .ping_ms = timeout_ms,
        .backoff_min_ms = 60 * MS_PER_S, // it is tried once
        .backoff_max_ms = 60 * MS_PER_S,
        .input_max = REPLY_MAX,
        .tracking = true,
    };
    const char *why = NULL;
    *a = (struct asker){ .ends_ms = clock_mono_ms() + total_ms };
    deadline_queue_init(&a->timeouts, timeout_ms, is_late);
    deadline_init(&a->timeout);
    if (!loop_init(&a->loop)) {
        stop_with(a, strerror(errno));
        return false;
    }
    loop_add_queue(&a->loop, &a->timeouts);
    a->loop.before_sleep = before_sleep;
    a->loop.ctx = a;
    a->link = link_new(&a->loop, url, &options, &events, a, &why);
    if (!a->link) {
        stop_with(a, why);
        return false;
    }
    link_start(a->link);
    wait_for_it(a);
    return !a->is_over;
}

void asker_close(struct asker *a)
{
    if (a->link)
        link_free(a->link);
    if (a->loop.epoll_fd >= 0)
        loop_done(&a->loop);
    buffer_free(&a->reply);
}

bool asker_ask(struct asker *a, size_t argc, const struct view *argv, struct resp_node *node,
               struct resp_reader *rest)
{
    if (a->is_over)
        return false;
    link_command(a->link, argc, argv);
    wait_for_it(a);
    if (a->is_over)
        return false;
    *rest = resp_open(buffer_view(&a->reply));
    return resp_next(rest, node);
}
