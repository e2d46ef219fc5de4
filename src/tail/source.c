#include "tail/source.h"

void source_add_queue(struct source *s, struct deadline_queue *q, int64_t after_ms,
                      void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(s->loop, q);
}

void source_init(struct source *s)
{
    feeds_init(&s->feeds);
    rings_init(&s->feeds.rings, s->config, s->stats, s->loop);
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

void source_cut_for_nonsense(struct source *s)
{
    if (s->feeds.nonsense)
        link_cut(s->link, s->feeds.nonsense);
    s->feeds.nonsense = NULL;
}

// The link pings when it hears nothing, three times in stale_ms, so silence is
// trouble. After it every stream is read, so that its clients can be told that it
// is up to date.
void source_take_pulse(struct source *s)
{
    if (!link_is_up(s->link) || s->troubled)
        return; // what was said last runs out by itself
    bool was_readable = pulse_readable(s->pulse, s->loop->now_ms);
    atomic_store(&s->pulse->heard_ms, link_heard_ms(s->link));
    atomic_store(&s->pulse->readable_until_ms, link_heard_ms(s->link) + s->config->stale_ms);
    if (!was_readable && pulse_readable(s->pulse, s->loop->now_ms)) {
        atomic_fetch_add(&s->pulse->epoch, 1);
        source_mark_all_dirty(s);
    }
}
