#include "tail/hot.h"

#include "tail/asks.h"

#define HOT_READS_MAX 300 // changes a second; above it, reading what has piled up is cheaper
#define HOT_ENTRY_BYTES_MAX (16 * KIB)
#define HOT_RECHECK_MS 100 // a hot stream that Redis says has changed is read here too

// Redis may have told the link of a change that the hotline was to bring; from now on
// only the link brings it.
static void cool(struct feed *f)
{
    f->hot = false;
    if (deadline_armed(&f->recheck))
        feed_mark_dirty(f);
    deadline_cancel(&f->recheck);
}

static void cool_all(struct source *s)
{
    for (size_t i = 0; i < s->hot_count; i++)
        if (s->hot[i].feed)
            cool(s->hot[i].feed);
    s->hot_count = 0;
}

// Somebody listens, we are at its end as far as we know, and to read its newest event
// once more for each change of the others costs little.
static bool may_be_hot(const struct feed *f)
{
    bool at_end = f->placed && f->ring.ready && !f->unsure && !f->check && !f->asked &&
                  list_empty(&f->in_dirty);
    return at_end && !eventid_is_none(f->ring.last) && eventid_is_none(f->dedupe_until) &&
           !deadline_armed(&f->linger) && f->paging.entry_bytes <= HOT_ENTRY_BYTES_MAX;
}

static void choose_hot(struct source *s)
{
    struct feed *was[HOTLINE_WAITS_MAX];
    size_t was_count = s->hot_count;
    for (size_t i = 0; i < was_count; i++) {
        was[i] = s->hot[i].feed;
        if (was[i])
            was[i]->hot = false;
    }
    s->hot_count = 0;
    for (struct list *node = s->feeds.warm.prev; node != &s->feeds.warm; node = node->prev) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (s->hot_count == ARRAY_LEN(s->hot))
            break;
        if (!may_be_hot(f))
            continue;
        f->hot = true;
        s->hot[s->hot_count++] =
            (struct hot){ f, { .from = f->ring.last, .page = f->paging.page } };
    }
    for (size_t i = 0; i < was_count; i++)
        if (was[i] && !was[i]->hot)
            cool(was[i]);
}

static void drop_no_longer_warm(struct source *s)
{
    LIST_EACH (node, &s->feeds.warm) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (feed_is_warm(f))
            break;
        list_remove(node);
    }
}

void hot_wait(struct source *s)
{
    struct view server = { s->server_id, s->server_id_len };
    if (s->hotline == NULL || hotline_is_waiting(s->hotline))
        return;
    drop_no_longer_warm(s);
    bool may = asks_may_read(s) && server.len > 0 && !s->busy && !list_empty(&s->feeds.warm);
    if (!may || !hotline_is_free(s->hotline, server)) {
        cool_all(s);
        return;
    }
    choose_hot(s);
    struct hotline_wait waits[HOTLINE_WAITS_MAX];
    for (size_t i = 0; i < s->hot_count; i++) {
        const struct hot *hot = &s->hot[i];
        waits[i] = (struct hotline_wait){ feed_key(hot->feed), hot->read.from, hot->read.page };
    }
    if (s->hot_count > 0)
        hotline_wait(s->hotline, waits, s->hot_count);
    hotline_flush(s->hotline);
}

void hot_count_reads(struct source *s)
{
    s->busy = s->feeds.fresh_reads > HOT_READS_MAX;
    s->feeds.fresh_reads = 0;
}

void hot_changed(struct feed *f)
{
    struct source *s = source_of(f);
    if (!deadline_armed(&f->recheck))
        deadline_arm(&s->rechecks, &f->recheck, s->loop->now_ms);
}

static void recheck_due(struct deadline *d)
{
    feed_mark_dirty(CONTAINER_OF(d, struct feed, recheck));
}

// ---- the hotline's events -----------------------------------------------------------

static void hotline_answered(void *ctx, size_t i, struct view reply)
{
    struct source *s = ctx;
    const struct hot *hot = &s->hot[i];
    struct feed *f = hot->feed;
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (f == NULL)
        return;
    feed_take_beside(f, &hot->read, &r, &node);
    source_cut_for_bad_reply(s);
}

static void hotline_lost(void *ctx)
{
    struct source *s = ctx;
    for (size_t i = 0; i < s->hot_count; i++)
        if (s->hot[i].feed)
            feed_mark_dirty(s->hot[i].feed);
    cool_all(s);
}

const struct hotline_events hot_events = {
    .answered = hotline_answered,
    .lost = hotline_lost,
};

void hot_init(struct source *s)
{
    source_add_queue(s, &s->rechecks, HOT_RECHECK_MS, recheck_due);
}
