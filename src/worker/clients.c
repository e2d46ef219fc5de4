#include "worker/clients.h"

#include "base/clock.h"
#include "wire/deflate.h"
#include "worker/closing.h"
#include "worker/expiry.h"
#include "worker/flush.h"
#include "worker/frames.h"
#include "worker/history.h"
#include "worker/hub_client.h"
#include "worker/hub_patterns.h"
#include "worker/lag.h"
#include "worker/pacing.h"
#include "worker/reporting.h"
#include "worker/requests.h"
#include "worker/seat.h"
#include "worker/serving.h"
#include "worker/subscription.h"

#define HOLD_MS 1000
#define JOIN_MS 1000
#define LOOK_MS 250
#define NO_SEATS_MS 60000 // that a socket of many streams may have none
#define RESUME_MS 50      // between looks at whether a client has waited enough
#define TURN_MS 1         // the others' turn comes before its next requests
#define SAY_EVERY_MS 10000
#define CLOCK_ERROR_MS 1000 // our estimate of Redis's clock is not later than it by more

static void resume_due(struct deadline *d)
{
    struct extra *x = CONTAINER_OF(d, struct extra, resume);
    struct client *c = x->of;
    if (c->state == CLIENT_OPEN && frames_have_to_wait(c)) {
        deadline_arm(&c->all->resumes, d, c->all->loop->now_ms);
        return;
    }
    client_watch(c, c->interest & EPOLLOUT);
    serving_follow_up(c);
}

// ---- deadlines ------------------------------------------------------------------

static void join_due(struct deadline *d)
{
    subscription_join_due(d);
    serving_follow_up(CONTAINER_OF(d, struct client, deadline));
}

// It has taken nothing of a reply, a history or a goodbye for so long, or has not ended
// its side behind it.
static void stall_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    if (client_got_on(c))
        deadline_arm(&c->all->stalls, &c->deadline, c->all->loop->now_ms);
    else
        client_die(c, "made no progress");
}

static void drain_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    c->going_away = true;
    if (c->sub.waiting && !client_hub(c))
        close_for_drain(c);
    else
        client_flush(c);
    serving_follow_up(c);
}

// A tick of a pace: who waits gets the newest event, if there is one.
static void tick_due(struct deadline *d)
{
    struct pace *p = CONTAINER_OF(d, struct pace, tick);
    struct stream *s = p->stream;
    stream_join(s);
    pacing_run(CONTAINER_OF(p->all, struct clients, paces), p, true);
    stream_leave(s);
}

static void pause_due(struct deadline *d)
{
    struct stream *s = CONTAINER_OF(d, struct stream, pause);
    if (s->held)
        stream_mark_changed(s);
    s->held = false;
}

// Now and then: is Redis readable, and whose token ends?
static void look_due(struct deadline *d)
{
    struct clients *all = CONTAINER_OF(d, struct clients, look);
    int64_t now_ms = clock_wall_ms();
    subscription_look_at_pulse(all);
    lag_look(all);
    for (size_t i = all->ending_len; i-- > 0;)
        expiry_look(all->ending[i], now_ms); // one that closes gives its place to the last
    if (all->config->expire_live)
        LIST_EACH (node, &all->hubs)
            hub_look_at_expiry(client_of(node), now_ms);
    deadline_arm(&all->looks, &all->look, all->loop->now_ms);
}

// ---- all of them ----------------------------------------------------------------

static void init_queue(struct clients *all, struct deadline_queue *q, int64_t after_ms,
                       void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(all->loop, q);
}

void clients_init(struct clients *all)
{
    const struct config *config = all->config;
    list_init(&all->lobby);
    list_init(&all->hubs);
    list_init(&all->crowd);
    list_init(&all->leaving);
    list_init(&all->dead);
    list_init(&all->reports);
    budget_init(&all->budget, all->outbox_bytes);
    paces_init(&all->paces, all->loop, tick_due);
    deadline_init(&all->look);
    all->lag = lag_new();
    init_queue(all, &all->heads, config->handshake_seconds * MS_PER_S, requests_head_due);
    init_queue(all, &all->holds, HOLD_MS, requests_hold_due);
    init_queue(all, &all->joins, JOIN_MS, join_due);
    init_queue(all, &all->pings, config->ping_seconds * MS_PER_S, frames_ping_due);
    init_queue(all, &all->comments, COMMENT_MS, frames_ping_due);
    init_queue(all, &all->pongs, config->pong_seconds * MS_PER_S, frames_pong_due);
    init_queue(all, &all->stalls, config->pong_seconds * MS_PER_S, stall_due);
    init_queue(all, &all->drains, 0, drain_due);
    init_queue(all, &all->looks, LOOK_MS, look_due);
    init_queue(all, &all->pauses, config->flush_ms, pause_due);
    init_queue(all, &all->resumes, RESUME_MS, resume_due);
    init_queue(all, &all->turns, TURN_MS, resume_due);
    init_queue(all, &all->seat_joins, SEAT_JOIN_MS, seat_join_due);
    init_queue(all, &all->first_seats, config->handshake_seconds * MS_PER_S, hub_empty_due);
    init_queue(all, &all->pattern_joins, PATTERN_ANSWER_MS, hub_pattern_join_due);
    init_queue(all, &all->no_seats, NO_SEATS_MS, hub_empty_due);
    init_queue(all, &all->report_waits, REPORT_WAIT_MS, reporting_wait_due);
}

