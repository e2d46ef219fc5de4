#include "worker/closing.h"

#include <stdio.h>
#include <sys/random.h>

#include "worker/flush.h"
#include "worker/hub_flush.h"
#include "worker/seat.h"
#include "worker/seek.h"
#include "worker/tell.h"

#define RECONNECT_SPREAD_MS 5000
#define HUB_MESSAGE_MAX (60 * KIB) // of a `closing`; there may be several

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

// ---- of many streams ------------------------------------------------------------

static void end_message(struct client *c, struct buffer *text, int64_t reconnect_ms)
{
    notice_closing_end(text, reconnect_ms);
    tell_text(c, client_hub(c)->form, "closing", text);
}

// `closing` says where to resume each stream, in as many messages as it takes.
static void add_hub_closing(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    const struct hub *h = client_hub(c);
    struct buffer *text = tell_empty_text(c);
    bool is_first = true;
    notice_closing_begin(text, code, reason);
    for (size_t i = 0; i < h->slot_count; i++) {
        const struct seat *seat = h->slots[i];
        if (seat == NULL)
            continue;
        if (text->len > HUB_MESSAGE_MAX) {
            end_message(c, text, reconnect_ms);
            text = tell_empty_text(c);
            notice_closing_begin(text, code, reason);
            is_first = true;
        }
        notice_closing_stream(text, is_first, stream_id(seat->stream), seat_last_id(seat));
        is_first = false;
    }
    end_message(c, text, reconnect_ms);
}

static void add_hub_goodbye(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    struct extra *x = c->extra;
    client_hold_rest(c);
    hub_say_endings(c, SIZE_MAX);
    x->ping = x->pong_waits = false;
    if (reconnect_ms >= 0)
        add_hub_closing(c, code, reason, reconnect_ms);
    add_close_frame(c, code, reason);
}

// ---- of one ---------------------------------------------------------------------

// A gap that is owed is told even now; `closing` says where to resume, and that is behind it.
static void add_goodbye(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    struct extra *x = client_extra(c);
    if (!c->sub.waiting)
        client_hold_rest(c);
    if (x->gap_owed)
        tell_gap(c, c->sub.stream, &x->gap);
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
    if (client_hub(c))
        add_hub_goodbye(c, code, reason, reconnect_ms);
    else
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

// One gap is owed at most: it grows with what is passed over until it can be told.
static void owe_gap(struct client *c, const struct gap *gap)
{
    struct extra *x = client_extra(c);
    if (x->gap_owed)
        gap_extend(&x->gap, gap);
    else
        x->gap = *gap;
    x->gap_owed = true;
}

void close_or_skip(struct client *c, uint64_t first_seq)
{
    const struct log *l = &c->sub.stream->log;
    client_hold_rest(c);
    if (c->sub.cursor.seq >= first_seq)
        return; // it was in the middle of the last of them, and will have it whole
    if (c->sub.every_ms > 0)
        return; // it asked for the newest alone
    uint64_t at = c->sub.cursor.seq;
    struct gap gap = seek_passed_over(l, at, first_seq, tell_last_id(c));
    bool events = first_seq > l->end_seq || log_count_events(l, at, first_seq) > 0;
    if (events)
        metrics_add(c->all->metrics, METRIC_GAPS + GAP_SLOW, 1);
    if (events && c->sub.slow == SLOW_CLOSE) {
        close_behind(c, &gap);
        return;
    }
    metrics_add(c->all->metrics, METRIC_EVENTS_PASSED_OVER, first_seq - at);
    if (client_tells(c))
        owe_gap(c, &gap);
    if (c->sub.slow == SLOW_LATEST)
        client_extra(c)->to_latest = true;
    c->sub.cursor = (struct cursor){ .seq = first_seq };
}
