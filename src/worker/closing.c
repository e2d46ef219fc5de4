#include "worker/closing.h"

#include <stdio.h>
#include <sys/random.h>

#include "worker/flush.h"
#include "worker/seek.h"
#include "worker/tell.h"

#define RECONNECT_SPREAD_MS 5000

static int64_t random_reconnect_ms(void)
{
    uint16_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = 0;
    return RECONNECT_MIN_MS + random % RECONNECT_SPREAD_MS;
}

static void add_close_frame(struct client *c, int code, struct view reason)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    size_t len = ws_close(frame, code, reason);
    outbox_add(&c->extra->outbox, (struct view){ (const char *)frame, len });
}

// A gap that is owed is told even now; `closing` says where to resume, and that is behind it.
static void add_goodbye(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    struct extra *x = client_extra(c);
    if (!c->sub.waiting)
        client_hold_rest(c);
    if (x->gap_owed)
        tell_gap(c, &x->gap);
    x->gap_owed = x->ping = x->pong_waits = x->replaying = x->says_expiring = false;
    if (client_is_sse(c)) { // the line counts at once, and needs no empty line behind it
        buffer_printf(outbox_write(&x->outbox), "retry: %lld\n", (long long)reconnect_ms);
        outbox_written(&x->outbox);
        return;
    }
    if (client_tells(c) && reconnect_ms >= 0)
        tell_closing(c, code, reason, reconnect_ms);
    add_close_frame(c, code, reason);
}

static void count_close(struct client *c, int code)
{
    size_t index = code == WS_CLOSE_NONE ? CLOSED_NONE : ws_close_index(code);
    metrics_add(c->all->metrics, METRIC_CONNECTIONS_CLOSED + index, 1);
    c->counted_closed = true;
}

void close_open(struct client *c, int code, struct view reason, int64_t reconnect_ms,
                const char *why)
{
    if (c->state != CLIENT_OPEN)
        return;
    count_close(c, code);
    add_goodbye(c, code, reason, reconnect_ms);
    close_reply(c, why);
}

void close_reply(struct client *c, const char *why)
{
    client_enter(c, CLIENT_CLOSING, why);
    client_flush(c);
}

void close_with(struct client *c, int code, struct view reason, const char *why)
{
    close_open(c, code, reason, random_reconnect_ms(), why);
}

void close_for_drain(struct client *c)
{
    char reason[WS_REASON_MAX + 1];
    int64_t wait_ms = random_reconnect_ms();
    snprintf(reason, sizeof(reason), "the broker is going away: reconnect in %lld ms",
             (long long)wait_ms);
    close_open(c, WS_CLOSE_GOING_AWAY, view_of(reason), wait_ms, "drain");
}

void close_behind(struct client *c, const struct gap *gap)
{
    char after[EVENTID_MAX + 1], missed[24] = "some", reason[WS_REASON_MAX + 1];
    eventid_format(gap->after, after);
    if (gap->missed != MISSED_UNKNOWN)
        snprintf(missed, sizeof(missed), "%lld", (long long)gap->missed);
    snprintf(reason, sizeof(reason), "fell behind: last id %s, %s events missed", after, missed);
    close_with(c, WS_CLOSE_BEHIND, view_of(reason), "fell behind");
}

// ---- falling behind -------------------------------------------------------------

// What lies between the cursor and first_seq. The log may not know all of it: the ring can
// have dropped what this worker was never told of.
static struct gap gap_before(const struct client *c, uint64_t first_seq)
{
    const struct log *l = &c->sub.stream->log;
    uint64_t at = c->sub.cursor.seq, known = first_seq < l->end_seq ? first_seq : l->end_seq;
    bool exact = known == first_seq && !log_has_gaps(l, at, known);
    return (struct gap){
        .reason = GAP_SLOW,
        .after = tell_last_id(c),
        .before = seek_event_id(l, known),
        .missed = exact ? log_count_events(l, at, known) : MISSED_UNKNOWN,
    };
}

// One gap is owed at most: it grows with what is passed over until it can be told.
static void owe_gap(struct client *c, const struct gap *gap)
{
    struct extra *x = client_extra(c);
    if (!x->gap_owed) {
        x->gap = *gap;
    } else {
        x->gap.before = gap->before;
        bool exact = x->gap.missed != MISSED_UNKNOWN && gap->missed != MISSED_UNKNOWN;
        x->gap.missed = exact ? x->gap.missed + gap->missed : MISSED_UNKNOWN;
    }
    x->gap_owed = true;
}

void close_or_skip(struct client *c, uint64_t first_seq)
{
    const struct log *l = &c->sub.stream->log;
    client_hold_rest(c);
    if (c->sub.cursor.seq >= first_seq)
        return; // it was in the middle of the last of them, and will have it whole
    struct gap gap = gap_before(c, first_seq);
    uint64_t known = first_seq < l->end_seq ? first_seq : l->end_seq;
    bool events = known < first_seq || log_count_events(l, c->sub.cursor.seq, known) > 0;
    if (events)
        metrics_add(c->all->metrics, METRIC_GAPS + GAP_SLOW, 1);
    if (events && !c->sub.slow_skip) {
        close_behind(c, &gap);
        return;
    }
    metrics_add(c->all->metrics, METRIC_EVENTS_PASSED_OVER, first_seq - c->sub.cursor.seq);
    if (client_tells(c))
        owe_gap(c, &gap);
    c->sub.cursor = (struct cursor){ .seq = first_seq };
}
