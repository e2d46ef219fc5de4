#include "worker/subscription.h"

#include "base/clock.h"
#include "worker/closing.h"
#include "worker/date.h"
#include "worker/expiry.h"
#include "worker/flush.h"
#include "worker/history.h"
#include "worker/seek.h"
#include "worker/tell.h"

void subscription_look_at_pulse(struct clients *all)
{
    uint64_t epoch = pulse_epoch(all->pulse);
    if (!pulse_readable(all->pulse, all->loop->now_ms))
        streams_mark_stale(all->streams, epoch);
}

// The handshake goes out.
static void let_in(struct client *c)
{
    struct extra *x = c->extra;
    CHECK(c->state == CLIENT_JOINING);
    outbox_add(&x->outbox, buffer_view(&x->handshake));
    buffer_free(&x->handshake);
    client_enter(c, CLIENT_OPEN, "let in");
    expiry_watch(c);
}

static void say_hello(struct client *c)
{
    tell_hello(c, c->sub.stream, clients_window_start_ms(c->all), (struct view){ 0 });
    c->extra->greeted = true;
}

// ---- the stream is primed -------------------------------------------------------

// What it asked for and will not get, whether its format can say so or not.
static void count_gap(const struct client *c, const struct seek_place *place)
{
    if (place->has_gap)
        metrics_add(c->all->metrics, METRIC_GAPS + place->gap.reason, 1);
}

// It was let in while Redis could not be read, and is owed all since. What the ring has
// by now may begin behind that, and raw cannot say so.
static bool begins_behind(const struct client *c, struct gap *gap)
{
    const struct stream *s = c->sub.stream;
    const struct start since = { .kind = START_LIVE, .at_ms = c->extra->let_in_ms };
    if (since.at_ms == 0 || client_tells(c) || c->sub.slow != SLOW_CLOSE || c->sub.every_ms > 0)
        return false;
    struct seek_place place =
        seek_start(&s->log, &s->floor, s->last, &since, clients_window_start_ms(c->all));
    *gap = place.gap;
    count_gap(c, &place);
    return place.has_gap;
}

static void set_cursor(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->sub.stream;
    int64_t window_ms = clients_window_start_ms(c->all);
    struct seek_place place = seek_start(&s->log, &s->floor, s->last, &x->start, window_ms);
    c->sub.cursor = (struct cursor){ .seq = place.seq };
    x->starting = c->sub.waiting = false;
    if (!(c->sub.every_ms > 0 && pace_passes_over(&place.gap)))
        count_gap(c, &place);
    c->sub.due = c->sub.every_ms > 0; // of what it asked for, the newest comes at once
    if (!client_tells(c))
        return;
    x->replaying = true;
    x->live_seq = s->log.end_seq;
    x->live_id = s->last;
    if (!client_is_sse(c) && !x->greeted)
        say_hello(c);
    if (place.has_gap && !(c->sub.every_ms > 0 && pace_passes_over(&place.gap)))
        tell_gap(c, s, &place.gap);
    if (tell_source_is_due(c)) // at once, and not behind the replay
        client_tell_source(c);
}

// An `after` that is ahead of what we know may be news that another broker had before
// us: Redis is asked before we doubt it.
static bool must_be_confirmed(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->sub.stream;
    if (x->confirmed || !seek_is_ahead(&s->log, s->last, &x->start))
        return false;
    x->confirmed = true; // by the next `refreshed`
    stream_refresh(s);
    return true;
}

void subscription_begin(struct client *c)
{
    struct gap gap;
    CHECK(c->sub.waiting && c->extra->starting && c->sub.stream->primed);
    if (must_be_confirmed(c))
        return;
    if (c->extra->wants_history) {
        history_start(c);
        return;
    }
    if (c->state == CLIENT_JOINING)
        let_in(c);
    if (begins_behind(c, &gap)) {
        close_behind(c, &gap);
        return;
    }
    set_cursor(c);
    client_flush(c);
}

void subscription_join(struct client *c, const struct admission *a, struct view handshake,
                       struct visitor *visitor)
{
    subscription_look_at_pulse(c->all); // it is told at once
    struct stream *s = streams_find(c->all->streams, a->form, buffer_view(&a->id));
    struct extra *x = client_extra(c);
    stream_join(s);
    stream_count_listener(s, 1);
    c->visitor = visitor;
    c->expiry_s = c->all->config->expire_live ? a->expiry_s : 0;
    list_remove(&c->sub.node);
    c->sub = (struct subscription){
        .stream = s, .waiting = true, .slow = (uint8_t)a->slow, .every_ms = a->every_ms
    };
    list_init(&c->sub.node);
    list_push(&s->waiting, &c->sub.node);
    if (a->every_ms > 0)
        pace_join(&c->all->paces, s, a->every_ms);
    x->start = a->start;
    x->starting = true;
    x->confirmed = x->greeted = x->history_ends = false;
    x->wants_history = a->route == ROUTE_HISTORY;
    x->limit = a->limit;
    buffer_add_view(&x->handshake, handshake);
    client_enter(c, CLIENT_JOINING, "request");
    client_recount(c, false);
    if (s->primed)
        subscription_begin(c);
}

// ---- it is not ------------------------------------------------------------------

// A history's head has its Date and its CORS lines already.
void subscription_refuse(struct client *c, const char *why)
{
    struct extra *x = c->extra;
    struct buffer headers = { 0 };
    buffer_add_view(&headers, VIEW("Retry-After: 1\r\n"));
    buffer_add_view(&headers,
                    x->wants_history ? buffer_view(&x->handshake) : date_line(clock_wall_ms()));
    http_refuse(outbox_write(&x->outbox), 503, "unavailable", why, buffer_view(&headers), false);
    outbox_written(&x->outbox);
    buffer_free(&headers);
    close_reply(c, why);
}

void subscription_fail(struct client *c, int close_code, struct view reason)
{
    if (c->state == CLIENT_HISTORY)
        return; // the log that it reads is the ring's last word; it goes on to its end
    if (c->state == CLIENT_JOINING && (c->extra->wants_history || client_is_sse(c))) {
        subscription_refuse(c, "the stream cannot be read");
        return;
    }
    if (c->state == CLIENT_JOINING) {
        let_in(c); // a close frame has a reason that a client sees
        if (client_tells(c))
            say_hello(c);
    }
    close_with(c, close_code, reason, "the stream cannot be read");
}

void subscription_let_in_to_wait(struct client *c)
{
    struct extra *x = c->extra;
    x->let_in_ms = clients_redis_now_ms(c->all);
    if (x->start.kind == START_LIVE || x->start.kind == START_LAST || x->start.kind == START_FIRST)
        x->start.at_ms = x->let_in_ms;
    let_in(c);
    if (client_tells(c) && !client_is_sse(c))
        say_hello(c); // knowing nothing yet
}

// A history cannot wait inside, but while Redis can be read.
void subscription_join_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    struct clients *all = c->all;
    struct extra *x = c->extra;
    if (x->wants_history && pulse_readable(all->pulse, all->loop->now_ms)) {
        deadline_arm(&all->joins, &c->deadline, all->loop->now_ms);
        return;
    }
    if (x->wants_history) {
        subscription_refuse(c, "Redis cannot be read");
        return;
    }
    subscription_let_in_to_wait(c);
    client_flush(c);
}
