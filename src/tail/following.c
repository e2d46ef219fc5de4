#include "tail/following.h"

#include "tail/telling.h"
#include "wire/ws.h"

struct feed *following_find(const struct following *all, struct view id)
{
    struct table_node *found = table_find(&all->by_id, id);
    return found ? TABLE_ITEM(found, struct feed, by_id) : NULL;
}

// ---- the end of a feed ------------------------------------------------------------

static void take_off_the_hotline(struct feed *f)
{
    struct source *s = source_of(f);
    for (size_t i = 0; i < s->hot_count; i++)
        if (s->hot[i].feed == f)
            s->hot[i].feed = NULL;
}

void following_drop(struct feed *f)
{
    if (!f->dead) {
        ring_done(&f->ring);
        table_remove(&source_of(f)->following->by_id, &f->by_id);
        list_remove(&f->in_sweep);
        list_remove(&f->in_dirty);
        list_remove(&f->in_changed);
        list_remove(&f->in_warm);
        list_remove(&f->in_all);
        deadline_cancel(&f->linger);
        deadline_cancel(&f->recheck);
        deadline_cancel(&f->retry);
        telling_forget(f);
        source_of(f)->healthy -= f->healthy;
        take_off_the_hotline(f);
        f->dead = true;
    }
    if (!f->asked)
        free(f);
}

void following_fail(struct feed *f, int close_code, const char *reason)
{
    ring_fail(&f->ring, close_code, reason);
    following_drop(f);
}

static void linger_due(struct deadline *d)
{
    struct feed *f = CONTAINER_OF(d, struct feed, linger);
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "unfollow", SAY_V("stream", feed_id(f)));
    following_drop(f);
}

// ---- letters ----------------------------------------------------------------------

static void refuse_one_more(const struct request *request)
{
    struct failure *failure = must_alloc(sizeof(*failure));
    *failure = (struct failure){ .letter.kind = LETTER_FAILED,
                                 .stream = request->stream,
                                 .close_code = WS_CLOSE_TRY_LATER,
                                 .reason = "too many streams are followed" };
    mailbox_post(request->from, &failure->letter);
}

static struct feed *begin(struct following *all, struct view id)
{
    struct feed *f = feed_new(&all->source->feeds, id);
    deadline_init(&f->retry);
    table_add(&all->by_id, &f->by_id, feed_id(f));
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "follow", SAY_V("stream", id));
    return f;
}

static void follow(struct following *all, const struct request *request, struct feed *f)
{
    if (f == NULL && all->by_id.len >= (size_t)all->source->config->max_followed) {
        refuse_one_more(request);
        return;
    }
    if (f == NULL)
        f = begin(all, (struct view){ request->id, request->id_len });
    ring_subscribe(&f->ring, request);
    deadline_cancel(&f->linger);
    feed_mark_changed(f);
}

static void unfollow(struct following *all, const struct request *request, struct feed *f)
{
    // It may have failed, and the worker did not know yet.
    if (f && ring_unsubscribe(&f->ring, request) && !ring_has_subscribers(&f->ring))
        deadline_arm(&all->lingers, &f->linger, all->source->loop->now_ms);
    struct farewell *farewell = must_alloc(sizeof(*farewell));
    *farewell = (struct farewell){ .letter.kind = LETTER_UNFOLLOWED, .stream = request->stream };
    mailbox_post(request->from, &farewell->letter);
}

static void refresh(const struct request *request, struct feed *f)
{
    if (f && ring_want_refresh(&f->ring, request))
        feed_mark_dirty(f);
}

void following_take(struct following *all, const struct request *request)
{
    struct feed *f = following_find(all, (struct view){ request->id, request->id_len });
    switch (request->letter.kind) {
    case LETTER_FOLLOW: follow(all, request, f); break;
    case LETTER_UNFOLLOW: unfollow(all, request, f); break;
    case LETTER_REFRESH: refresh(request, f); break;
    default: CHECK(!"a letter for the tail");
    }
}

// ---- start and stop ---------------------------------------------------------------

void following_init(struct following *all, struct source *source)
{
    *all = (struct following){ .source = source };
    table_init(&all->by_id);
    source->following = all;
    source_add_queue(source, &all->lingers, source->config->ring_seconds * MS_PER_S, linger_due);
}

void following_done(struct following *all)
{
    LIST_EACH (node, &all->source->feeds.sweep)
        following_fail(LIST_ITEM(node, struct feed, in_sweep), WS_CLOSE_GOING_AWAY,
                       "the broker ends");
    table_done(&all->by_id);
}