void clients_start(struct clients *all)
{
    deadline_arm(&all->looks, &all->look, all->loop->now_ms);
}

bool clients_add(struct clients *all, int fd, bool admin)
{
    struct client *c = malloc(sizeof(*c));
    if (c == NULL)
        return false;
    *c = (struct client){
        .watch.ready = serving_ready, .all = all, .fd = fd, .interest = EPOLLIN, .admin = admin
    };
    if (!loop_watch(all->loop, fd, &c->watch, EPOLLIN)) {
        free(c);
        return false;
    }
    list_init(&c->sub.node);
    deadline_init(&c->deadline);
    all->count++;
    atomic_fetch_add_explicit(all->total, 1, memory_order_relaxed);
    metrics_add(all->metrics, METRIC_CONNECTIONS_ACCEPTED, 1);
    metrics_set(all->metrics, METRIC_CONNECTIONS, all->count);
    client_enter(c, CLIENT_HEAD, "accepted");
    return true;
}

// ---- all of a stream ------------------------------------------------------------

// Each of its clients, which may leave by that; and each of its seats.
static void each_client(struct stream *s, void (*what)(struct client *c, void *arg), void *arg)
{
    struct list *list;
    for (size_t i = 0; (list = stream_list(s, i)) != NULL; i++)
        LIST_EACH (node, list)
            what(client_of(node), arg);
    LIST_EACH (of_pace, &s->paces) {
        struct pace *p = LIST_ITEM(of_pace, struct pace, node);
        p->users++;
        LIST_EACH (node, &p->idle)
            what(client_of(node), arg);
        pace_leave(s, p->every_ms);
    }
}

static void each_seat(struct stream *s, void (*what)(struct seat *seat, void *arg), void *arg)
{
    struct list *list;
    for (size_t i = 0; (list = stream_seats(s, i)) != NULL; i++)
        LIST_EACH (node, list)
            what(LIST_ITEM(node, struct seat, node), arg);
    LIST_EACH (of_pace, &s->paces) {
        struct pace *p = LIST_ITEM(of_pace, struct pace, node);
        p->users++;
        LIST_EACH (node, &p->seats_idle)
            what(LIST_ITEM(node, struct seat, node), arg);
        pace_leave(s, p->every_ms);
    }
}

// ---- letters --------------------------------------------------------------------

static void flush_stream(struct clients *all, struct stream *s);

// Those who stand before first_seq lose events: they are told, or sent away.
static void look_after_lagging(struct list *clients, uint64_t first_seq)
{
    LIST_EACH (node, clients) {
        struct client *c = client_of(node);
        if (c->state == CLIENT_HISTORY)
            history_skip_to(c, first_seq);
        else if (c->sub.cursor.seq < first_seq)
            close_or_skip(c, first_seq);
    }
}

static void look_after_seats(struct list *seats, uint64_t first_seq)
{
    LIST_EACH (node, seats) {
        struct seat *seat = LIST_ITEM(node, struct seat, node);
        if (seat->seq < first_seq)
            seat_fall_behind(seat, first_seq);
    }
}

// What has not been offered to those who keep up is offered before it goes, whether it came
// in this turn or waits for BOND_FLUSH_MS: only who cannot take it has fallen behind.
static void trim(struct clients *all, struct stream *s, uint64_t first_seq)
{
    if (first_seq <= s->log.first_seq)
        return;
    deadline_cancel(&s->pause);
    flush_stream(all, s);
    serving_flush_hubs(all);
    look_after_seats(&s->seats_idle, first_seq);
    look_after_seats(&s->seats_ready, first_seq);
    look_after_lagging(&s->blocked, first_seq);
    look_after_lagging(&s->ready, first_seq);
    look_after_lagging(&s->idle, first_seq);
    stream_trim(s, first_seq);
}

