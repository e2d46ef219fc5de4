#include "tail/source.h"

#include "tail/telling.h"

void source_add_queue(struct source *s, struct deadline_queue *q, int64_t after_ms,
                      void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(s->loop, q);
}

void source_init(struct source *s)
{
    feeds_init(&s->feeds);
    telling_init(&s->feeds);
    loop_add_queue(s->loop, &s->feeds.second_reads);
    rings_init(&s->feeds.rings, s->config, s->metrics, s->loop);
    deadline_init(&s->poll);
    deadline_init(&s->hold);
}

void source_done(struct source *s)
{
    if (s->hotline)
        hotline_free(s->hotline);
    if (s->link)
        link_free(s->link);
    free(s->asks);
    buffer_free(&s->name);
    rings_done(&s->feeds.rings);
    feeds_done(&s->feeds);
}

void source_mark_all_dirty(struct source *s)
{
    LIST_EACH (node, &s->feeds.sweep)
        feed_mark_dirty(LIST_ITEM(node, struct feed, in_sweep));
}

void source_sweep(struct source *s, size_t count)
{
    struct list *sweep = &s->feeds.sweep, *last = sweep->prev;
    while (count-- > 0 && !list_empty(sweep)) {
        struct list *node = sweep->next;
        list_move(sweep, node);
        feed_mark_dirty(LIST_ITEM(node, struct feed, in_sweep));
        if (node == last)
            break; // all of them
    }
}

void source_cut_for_bad_reply(struct source *s)
{
    if (s->feeds.bad_reply)
        link_cut(s->link, s->feeds.bad_reply);
    s->feeds.bad_reply = NULL;
}
