#include "base/deadline.h"

void deadline_queue_init(struct deadline_queue *q, int64_t after_ms, void (*due)(struct deadline *))
{
    list_init(&q->waiting);
    list_init(&q->of_loop);
    q->after_ms = after_ms;
    q->due = due;
}

void deadline_init(struct deadline *d)
{
    list_init(&d->node);
    d->due_ms = 0;
}

void deadline_arm(struct deadline_queue *q, struct deadline *d, int64_t now_ms)
{
    d->due_ms = now_ms + q->after_ms;
    list_move(&q->waiting, &d->node);
}

void deadline_arm_at(struct deadline_queue *q, struct deadline *d, int64_t due_ms)
{
    d->due_ms = due_ms;
    list_remove(&d->node);
    struct list *before = q->waiting.prev;
    while (before != &q->waiting && LIST_ITEM(before, struct deadline, node)->due_ms > due_ms)
        before = before->prev;
    list_push(before->next, &d->node); // a node is a list's head, too: before its successor
}

void deadline_cancel(struct deadline *d)
{
    list_remove(&d->node);
}

bool deadline_armed(const struct deadline *d)
{
    return !list_empty(&d->node);
}

int64_t deadline_queue_next(const struct deadline_queue *q)
{
    if (list_empty(&q->waiting))
        return INT64_MAX;
    return LIST_ITEM(q->waiting.next, struct deadline, node)->due_ms;
}

// What is armed again falls due after `now`, so this ends; in a queue of 0 ms it would not.
void deadline_queue_run(struct deadline_queue *q, int64_t now_ms)
{
    while (deadline_queue_next(q) <= now_ms)
        q->due(LIST_ITEM(list_pop(&q->waiting), struct deadline, node));
}
