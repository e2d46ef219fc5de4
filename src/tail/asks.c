#include "tail/asks.h"

#include <stdio.h>

#include "base/clock.h"
#include "tail/telling.h"

// What is under way at once. The bytes are what the reads are expected to bring, going by
// what was read of the same stream before; a stream of which nothing is known counts
// as one with entries like those that were read last, of whatever stream.
#define READS_IN_FLIGHT_MAX 64
#define BYTES_IN_FLIGHT_MAX (4 * MIB) // but one read may always be under way
#define USUAL_ENTRY_BYTES_MIN (8 * KIB)

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
    s->asks[(s->ask_head + s->ask_len++) % s->ask_cap] = (struct ask){ .kind = kind, .feed = f };
}

static struct ask *newest_ask(struct source *s)
{
    return &s->asks[(s->ask_head + s->ask_len - 1) % s->ask_cap];
}

struct ask asks_take(struct source *s)
{
    CHECK(s->ask_len > 0);
    struct ask a = s->asks[s->ask_head];
    s->ask_head = (s->ask_head + 1) % s->ask_cap;
    s->ask_len--;
    if (a.kind == ASK_RANGE || a.kind == ASK_CHECK)
        s->reads_in_flight--;
    s->bytes_in_flight -= a.bytes;
    return a;
}

static void command(struct source *s, size_t argc, const struct view *argv, enum ask_kind kind,
                    struct feed *f)
{
    link_command(s->link, argc, argv);
    ask(s, kind, f);
}

static void send_range(struct feed *f, enum ask_kind kind)
{
    struct source *s = source_of(f);
    link_xrange(s->link, feed_key(f), f->read.from, f->read.page);
    ask(s, kind, f);
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

void asks_learn_size(struct source *s, size_t entry_bytes)
{
    size_t faded = s->usual_entry_bytes - s->usual_entry_bytes / 8;
    size_t usual = entry_bytes > faded ? entry_bytes : faded; // up at once, down slowly
    s->usual_entry_bytes = usual > USUAL_ENTRY_BYTES_MIN ? usual : USUAL_ENTRY_BYTES_MIN;
}

void asks_init(struct source *s)
{
    asks_learn_size(s, 0);
}

// XINFO STREAM shows the first entry and the last.
static bool is_check(const struct feed *f)
{
    // Without an event that must come back, only the count tells of what was trimmed.
    return !f->all->cannot_check && (f->check || !f->placed || eventid_is_none(f->ring.last));
}

static size_t expected_bytes(const struct feed *f)
{
    size_t known = f->paging.entry_bytes, usual = source_of(f)->usual_entry_bytes;
    size_t entries = f->paging.expected + (is_check(f) ? 2 : 0) + (f->placed ? 0 : 1);
    return entries * (known ? known : usual);
}

static void send_read(struct feed *f)
{
    struct source *s = source_of(f);
    int64_t from_ms = feeds_redis_now_ms(&s->feeds) - s->config->ring_seconds * MS_PER_S;
    struct eventid window = { .ms = (uint64_t)from_ms };
    f->read =
        (struct feed_read){ .from = f->placed ? f->ring.last : window, .page = f->paging.page };
    f->asked_epoch = pulse_epoch(s->pulse);

    size_t bytes = expected_bytes(f);
    if (s->feeds.cannot_check)
        f->check = false;
    if (is_check(f)) { // one snapshot: nothing comes between
        const struct view info[] = { VIEW("XINFO"), VIEW("STREAM"), feed_key(f) };
        command(s, 1, &VIEW("MULTI"), ASK_QUEUED, NULL);
        command(s, ARRAY_LEN(info), info, ASK_QUEUED, NULL);
        if (!f->placed)
            send_older(f, window, ASK_QUEUED);
        send_range(f, ASK_QUEUED_RANGE);
        command(s, 1, &VIEW("EXEC"), ASK_CHECK, f);
        metrics_add(s->metrics, METRIC_REDIS_CHECKS, 1);
    } else {
        if (!f->placed)
            send_older(f, window, ASK_OLDER);
        send_range(f, ASK_RANGE);
        metrics_add(s->metrics, METRIC_REDIS_READS, 1);
    }
    f->asked = true;
    deadline_cancel(&f->recheck); // this read shows all that Redis has told of so far
    telling_read_sent(f);
    newest_ask(s)->bytes = bytes;
    newest_ask(s)->sent_us = clock_mono_us();
    s->bytes_in_flight += bytes;
    s->reads_in_flight++;
    ring_refresh_sent(&f->ring);
}

bool asks_may_read(const struct source *s)
{
    return link_is_up(s->link) && s->clock_known && !deadline_armed(&s->hold);
}

static bool has_room_for(const struct source *s, const struct feed *f)
{
    return s->reads_in_flight == 0 ||
           (s->reads_in_flight < READS_IN_FLIGHT_MAX &&
            s->bytes_in_flight + expected_bytes(f) <= BYTES_IN_FLIGHT_MAX);
}

// Dirty feeds are read as far as there is room; the rest stay dirty, in their order, so
// that a large one has its turn too. A feed whose read is unanswered stays dirty, and is
// read again after it.
void asks_read_dirty(struct source *s)
{
    if (!asks_may_read(s))
        return;
    LIST_EACH (node, &s->feeds.dirty) {
        struct feed *f = LIST_ITEM(node, struct feed, in_dirty);
        if (f->asked)
            continue;
        if (!has_room_for(s, f))
            break;
        list_remove(&f->in_dirty);
        send_read(f);
    }
}

bool asks_are_many(const struct source *s)
{
    return s->reads_in_flight > READS_IN_FLIGHT_MAX / 2 ||
           s->bytes_in_flight > BYTES_IN_FLIGHT_MAX / 2;
}

void asks_scan(struct source *s, const struct scan *scan)
{
    char count[24];
    snprintf(count, sizeof(count), "%d", SCAN_COUNT);
    const struct view argv[] = { VIEW("SCAN"),  scan->cursor,   VIEW("MATCH"), scan->match,
                                 VIEW("COUNT"), view_of(count), VIEW("TYPE"),  VIEW("stream") };
    command(s, ARRAY_LEN(argv) - (scan->with_type ? 0 : 2), argv, ASK_SCAN, NULL);
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
    command(s, 1, &VIEW("TIME"), ASK_TIME, NULL);
    newest_ask(s)->sent_us = clock_mono_us();
}

void asks_fence(struct source *s)
{
    command(s, 1, &VIEW("PING"), ASK_FENCE, NULL);
    newest_ask(s)->epoch = pulse_epoch(s->pulse);
}
