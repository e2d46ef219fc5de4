#include "worker/seat.h"

#include <stdio.h>

#include "worker/seek.h"
#include "worker/tell.h"

// Live means what is published from now on, by Redis's clock, as far as we know it: what
// happened so little before may come too.
#define CLOCK_ERROR_MS 20

static struct clients *clients_of(const struct seat *seat)
{
    return seat->hub->client->all;
}

struct eventid seat_last_id(const struct seat *seat)
{
    return seat->begun ? tell_id_before(seat->stream, seat->seq) : (struct eventid){ 0 };
}

void hub_call(struct hub *h)
{
    if (!(h->client->interest & EPOLLOUT))
        list_move(&h->client->all->crowd, &h->in_crowd);
}

static void make_ready(struct seat *seat)
{
    seat_mark_ready(seat);
    hub_call(seat->hub);
}

// ---- it begins ------------------------------------------------------------------

void seat_start(struct seat *seat, const struct start *start, struct view ref)
{
    struct clients *all = clients_of(seat);
    struct stream *s = seat->stream;
    struct seat_more *more = seat_need_more(seat);
    more->start = *start;
    bool is_now =
        start->kind == START_LIVE || start->kind == START_LAST || start->kind == START_FIRST;
    if (is_now && !s->primed && more->start.at_ms == 0)
        more->start.at_ms = clients_redis_now_ms(all) - CLOCK_ERROR_MS;
    more->says_hello = true;
    more->ref_len = (uint8_t)ref.len;
    if (ref.len)
        memcpy(more->ref, ref.at, ref.len);
    deadline_arm(&all->seat_joins, &more->join, all->loop->now_ms);
    if (s->primed)
        seat_begin(seat, false);
}

// An `after` that is ahead of what we know may be news that another broker had before us.
static bool must_be_confirmed(struct seat *seat, bool refreshed)
{
    struct seat_more *more = seat->more;
    struct stream *s = seat->stream;
    if (refreshed && more->confirmed)
        return false;
    if (more->confirmed)
        return true; // the answer is still to come
    more->confirmed = seek_is_ahead(&s->log, s->last, &more->start);
    if (more->confirmed)
        stream_refresh(s);
    return more->confirmed;
}

void seat_begin(struct seat *seat, bool refreshed)
{
    struct seat_more *more = seat->more;
    struct stream *s = seat->stream;
    CHECK(!seat->begun && s->primed);
    if (must_be_confirmed(seat, refreshed))
        return;
    int64_t window_ms = clients_window_start_ms(clients_of(seat));
    struct seek_place place = seek_start(&s->log, &s->floor, s->last, &more->start, window_ms);
    seat->seq = place.seq;
    seat->begun = true;
    deadline_cancel(&more->join);
    seat->due = seat->every_ms > 0;
    more->replaying = true;
    more->live_seq = s->log.end_seq;
    more->live_id = s->last;
    more->has_first_gap = place.has_gap && !(seat->every_ms > 0 && pace_passes_over(&place.gap));
    more->first_gap = place.gap;
    if (more->has_first_gap)
        metrics_add(clients_of(seat)->metrics, METRIC_GAPS + place.gap.reason, 1);
    make_ready(seat);
}

// It is let in and waits: `hello` says what is known, and `stale` that this is not all.
void seat_join_due(struct deadline *d)
{
    struct seat *seat = CONTAINER_OF(d, struct seat_more, join)->of;
    seat->more->let_in_ms = clients_redis_now_ms(clients_of(seat));
    make_ready(seat);
}

// ---- what it is told ------------------------------------------------------------

static bool may_say_hello(const struct seat *seat)
{
    return seat->more && seat->more->says_hello && (seat->begun || seat->more->let_in_ms);
}

// `stale` at once, but not before `hello`; `ok` when it has had what it missed.
static bool source_is_due(const struct seat *seat)
{
    bool greeted = seat->more == NULL || !seat->more->says_hello;
    return greeted && seat->told_stale != stream_is_stale(seat->stream) &&
           (!seat->told_stale || seat_has_caught_up(seat));
}

static bool live_is_due(const struct seat *seat)
{
    return seat->begun && seat->more && seat->more->replaying && seat->seq >= seat->more->live_seq;
}

static bool has_to_say(const struct seat *seat)
{
    const struct seat_more *more = seat->more;
    return (seat->begun && seat->due) || may_say_hello(seat) || source_is_due(seat) ||
           live_is_due(seat) ||
           (more &&
            (more->has_first_gap || more->has_slow_gap || more->to_latest || more->says_expiring));
}

static void say_source(struct seat *seat)
{
    tell_source(seat->hub->client, seat->stream, true);
    seat->told_stale = stream_is_stale(seat->stream);
}

// As flush.c does it for a client of one stream.
static void go_to_latest(struct seat *seat)
{
    struct seat_more *more = seat->more;
    const struct log *l = &seat->stream->log;
    uint64_t newest = seek_newest_event(l, l->end_seq);
    more->to_latest = false;
    if (newest <= seat->seq)
        return;
    struct gap passed = seek_passed_over(l, seat->seq, newest, (struct eventid){ 0 });
    gap_extend(&more->slow_gap, &passed);
    seat->seq = newest;
}

