#include "tail/trouble.h"

#include "tail/following.h"
#include "wire/ws.h"

#define RETRY_MS 250   // behind an error, a stream or the whole server is tried again
#define REFUSALS_MAX 3 // of one stream, while others could be read
#define SAY_EVERY_MS 10000

// Errors about the whole server: some pass by themselves (loading, busy, failing over).
static bool is_of_the_server(struct view error)
{
    static const char *const codes[] = { "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "NOAUTH" };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (view_starts(error, view_of(codes[i])))
            return true;
    return false;
}

static bool is_moved(struct view error)
{
    return view_starts(error, VIEW("MOVED")) || view_starts(error, VIEW("ASK "));
}

static const char *hint_for(struct view error)
{
    if (is_moved(error))
        return "REDIS_URL leads to one node of a Redis Cluster, and this stream is on another "
               "one: the broker needs a server that has all streams";
    if (view_starts(error, VIEW("NOPERM")))
        return "the broker's user in Redis needs XRANGE, XREVRANGE and the keys of the streams";
    if (view_starts(error, VIEW("WRONGTYPE")))
        return "something else than a stream is stored at the stream's key";
    return "it is tried again";
}

static void say_error(struct feed *f, struct view error)
{
    struct source *s = source_of(f);
    uint64_t not_said;
    if (say_limited(&s->read_failed, s->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_WARN, "read_failed", SAY_V("stream", feed_id(f)), SAY_V("error", error),
            SAY_NOT_SAID(not_said), SAY_S("hint", hint_for(error)));
}

static void set_healthy(struct feed *f, bool healthy)
{
    struct source *s = source_of(f);
    if (f->healthy == healthy)
        return;
    f->healthy = healthy;
    s->healthy = healthy ? s->healthy + 1 : s->healthy - 1;
}

void trouble_none(struct feed *f)
{
    struct source *s = source_of(f);
    set_healthy(f, true);
    f->refusals = 0;
    s->troubled = false;
    if (s->said_troubled)
        say(SAY_INFO, "redis_readable", SAY_V("redis", buffer_view(&s->name)),
            SAY_V("stream", feed_id(f)));
    s->said_troubled = false;
}

// ---- the whole server ---------------------------------------------------------------

static void hold_reads(struct source *s)
{
    if (!deadline_armed(&s->hold))
        deadline_arm(&s->holds, &s->hold, s->loop->now_ms);
}

static void server_fails(struct source *s, struct view error)
{
    uint64_t not_said;
    if (!s->troubled && say_limited(&s->unreadable, s->loop->now_ms, SAY_EVERY_MS, &not_said)) {
        s->said_troubled = true;
        say(SAY_WARN, "redis_unreadable", SAY_V("redis", buffer_view(&s->name)),
            SAY_V("error", error), SAY_NOT_SAID(not_said), SAY_S("hint", hint_for(error)));
    }
    s->troubled = true;
    hold_reads(s);
}

// Who failed may have been dropped since, with nobody left who would be read soon.
void trouble_look(struct source *s)
{
    if (s->troubled && s->reads_in_flight == 0 && list_empty(&s->feeds.dirty))
        hold_reads(s);
}

// One stream is read at least, for who failed may have been dropped meanwhile.
static void hold_due(struct deadline *d)
{
    struct source *s = CONTAINER_OF(d, struct source, hold);
    s->troubled = s->troubled && !list_empty(&s->feeds.sweep); // none is left to find out
    if (s->troubled)
        feed_mark_dirty(LIST_ITEM(s->feeds.sweep.next, struct feed, in_sweep));
}

// ---- one stream ---------------------------------------------------------------------

static void call_a_witness(struct source *s)
{
    LIST_EACH (node, &s->feeds.sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        if (f->healthy) {
            feed_mark_dirty(f);
            return;
        }
    }
}

static void stream_fails(struct feed *f, struct view error)
{
    struct source *s = source_of(f);
    if (!s->troubled && ++f->refusals > REFUSALS_MAX) {
        following_fail(f, WS_CLOSE_FAILURE,
                       is_moved(error) ? "the stream is on another node of a Redis Cluster (MOVED)"
                                       : "Redis refuses to read this stream");
        return;
    }
    deadline_arm(&s->retries, &f->retry, s->loop->now_ms);
    call_a_witness(s);
}

static void retry_due(struct deadline *d)
{
    feed_mark_dirty(CONTAINER_OF(d, struct feed, retry));
}

void trouble_error(struct feed *f, struct view error)
{
    struct source *s = source_of(f);
    bool was_healthy = f->healthy;
    say_error(f, error);
    set_healthy(f, false);
    if (view_starts(error, VIEW("WRONGTYPE"))) {
        following_fail(f, WS_CLOSE_FAILURE,
                       "the stream's key in Redis holds no stream (WRONGTYPE)");
    } else if (view_starts(error, VIEW("NOPERM"))) {
        following_fail(f, WS_CLOSE_FAILURE,
                       "Redis does not let the broker read this stream (NOPERM)");
    } else if (is_of_the_server(error) || was_healthy || s->healthy == 0) {
        server_fails(s, error);
        feed_mark_dirty(f);
    } else {
        stream_fails(f, error);
    }
}

void trouble_reset(struct source *s)
{
    s->troubled = s->said_troubled = false;
    deadline_cancel(&s->hold);
}

void trouble_init(struct source *s)
{
    source_add_queue(s, &s->retries, RETRY_MS, retry_due);
    source_add_queue(s, &s->holds, RETRY_MS, hold_due);
}
