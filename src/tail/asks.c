#include "tail/asks.h"

#include "base/clock.h"

#define READS_IN_FLIGHT 64 // with FEED_PAGE_BYTES it bounds the memory of the replies

static void ask(struct source *s, enum ask_kind kind, struct feed *f)
{
    if (s->ask_len == s->ask_cap) {
        size_t cap = s->ask_cap ? s->ask_cap * 2 : 64;
        struct ask *asks = must_alloc(cap * sizeof(*asks));
        for (size_t i = 0; i < s->ask_len; i++)
            asks[i] = s->asks[(s->ask_head + i) % s->ask_cap];
        free(s->asks);
        s->asks = asks;
        s->ask_cap = cap;
        s->ask_head = 0;
    }
    s->asks[(s->ask_head + s->ask_len++) % s->ask_cap] = (struct ask){ kind, f };
}

struct ask asks_take(struct source *s)
{
    CHECK(s->ask_len > 0);
    struct ask a = s->asks[s->ask_head];
    s->ask_head = (s->ask_head + 1) % s->ask_cap;
    s->ask_len--;
    return a;
}

static void command(struct source *s, size_t argc, const struct view *argv, enum ask_kind kind,
                    struct feed *f)
{
    link_command(s->link, argc, argv);
    ask(s, kind, kind == ASK_NOTHING ? NULL : f);
}

static void send_range(struct feed *f, enum ask_kind kind)
{
    struct source *s = source_of(f);
    link_xrange(s->link, feed_key(f), f->read.from, f->read.page);
    ask(s, kind, kind == ASK_NOTHING ? NULL : f);
}

// The newest entry before the window: for from=last in a quiet stream, and so that
// we know what a client that comes with an older id has missed.
static void send_older(struct feed *f, struct eventid window, enum ask_kind kind)
{
    char end[EVENTID_MAX + 1];
    size_t end_len = eventid_format((struct eventid){ window.ms - 1, UINT64_MAX }, end);
    const struct view argv[] = { VIEW("XREVRANGE"), feed_key(f),   { end, end_len },
                                 VIEW("-"),         VIEW("COUNT"), VIEW("1") };
    command(source_of(f), ARRAY_LEN(argv), argv, kind, f);
}

static void send_read(struct feed *f)
{
    struct source *s = source_of(f);
    int64_t from_ms = feeds_redis_now_ms(&s->feeds) - s->config->ring_seconds * MS_PER_S;
    struct eventid window = { .ms = (uint64_t)from_ms };
    f->read = (struct feed_read){ .from = f->placed ? f->ring.last : window, .page = f->page };
    f->asked_epoch = pulse_epoch(s->pulse);

    if (s->feeds.cannot_check)
        f->check = false;
    // Without an event that must come back, only the count tells of what was trimmed.
    bool check = f->check || !f->placed || eventid_is_none(f->ring.last);
    if (check && !s->feeds.cannot_check) { // one snapshot: nothing comes between
        const struct view info[] = { VIEW("XINFO"), VIEW("STREAM"), feed_key(f) };
        command(s, 1, &VIEW("MULTI"), ASK_NOTHING, NULL);
        command(s, ARRAY_LEN(info), info, ASK_NOTHING, NULL);
        if (!f->placed)
            send_older(f, window, ASK_NOTHING);
        send_range(f, ASK_NOTHING);
        command(s, 1, &VIEW("EXEC"), ASK_CHECK, f);
        stats_add(&s->stats->redis_checks, 1);
    } else {
        if (!f->placed)
            send_older(f, window, ASK_OLDER);
        send_range(f, ASK_RANGE);
        stats_add(&s->stats->redis_reads, 1);
    }
    f->asked = true;
    s->reads_in_flight++;
    ring_refresh_sent(&f->ring);
}

bool asks_may_read(const struct source *s)
{
    return link_is_up(s->link) && s->clock_known && !deadline_armed(&s->retry);
}

// Dirty feeds are read as far as the pipeline has room; the rest stay dirty. A
// feed whose read is unanswered stays dirty too, and is read again after it.
void asks_read_dirty(struct source *s)
{
    if (!asks_may_read(s))
        return;
    LIST_EACH (node, &s->feeds.dirty) {
        if (s->reads_in_flight >= READS_IN_FLIGHT)
            break;
        struct feed *f = LIST_ITEM(node, struct feed, in_dirty);
        if (f->asked)
            continue;
        list_remove(&f->in_dirty);
        send_read(f);
    }
}

void asks_server(struct source *s)
{
    s->server_id_len = 0;
    const struct view argv[] = { VIEW("INFO"), VIEW("server") };
    if (s->hotline)
        command(s, ARRAY_LEN(argv), argv, ASK_SERVER, NULL);
}

void asks_time(struct source *s)
{
    s->time_asked_ms = clock_wall_ms();
    command(s, 1, &VIEW("TIME"), ASK_TIME, NULL);
}