static void choose_newest(struct seat *seat)
{
    struct client *c = seat->hub->client;
    struct clients *all = c->all;
    struct pace *p = pace_find(seat->stream, seat->every_ms);
    uint64_t until =
        seat->more && seat->more->replaying ? seat->more->live_seq : seat->stream->log.end_seq;
    unsigned sent = pace_choose(p, &seat->seq, until, &c->extra->outbox, &all->budget);
    metrics_add(all->metrics, METRIC_EVENTS_DELIVERED, sent);
    seat->due = false;
    if (sent > 0 && !seat->ticked && !seat->fresh) {
        seat->fresh = true;
        pace_note_fresh(p);
    }
    seat->ticked = false;
}

static void say_more(struct seat *seat)
{
    struct seat_more *more = seat->more;
    struct client *c = seat->hub->client;
    struct stream *s = seat->stream;
    if (may_say_hello(seat)) {
        struct view ref = { more->ref_len ? more->ref : NULL, more->ref_len };
        tell_hello(c, s, clients_window_start_ms(c->all), ref);
        more->says_hello = false;
    }
    if (more->has_first_gap)
        tell_gap(c, s, &more->first_gap);
    if (source_is_due(seat))
        say_source(seat);
    if (more->to_latest)
        go_to_latest(seat);
    if (more->has_slow_gap)
        tell_gap(c, s, &more->slow_gap);
    more->has_first_gap = more->has_slow_gap = false;
    if (seat->due)
        choose_newest(seat);
    if (live_is_due(seat)) {
        tell_live(c, s, seat->seq, more->live_id);
        more->replaying = false;
    }
    if (more->says_expiring)
        tell_expiring(c, s, true, seat->expiry_s);
    more->says_expiring = false;
    seat_drop_more_if_idle(seat);
}

void seat_say(struct seat *seat)
{
    if (seat->more)
        say_more(seat);
    if (seat->begun && seat->due)
        choose_newest(seat);
    if (source_is_due(seat))
        say_source(seat);
}

uint64_t seat_may_send_to(const struct seat *seat)
{
    const struct seat_more *more = seat->more;
    bool waits = more && (more->says_hello || more->has_first_gap || more->has_slow_gap);
    if (!seat->begun || waits || seat->every_ms > 0)
        return seat->seq;
    return more && more->replaying ? more->live_seq : seat->stream->log.end_seq;
}

bool seat_is_done(const struct seat *seat)
{
    return (!seat->begun || seat_has_caught_up(seat)) && !has_to_say(seat);
}

void seat_look(struct seat *seat)
{
    if (!seat_is_done(seat))
        make_ready(seat);
}

// ---- it ends, or falls behind ---------------------------------------------------

void seat_end(struct seat *seat, int code, struct view reason, struct view ref)
{
    struct client *c = seat->hub->client;
    if (seat->hub->current == seat)
        client_hold_rest(c);
    struct eventid last = seat_last_id(seat);
    hub_end(seat, code, reason, last, ref);
}

static void end_behind(struct seat *seat, const struct gap *gap)
{
    char after[EVENTID_MAX + 1], missed[24] = "some", reason[WS_REASON_MAX + 1];
    eventid_format(gap->after, after);
    if (gap->missed != MISSED_UNKNOWN)
        snprintf(missed, sizeof(missed), "%lld", (long long)gap->missed);
    snprintf(reason, sizeof(reason), "fell behind: last id %s, %s events missed", after, missed);
    metrics_add(clients_of(seat)->metrics, METRIC_SUBSCRIPTIONS_BEHIND, 1);
    seat_end(seat, WS_CLOSE_BEHIND, view_of(reason), (struct view){ 0 });
}

static void owe_gap(struct seat *seat, const struct gap *gap)
{
    struct seat_more *more = seat_need_more(seat);
    if (more->has_slow_gap)
        gap_extend(&more->slow_gap, gap);
    else
        more->slow_gap = *gap;
    more->has_slow_gap = true;
    make_ready(seat);
}

void seat_fall_behind(struct seat *seat, uint64_t first_seq)
{
    const struct log *l = &seat->stream->log;
    if (seat->hub->current == seat)
        client_hold_rest(seat->hub->client);
    if (seat->seq >= first_seq || seat->every_ms > 0) // with a pace it asked for the newest alone
        return;
    struct gap gap = seek_passed_over(l, seat->seq, first_seq, seat_last_id(seat));
    bool events = first_seq > l->end_seq || log_count_events(l, seat->seq, first_seq) > 0;
    struct metrics *metrics = clients_of(seat)->metrics;
    if (events)
        metrics_add(metrics, METRIC_GAPS + GAP_SLOW, 1);
    if (events && seat->slow == SLOW_CLOSE) {
        end_behind(seat, &gap);
        return;
    }
    metrics_add(metrics, METRIC_EVENTS_PASSED_OVER, first_seq - seat->seq);
    seat->seq = first_seq;
    owe_gap(seat, &gap);
    seat->more->to_latest = seat->slow == SLOW_LATEST;
}