static void begin_waiting(struct stream *s, bool refreshed)
{
    LIST_EACH (node, &s->waiting) {
        struct client *c = client_of(node);
        if (!c->extra->confirmed || refreshed)
            subscription_begin(c);
        serving_follow_up(c);
    }
    LIST_EACH (node, &s->seats_waiting) // they move on to another list
        seat_begin(LIST_ITEM(node, struct seat, node), refreshed);
}

void clients_news(struct clients *all, struct news *news)
{
    struct stream *s = news->stream;
    if (s->clients == 0) { // they have left, and the tail was told
        for (size_t i = 0; i < news->extent_count; i++)
            segment_unref(news->extents[i].segment);
        free(news);
        return;
    }
    stream_join(s); // a client that falls behind may be the last one to leave
    trim(all, s, news->first_seq);
    stream_learn(s, news);
    if (s->primed)
        begin_waiting(s, news->refreshed);
    stream_leave(s);
    free(news);
}

void clients_listed(struct clients *all, struct listing *listing)
{
    struct client *c = reporting_listed(all, listing);
    if (c)
        serving_follow_up(c);
}

static void fail_client(struct client *c, void *arg)
{
    const struct failure *failure = arg;
    subscription_fail(c, failure->close_code, view_of(failure->reason));
}

static void fail_seat(struct seat *seat, void *arg)
{
    const struct failure *failure = arg;
    hub_fail_seat(seat, failure->close_code, view_of(failure->reason));
}

void clients_failure(struct clients *all, struct failure *failure)
{
    struct stream *s = failure->stream;
    (void)all;
    if (s->clients > 0) {
        stream_join(s);
        stream_fail(s);
        each_client(s, fail_client, failure);
        each_seat(s, fail_seat, failure);
        stream_leave(s);
    }
    free(failure);
}

// ---- sending --------------------------------------------------------------------

// Between two events the clients have left the caches, and each is one more wait for
// memory: the next one is fetched while this one is written to.
static void prefetch_client(struct list *node)
{
    char *at = (char *)node;
    __builtin_prefetch(at, 1);
    __builtin_prefetch(at + sizeof(struct client) - offsetof(struct client, sub.node) - 1, 1);
}

static struct eventid event_id_at(const struct log *l, uint64_t seq) // 0-0: it is none
{
    const struct item *item = log_item(l, seq);
    return item->kind == ITEM_EVENT ? item->id : (struct eventid){ 0 };
}

// Idle clients get what is new; with BOND_FLUSH_MS, at most once in that time. Who has
// waited longest is first, so if there is something new then it is new to the first.
static void take_idle(struct list *due, struct stream *s, struct clients *all,
                      struct eventid *oldest_new)
{
    bool news = !list_empty(&s->idle) && !client_has_caught_up(client_of(s->idle.next));
    if (news && deadline_armed(&s->pause)) {
        s->held = true;
        return;
    }
    if (news && all->config->flush_ms > 0)
        deadline_arm(&all->pauses, &s->pause, all->loop->now_ms);
    if (news)
        *oldest_new = event_id_at(&s->log, client_of(s->idle.next)->sub.cursor.seq);
    list_take_all(due, &s->idle);
}

// Serving moves each on, to the list that says what it waits for.
static void serve_all(struct list *due)
{
    while (!list_empty(due)) {
        struct list *node = due->next;
        prefetch_client(node->next); // while send() keeps us busy
        serving_flush(client_of(node));
    }
}

// One sample for a stream and turn: how long after its publication has the oldest new event
// been written to all who keep up? (Those who lag have a metric of their own: lag.h.)
static void observe_latency(struct clients *all, struct eventid oldest_new, uint64_t writes)
{
    int64_t now_ms = clients_redis_now_ms(all);
    if (writes == 0 || !eventid_is_time(oldest_new, now_ms + CLOCK_ERROR_MS))
        return;
    int64_t latency_ms = now_ms - (int64_t)oldest_new.ms;
    metrics_observe(all->metrics, HISTOGRAM_DELIVERY_LATENCY,
                    latency_ms > 0 ? (uint64_t)latency_ms * 1000 : 0, writes);
}

