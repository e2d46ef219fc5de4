#include "redis/unanswered.h"

// Commands of one kind that were queued in the same millisecond: a turn's thousand
// commands are one of these.
struct ask {
    struct list node;
    bool is_ping;
    size_t count;
    int64_t since_ms; // when they were queued or, while they leave, when the last bytes left
    uint64_t ends_at; // this connection's bytes up to their end
};

void unanswered_init(struct unanswered *u)
{
    *u = (struct unanswered){ 0 };
    list_init(&u->asks);
}

void unanswered_clear(struct unanswered *u)
{
    for (struct list *node; (node = list_pop(&u->asks));)
        free(LIST_ITEM(node, struct ask, node));
    u->sent = 0;
}

bool unanswered_any(const struct unanswered *u)
{
    return !list_empty(&u->asks);
}

static struct ask *oldest(const struct unanswered *u)
{
    return list_empty(&u->asks) ? NULL : LIST_ITEM(u->asks.next, struct ask, node);
}

void unanswered_add(struct unanswered *u, bool is_ping, size_t waiting, int64_t now_ms)
{
    struct ask *last = list_empty(&u->asks) ? NULL : LIST_ITEM(u->asks.prev, struct ask, node);
    if (!last || last->is_ping != is_ping || last->since_ms != now_ms) {
        last = must_alloc(sizeof(*last));
        *last = (struct ask){ .is_ping = is_ping, .since_ms = now_ms };
        list_push(&u->asks, &last->node);
    }
    last->count++;
    last->ends_at = u->sent + waiting;
}

bool unanswered_take(struct unanswered *u, bool *is_ping)
{
    struct ask *a = oldest(u);
    if (!a)
        return false;
    *is_ping = a->is_ping;
    if (--a->count == 0) {
        list_remove(&a->node);
        free(a);
    }
    return true;
}

void unanswered_left(struct unanswered *u, size_t bytes, int64_t now_ms)
{
    struct ask *a = oldest(u);
    if (a && u->sent < a->ends_at)
        a->since_ms = now_ms;
    u->sent += bytes;
}

void unanswered_heard(struct unanswered *u, int64_t now_ms)
{
    u->answered_ms = now_ms;
}

int64_t unanswered_stuck_since_ms(const struct unanswered *u)
{
    int64_t since_ms = oldest(u)->since_ms;
    return since_ms > u->answered_ms ? since_ms : u->answered_ms;
}