static void flush_stream(struct clients *all, struct stream *s)
{
    struct list ready, idle;
    struct eventid oldest_new = { 0 };
    list_init(&ready);
    list_init(&idle);
    list_take_all(&ready, &s->ready);
    take_idle(&idle, s, all, &oldest_new);
    serve_all(&ready);
    uint64_t writes_before = metrics_get(all->metrics, METRIC_WRITES);
    serve_all(&idle);
    if (!eventid_is_none(oldest_new))
        observe_latency(all, oldest_new, metrics_get(all->metrics, METRIC_WRITES) - writes_before);
    LIST_EACH (node, &s->waiting) { // those who wait inside may be told of the source
        struct client *c = client_of(node);
        if (c->state == CLIENT_OPEN)
            client_flush(c);
    }
    pacing_flush(all, s);
    LIST_EACH (node, &s->seats_idle)
        seat_look(LIST_ITEM(node, struct seat, node));
    LIST_EACH (node, &s->seats_waiting)
        seat_look(LIST_ITEM(node, struct seat, node));
}

static void keep_budget(struct clients *all)
{
    static struct say_limit limit;
    for (struct holder *worst; (worst = budget_worst(&all->budget));) {
        uint64_t not_said;
        if (say_limited(&limit, all->loop->now_ms, SAY_EVERY_MS, &not_said))
            say(SAY_WARN, "outboxes_full", SAY_I("bytes", (int64_t)all->budget.bytes),
                SAY_S("hint", "clients that read nothing are closed: raise BOND_OUTBOX_BYTES, "
                              "or limit them with BOND_MAX_CLIENTS_PER_IP"),
                SAY_NOT_SAID(not_said));
        client_die(CONTAINER_OF(worst, struct extra, holder)->of, "the budget is used up");
    }
}

bool clients_flush(struct clients *all)
{
    struct list changed;
    list_init(&changed);
    list_take_all(&changed, &all->streams->changed);
    while (!list_empty(&changed)) {
        struct stream *s = LIST_ITEM(changed.next, struct stream, in_changed);
        list_remove(&s->in_changed);
        stream_join(s); // its last client may die of this
        flush_stream(all, s);
        stream_leave(s);
    }
    bool names_left = hub_patterns_turn(all);
    serving_flush_hubs(all);
    keep_budget(all);
    clients_reap(all);
    metrics_set(all->metrics, METRIC_SUBSCRIPTIONS, all->streams->listeners);
    metrics_set(all->metrics, METRIC_OUTBOX_BYTES, all->budget.bytes);
    return names_left || !list_empty(&all->streams->changed) || !list_empty(&all->crowd);
}

// ---- the end --------------------------------------------------------------------

struct drain {
    int64_t total, nth, drain_ms;
};

static void drain_client(struct client *c, void *arg)
{
    struct drain *d = arg;
    int64_t after_ms = d->drain_ms * d->nth++ / d->total;
    if (client_is_for_history(c))
        return; // it goes on as long as it gets on
    if (c->state == CLIENT_JOINING) {
        subscription_let_in_to_wait(c);
        stream_mark_changed(c->sub.stream); // it is flushed with all who wait
    }
    deadline_arm_at(&c->all->drains, &c->deadline, c->all->loop->now_ms + after_ms);
}

// Who has asked for nothing has nothing to wait for.
static void send_idle_away(struct clients *all)
{
    LIST_EACH (node, &all->lobby) {
        struct client *c = client_of(node);
        if (c->state == CLIENT_HEAD && !client_has_outbox(c) && !(c->extra && c->extra->in.len))
            client_die(c, "drain");
    }
}

void clients_drain(struct clients *all, int64_t drain_ms)
{
    struct drain d = { .total = (int64_t)all->count, .drain_ms = drain_ms };
    all->draining = true;
    TABLE_EACH (n, &all->streams->by_id)
        each_client(TABLE_ITEM(n, struct stream, by_id), drain_client, &d);
    LIST_EACH (node, &all->hubs)
        drain_client(client_of(node), &d);
    send_idle_away(all);
}

size_t clients_left(const struct clients *all)
{
    size_t lobby = 0;
    LIST_EACH (node, &all->lobby)
        lobby++;
    return all->count - lobby;
}

static void kill_all(struct list *clients)
{
    while (!list_empty(clients))
        client_die(client_of(clients->next), "the broker ends");
}

static void kill(struct client *c, void *arg)
{
    (void)arg;
    client_die(c, "the broker ends");
}

void clients_done(struct clients *all)
{
    kill_all(&all->hubs);
    for (struct stream *s; (s = streams_any(all->streams));) {
        stream_join(s);
        each_client(s, kill, NULL);
        stream_leave(s);
    }
    kill_all(&all->lobby);
    kill_all(&all->leaving);
    clients_reap(all);
    budget_done(&all->budget);
    free(all->lag);
    paces_done(&all->paces);
    free(all->ending);
    inflater_free(all->inflater);
    buffer_free(&all->text);
}
