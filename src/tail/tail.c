#include "tail/tail.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/table.h"
#include "redis/hotline.h"
#include "redis/link.h"
#include "tail/feed.h"
#include "wire/ws.h"

#define READS_IN_FLIGHT 64 // with FEED_PAGE_BYTES it bounds the memory of the replies
#define RETRY_MS 250       // a stream whose read failed for now is read again
#define TICK_MS 1000       // sweep slice and clock check
#define CLOCK_EVERY_TICKS 5
#define POLLS_PER_MS 5 // without tracking: reads a millisecond at most
#define SAY_EVERY_MS 10000
#define DOWN_SAY_MS 30000
#define HOT_READS_MAX 300  // changes a second; above it, reading what has piled up is cheaper
#define HOT_PAGE_MIN 64    // entries of 16 KiB at most, going by FEED_PAGE_BYTES
#define HOT_RECHECK_MS 100 // a hot stream that Redis says has changed is read here too

// What is unanswered, in the order in which it was sent.
enum ask_kind { ASK_NOTHING, ASK_OLDER, ASK_RANGE, ASK_CHECK, ASK_TIME, ASK_SERVER };
struct ask {
    enum ask_kind kind;
    struct feed *feed;
};

// A stream that is waited for on the hotline.
struct hot {
    struct feed *feed; // NULL: dropped meanwhile
    struct feed_read read;
};

struct tail {
    const struct config *config;
    struct pulse *pulse;
    struct stats stats;
    pthread_t thread;
    bool running;
    struct loop loop;
    struct mailbox mailbox;
    struct link *link;

    struct feeds feeds;
    struct table by_id; // of feeds

    struct hotline *hotline; // NULL: BOND_REDIS_CONNECTIONS=1
    struct hot hot[HOTLINE_WAITS_MAX];
    size_t hot_count;
    bool busy;            // too much changed in the last second
    size_t server_id_len; // of the link's server; 0: not known
    char server_id[SERVER_ID_MAX];

    struct deadline_queue ticks, polls, retries, lingers, rechecks;
    struct deadline tick, poll, retry;
    uint64_t tick_count;

    struct ask *asks; // a circle of ask_cap, from ask_head on
    size_t ask_head, ask_len, ask_cap, reads_in_flight;
    int64_t time_asked_ms; // wall clock, when TIME was sent
    bool clock_known;      // TIME was answered: we know where the window begins
    bool troubled;         // Redis answers, but not with data (LOADING, BUSY, …)
    bool key_refused;      // one of a transaction's commands: for its key, not for what it is
    struct say_limit read_failed, down;
    char down_why[256]; // as it was last said; empty when the link has been up since
};

static struct tail *tail_of(const struct feed *f)
{
    return CONTAINER_OF(f->all, struct tail, feeds);
}

static struct feed *find_feed(struct tail *t, struct view id)
{
    struct table_node *found = table_find(&t->by_id, id);
    return found ? TABLE_ITEM(found, struct feed, by_id) : NULL;
}

// ---- reading --------------------------------------------------------------------

static void ask(struct tail *t, enum ask_kind kind, struct feed *f)
{
    if (t->ask_len == t->ask_cap) {
        size_t cap = t->ask_cap ? t->ask_cap * 2 : 64;
        struct ask *asks = must_alloc(cap * sizeof(*asks));
        for (size_t i = 0; i < t->ask_len; i++)
            asks[i] = t->asks[(t->ask_head + i) % t->ask_cap];
        free(t->asks);
        t->asks = asks;
        t->ask_cap = cap;
        t->ask_head = 0;
    }
    t->asks[(t->ask_head + t->ask_len++) % t->ask_cap] = (struct ask){ kind, f };
}

static void command(struct tail *t, size_t argc, const struct view *argv, enum ask_kind kind,
                    struct feed *f)
{
    link_command(t->link, argc, argv);
    ask(t, kind, kind == ASK_NOTHING ? NULL : f);
}

static void send_range(struct feed *f, enum ask_kind kind)
{
    struct tail *t = tail_of(f);
    link_xrange(t->link, feed_key(f), f->read.from, f->read.page);
    ask(t, kind, kind == ASK_NOTHING ? NULL : f);
}

// The newest entry before the window: for from=last in a quiet stream, and so that
// we know what a client that comes with an older id has missed.
static void send_older(struct feed *f, struct eventid window, enum ask_kind kind)
{
    char end[EVENTID_MAX + 1];
    size_t end_len = eventid_format((struct eventid){ window.ms - 1, UINT64_MAX }, end);
    const struct view argv[] = { VIEW("XREVRANGE"), feed_key(f),   { end, end_len },
                                 VIEW("-"),         VIEW("COUNT"), VIEW("1") };
    command(tail_of(f), ARRAY_LEN(argv), argv, kind, f);
}

static void send_read(struct feed *f)
{
    struct tail *t = tail_of(f);
    int64_t from_ms = feeds_redis_now_ms(&t->feeds) - t->config->ring_seconds * MS_PER_S;
    struct eventid window = { .ms = (uint64_t)from_ms };
    f->read = (struct feed_read){ .from = f->placed ? f->ring.last : window, .page = f->page };
    f->asked_epoch = pulse_epoch(t->pulse);

    if (t->feeds.cannot_check)
        f->check = false;
    // Without an event that must come back, only the count tells of what was trimmed.
    bool check = f->check || !f->placed || eventid_is_none(f->ring.last);
    if (check && !t->feeds.cannot_check) { // one snapshot: nothing comes between
        const struct view info[] = { VIEW("XINFO"), VIEW("STREAM"), feed_key(f) };
        command(t, 1, &VIEW("MULTI"), ASK_NOTHING, NULL);
        command(t, ARRAY_LEN(info), info, ASK_NOTHING, NULL);
        if (!f->placed)
            send_older(f, window, ASK_NOTHING);
        send_range(f, ASK_NOTHING);
        command(t, 1, &VIEW("EXEC"), ASK_CHECK, f);
        stats_add(&t->stats.redis_checks, 1);
    } else {
        if (!f->placed)
            send_older(f, window, ASK_OLDER);
        send_range(f, ASK_RANGE);
        stats_add(&t->stats.redis_reads, 1);
    }
    f->asked = true;
    t->reads_in_flight++;
    ring_refresh_sent(&f->ring);
}

static bool may_read(const struct tail *t)
{
    return link_is_up(t->link) && t->clock_known && !deadline_armed(&t->retry);
}

// Dirty feeds are read as far as the pipeline has room; the rest stay dirty. A
// feed whose read is unanswered stays dirty too, and is read again after it.
static void read_dirty(struct tail *t)
{
    if (!may_read(t))
        return;
    LIST_EACH (node, &t->feeds.dirty) {
        if (t->reads_in_flight >= READS_IN_FLIGHT)
            break;
        struct feed *f = LIST_ITEM(node, struct feed, in_dirty);
        if (f->asked)
            continue;
        list_remove(&f->in_dirty);
        send_read(f);
    }
}

// ---- what a read may answer besides entries -------------------------------------

static void feed_drop(struct feed *f);

static void fail_feed(struct feed *f, int close_code, const char *reason)
{
    ring_fail(&f->ring, close_code, reason);
    feed_drop(f);
}

static void refuse_key(struct feed *f)
{
    fail_feed(f, WS_CLOSE_FAILURE, "Redis does not let the broker read this stream (NOPERM)");
}

// A command of a transaction is queued, or refused: by an ACL for its key, or for
// what it is. NOPERM says which in its sentence alone.
static void answer_queued(struct tail *t, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node) && resp_is_error(&node, VIEW("NOPERM")) &&
        memmem(node.text.at, node.text.len, " key", 4) != NULL)
        t->key_refused = true;
}

// What a whole server says, and not for ever.
static bool is_trouble(const struct resp_node *error)
{
    static const char *const codes[] = { "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN",
                                         "TRYAGAIN" };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (resp_is_error(error, view_of(codes[i])))
            return true;
    return false;
}

static void read_failed(struct feed *f, const struct resp_node *error)
{
    struct tail *t = tail_of(f);
    uint64_t missed;
    if (say_limited(&t->read_failed, t->loop.now_ms, SAY_EVERY_MS, &missed))
        say(SAY_WARN, "read_failed", SAY_V("stream", feed_id(f)), SAY_V("error", error->text),
            SAY_I("not_said", (int64_t)missed));

    if (resp_is_error(error, VIEW("WRONGTYPE"))) {
        fail_feed(f, WS_CLOSE_FAILURE, "the stream's key in Redis holds no stream (WRONGTYPE)");
    } else if (resp_is_error(error, VIEW("NOPERM"))) {
        refuse_key(f);
    } else if (is_trouble(error)) {
        t->troubled = true;
        feed_mark_dirty(f);
        if (!deadline_armed(&t->retry))
            deadline_arm(&t->retries, &t->retry, t->loop.now_ms);
    } // anything else is this key's: the sweep reads it again
}

static void mark_all_dirty(struct tail *t)
{
    LIST_EACH (node, &t->feeds.sweep)
        feed_mark_dirty(LIST_ITEM(node, struct feed, in_sweep));
}

static void retry_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, retry);
    t->troubled = t->troubled && t->by_id.len > 0; // else no feed is left to find out
}

static void cut_for_nonsense(struct tail *t)
{
    if (t->feeds.bad_reply)
        link_cut(t->link, t->feeds.bad_reply);
    t->feeds.bad_reply = NULL;
}

static void answer_range(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    tail_of(f)->troubled = false;
    feed_take_range(f, &r, &node);
}

static void answer_check(struct feed *f, struct view reply)
{
    struct tail *t = tail_of(f);
    struct resp_reader r = resp_open(reply);
    struct resp_node node, info_node;
    CHECK(resp_next(&r, &node));
    bool key_refused = t->key_refused;
    t->key_refused = false;
    if (resp_is_error(&node, VIEW("EXECABORT")) && key_refused) {
        refuse_key(f);
        return;
    }
    if (resp_is_error(&node, VIEW("EXECABORT")) || resp_is_error(&node, VIEW("ERR"))) {
        // A command of the four was refused when it was queued. Go on without.
        say(SAY_WARN, "checks_off", SAY_V("error", node.text),
            SAY_S("hint",
                  "let the broker use MULTI, EXEC and XINFO, so that it finds lost events"));
        t->feeds.cannot_check = true;
        feed_mark_dirty(f);
        return;
    }
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    if (node.type != RESP_ARRAY || node.count < 2 || !resp_next(&r, &info_node)) {
        link_cut(t->link, "Redis answered EXEC with something else");
        return;
    }
    bool has_older = node.count == 3;
    struct resp_reader info_reader = r;
    struct stream_info info = stream_info_read(&info_reader, &info_node);
    resp_skip(&r, &info_node);
    if (has_older && resp_next(&r, &node))
        feed_take_older(f, &r, &node);
    if (!resp_next(&r, &node))
        return;
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    t->troubled = false;
    feed_take_check(f, &r, &info, &node);
}

static void answer_older(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node))
        feed_take_older(f, &r, &node);
}

static void answer_time(struct tail *t, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, seconds, micros;
    uint64_t s, us;
    t->clock_known = true; // or never will be: then ours has to do
    if (!resp_next(&r, &node) || node.type != RESP_ARRAY || node.count != 2 ||
        !resp_next(&r, &seconds) || !resp_next(&r, &micros) || !view_u64(seconds.text, &s) ||
        !view_u64(micros.text, &us))
        return;
    // Redis read its clock somewhere between the question and the answer.
    int64_t now_ms = clock_wall_ms();
    int64_t middle_ms = t->time_asked_ms + (now_ms - t->time_asked_ms) / 2;
    atomic_store(&t->pulse->skew_ms, (int64_t)(s * 1000 + us / 1000) - middle_ms);
}

// ---- the hotline: streams that change now ---------------------------------------

// Redis may have told the link of a change that the hotline was to bring; from now on
// only the link brings it.
static void cool(struct feed *f)
{
    f->hot = false;
    if (deadline_armed(&f->recheck))
        feed_mark_dirty(f);
    deadline_cancel(&f->recheck);
}

static void cool_all(struct tail *t)
{
    for (size_t i = 0; i < t->hot_count; i++)
        if (t->hot[i].feed)
            cool(t->hot[i].feed);
    t->hot_count = 0;
}

// Somebody listens, we are at its end as far as we know, and to read its newest event
// once more for each change of the others costs little.
static bool may_be_hot(const struct feed *f)
{
    bool at_end = f->placed && f->ring.ready && !f->unsure && !f->check && !f->asked &&
                  list_empty(&f->in_dirty);
    return at_end && !eventid_is_none(f->ring.last) && eventid_is_none(f->dedupe_until) &&
           !deadline_armed(&f->linger) && f->page >= HOT_PAGE_MIN;
}

static void choose_hot(struct tail *t)
{
    struct feed *was[HOTLINE_WAITS_MAX];
    size_t was_count = t->hot_count;
    for (size_t i = 0; i < was_count; i++) {
        was[i] = t->hot[i].feed;
        if (was[i])
            was[i]->hot = false;
    }
    t->hot_count = 0;
    for (struct list *node = t->feeds.warm.prev; node != &t->feeds.warm; node = node->prev) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (t->hot_count == ARRAY_LEN(t->hot))
            break;
        if (!may_be_hot(f))
            continue;
        f->hot = true;
        t->hot[t->hot_count++] = (struct hot){ f, { .from = f->ring.last, .page = f->page } };
    }
    for (size_t i = 0; i < was_count; i++)
        if (was[i] && !was[i]->hot)
            cool(was[i]);
}

static void drop_lukewarm(struct tail *t)
{
    LIST_EACH (node, &t->feeds.warm) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (feed_is_warm(f))
            break;
        list_remove(node);
    }
}

// The streams that changed last are waited for, unless so much changes that a
// round for each change would cost Redis more than it saves.
static void wait_on_hotline(struct tail *t)
{
    struct view server = { t->server_id, t->server_id_len };
    if (t->hotline == NULL || hotline_is_waiting(t->hotline))
        return;
    drop_lukewarm(t);
    bool may = may_read(t) && server.len > 0 && !t->busy && !list_empty(&t->feeds.warm);
    if (!may || !hotline_is_free(t->hotline, server)) {
        cool_all(t);
        return;
    }
    choose_hot(t);
    struct hotline_wait waits[HOTLINE_WAITS_MAX];
    for (size_t i = 0; i < t->hot_count; i++) {
        const struct hot *hot = &t->hot[i];
        waits[i] = (struct hotline_wait){ feed_key(hot->feed), hot->read.from, hot->read.page };
    }
    if (t->hot_count > 0)
        hotline_wait(t->hotline, waits, t->hot_count);
    hotline_flush(t->hotline);
}

static void hotline_answered(void *ctx, size_t i, struct view reply)
{
    struct tail *t = ctx;
    const struct hot *hot = &t->hot[i];
    struct feed *f = hot->feed;
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (f == NULL)
        return;
    feed_take_beside(f, &hot->read, &r, &node);
    cut_for_nonsense(t);
}

static void hotline_lost(void *ctx)
{
    struct tail *t = ctx;
    for (size_t i = 0; i < t->hot_count; i++)
        if (t->hot[i].feed)
            feed_mark_dirty(t->hot[i].feed);
    cool_all(t);
}

static void recheck_due(struct deadline *d)
{
    feed_mark_dirty(CONTAINER_OF(d, struct feed, recheck));
}

// ---- the link's events ----------------------------------------------------------

static void ask_server(struct tail *t)
{
    t->server_id_len = 0;
    const struct view argv[] = { VIEW("INFO"), VIEW("server") };
    if (t->hotline)
        command(t, ARRAY_LEN(argv), argv, ASK_SERVER, NULL);
}

static void ask_time(struct tail *t)
{
    t->time_asked_ms = clock_wall_ms();
    command(t, 1, &VIEW("TIME"), ASK_TIME, NULL);
}

static void arm_poll(struct tail *t)
{
    t->polls.after_ms = t->config->poll_ms;
    deadline_arm(&t->polls, &t->poll, t->loop.now_ms);
}

static void link_came_up(void *ctx)
{
    struct tail *t = ctx;
    t->clock_known = false;
    deadline_cancel(&t->retry);
    say(SAY_INFO, "redis_up", SAY_V("server", link_server(t->link)),
        SAY_S("following", link_tracks(t->link) ? "tracking" : "polling"),
        SAY_I("streams", (int64_t)t->by_id.len));
    t->troubled = false;
    t->feeds.cannot_check = false;
    t->down_why[0] = '\0';
    ask_time(t);
    ask_server(t);
    mark_all_dirty(t);
    deadline_cancel(&t->poll);
    if (!link_tracks(t->link))
        arm_poll(t);
}

// The first time, when the reason changes, and now and then: it is tried again
// every second or two.
static void say_down(struct tail *t, const char *why)
{
    uint64_t missed = 0;
    bool it_is_time = say_limited(&t->down, t->loop.now_ms, DOWN_SAY_MS, &missed);
    if (strcmp(t->down_why, why) == 0 && !it_is_time)
        return;
    snprintf(t->down_why, sizeof(t->down_why), "%s", why);
    say(SAY_WARN, "redis_down", SAY_S("why", why), SAY_I("streams", (int64_t)t->by_id.len),
        SAY_I("not_said", (int64_t)missed));
}

// Nothing that was asked will be answered; feeds that were dropped meanwhile go now.
static void forget_asks(struct tail *t)
{
    while (t->ask_len > 0) {
        struct ask *a = &t->asks[t->ask_head];
        t->ask_head = (t->ask_head + 1) % t->ask_cap;
        t->ask_len--;
        if (a->feed == NULL || a->kind == ASK_OLDER)
            continue;
        a->feed->asked = false;
        if (a->feed->dead)
            feed_drop(a->feed);
    }
    t->reads_in_flight = 0;
}

static void link_went_down(void *ctx, const char *why)
{
    struct tail *t = ctx;
    say_down(t, why);
    atomic_store(&t->pulse->readable_until_ms, 0);
    forget_asks(t);
    t->server_id_len = 0;
    if (t->hotline)
        hotline_cut(t->hotline);
    LIST_EACH (node, &t->feeds.sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        feed_doubt(f);
        ring_refresh_lost(&f->ring);
    }
}

static void link_replied(void *ctx, struct view reply)
{
    struct tail *t = ctx;
    CHECK(t->ask_len > 0);
    struct ask a = t->asks[t->ask_head];
    t->ask_head = (t->ask_head + 1) % t->ask_cap;
    t->ask_len--;

    if (a.kind == ASK_TIME)
        answer_time(t, reply);
    if (a.kind == ASK_SERVER)
        t->server_id_len = hotline_server_id(reply, t->server_id);
    if (a.kind == ASK_NOTHING)
        answer_queued(t, reply);
    if (a.feed == NULL)
        return;
    if (a.kind == ASK_OLDER) {
        if (!a.feed->dead)
            answer_older(a.feed, reply);
        cut_for_nonsense(t);
        return; // the range is still to come
    }
    a.feed->asked = false;
    t->reads_in_flight--;
    if (a.feed->dead)
        feed_drop(a.feed);
    else if (a.kind == ASK_RANGE)
        answer_range(a.feed, reply);
    else
        answer_check(a.feed, reply);
    cut_for_nonsense(t);
}

// ["invalidate", [key, …]], or null instead of the keys when all of them went
// (FLUSHALL, FLUSHDB).
static void link_pushed(void *ctx, struct view push)
{
    struct tail *t = ctx;
    struct resp_reader r = resp_open(push);
    struct resp_node node, key;
    struct view prefix = view_of(t->config->stream_prefix);
    if (!resp_next(&r, &node) || !resp_next(&r, &node) || !view_eq(node.text, VIEW("invalidate")) ||
        !resp_next(&r, &node))
        return;
    if (node.type == RESP_NULL)
        mark_all_dirty(t);
    for (size_t i = 0; node.type == RESP_ARRAY && i < node.count && resp_next(&r, &key); i++) {
        if (!view_starts(key.text, prefix))
            continue;
        struct view id = { key.text.at + prefix.len, key.text.len - prefix.len };
        struct feed *f = find_feed(t, id);
        if (f && f->hot) { // the hotline brings it; but a DEL does not end an XREAD
            if (!deadline_armed(&f->recheck))
                deadline_arm(&t->rechecks, &f->recheck, t->loop.now_ms);
        } else if (f) {
            feed_mark_dirty(f);
        }
    }
}

// The link pings when it hears nothing, three times in stale_ms, so silence is
// trouble. After it every stream is read, so that its clients can be told that it
// is up to date.
static void take_pulse(struct tail *t)
{
    if (!link_is_up(t->link) || t->troubled)
        return; // what was said last runs out by itself
    bool was_readable = pulse_readable(t->pulse, t->loop.now_ms);
    atomic_store(&t->pulse->heard_ms, link_heard_ms(t->link));
    atomic_store(&t->pulse->readable_until_ms, link_heard_ms(t->link) + t->config->stale_ms);
    if (!was_readable && pulse_readable(t->pulse, t->loop.now_ms)) {
        atomic_fetch_add(&t->pulse->epoch, 1);
        mark_all_dirty(t);
    }
}

// ---- following ------------------------------------------------------------------

// Forgets the feed; if a read is unanswered, in two steps. Nobody listens to it.
static void feed_drop(struct feed *f)
{
    if (!f->dead) {
        ring_done(&f->ring);
        table_remove(&tail_of(f)->by_id, &f->by_id);
        list_remove(&f->in_sweep);
        list_remove(&f->in_dirty);
        list_remove(&f->in_changed);
        list_remove(&f->in_warm);
        deadline_cancel(&f->linger);
        deadline_cancel(&f->recheck);
        for (size_t i = 0; i < tail_of(f)->hot_count; i++)
            if (tail_of(f)->hot[i].feed == f)
                tail_of(f)->hot[i].feed = NULL;
        f->dead = true;
    }
    if (!f->asked)
        free(f);
}

static void linger_due(struct deadline *d)
{
    struct feed *f = CONTAINER_OF(d, struct feed, linger);
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "unfollow", SAY_V("stream", feed_id(f)));
    feed_drop(f);
}

static void follow(struct tail *t, const struct request *request)
{
    struct view id = { request->id, request->id_len };
    struct feed *f = find_feed(t, id);
    if (f == NULL && t->by_id.len >= (size_t)t->config->max_followed) {
        struct failure *failure = must_alloc(sizeof(*failure));
        *failure = (struct failure){ .letter.kind = LETTER_FAILED,
                                     .stream = request->stream,
                                     .close_code = WS_CLOSE_TRY_LATER,
                                     .reason = "too many streams are followed" };
        mailbox_post(request->from, &failure->letter);
        return;
    }
    if (f == NULL) {
        f = feed_new(&t->feeds, id);
        table_add(&t->by_id, &f->by_id, feed_id(f));
        if (say_enabled(SAY_DEBUG))
            say(SAY_DEBUG, "follow", SAY_V("stream", id));
    }
    ring_subscribe(&f->ring, request);
    deadline_cancel(&f->linger);
    feed_mark_changed(f);
}

static struct feed *feed_of(struct tail *t, const struct request *request)
{
    return find_feed(t, (struct view){ request->id, request->id_len });
}

static void unfollow(struct tail *t, const struct request *request)
{
    struct feed *f = feed_of(t, request);
    // It may have failed, and the worker did not know yet.
    if (f && ring_unsubscribe(&f->ring, request) && !ring_has_subscribers(&f->ring))
        deadline_arm(&t->lingers, &f->linger, t->loop.now_ms);
    struct farewell *farewell = must_alloc(sizeof(*farewell));
    *farewell = (struct farewell){ .letter.kind = LETTER_UNFOLLOWED, .stream = request->stream };
    mailbox_post(request->from, &farewell->letter);
}

static void refresh(struct tail *t, const struct request *request)
{
    struct feed *f = feed_of(t, request);
    if (f && ring_want_refresh(&f->ring, request))
        feed_mark_dirty(f);
}

static void take_letter(void *ctx, struct letter *letter)
{
    struct tail *t = ctx;
    if (letter->kind == LETTER_STOP) {
        loop_stop(&t->loop);
        free(letter);
        return;
    }
    struct request *request = CONTAINER_OF(letter, struct request, letter);
    switch (letter->kind) {
    case LETTER_FOLLOW: follow(t, request); break;
    case LETTER_UNFOLLOW: unfollow(t, request); break;
    case LETTER_REFRESH: refresh(t, request); break;
    default: CHECK(!"a letter for the tail");
    }
    free(request);
}

static void tell_changes(struct tail *t)
{
    for (struct list *node; (node = list_pop(&t->feeds.changed));)
        ring_tell(&LIST_ITEM(node, struct feed, in_changed)->ring);
}

static bool before_sleep(void *ctx)
{
    struct tail *t = ctx;
    tell_changes(t);
    bool editions_left = rings_fill(&t->feeds.rings);
    read_dirty(t);
    link_flush(t->link);
    wait_on_hotline(t);
    take_pulse(t);
    return editions_left ||
           (!list_empty(&t->feeds.dirty) && may_read(t) && t->reads_in_flight == 0);
}

// ---- the sweep ------------------------------------------------------------------

// Marks up to `count` feeds dirty, those that have waited longest first.
static void sweep_some(struct tail *t, size_t count)
{
    if (count > t->by_id.len)
        count = t->by_id.len;
    while (count-- > 0) {
        struct feed *f = LIST_ITEM(t->feeds.sweep.next, struct feed, in_sweep);
        list_move(&t->feeds.sweep, &f->in_sweep);
        feed_mark_dirty(f);
    }
}

static void tick_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, tick);
    size_t sweep_s = (size_t)t->config->sweep_seconds;
    t->busy = t->feeds.fresh_reads > HOT_READS_MAX;
    t->feeds.fresh_reads = 0;
    if (link_is_up(t->link)) {
        sweep_some(t, (t->by_id.len + sweep_s - 1) / sweep_s);
        if (++t->tick_count % CLOCK_EVERY_TICKS == 0)
            ask_time(t);
    }
    deadline_arm(&t->ticks, d, t->loop.now_ms);
}

static void poll_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, poll);
    sweep_some(t, (size_t)t->config->poll_ms * POLLS_PER_MS);
    arm_poll(t);
}

// ---- start and stop -------------------------------------------------------------

static char *failed(const char *what)
{
    char *text = NULL;
    CHECK(asprintf(&text, "%s: %s", what, strerror(errno)) >= 0);
    return text;
}

static const struct hotline_events hotline_events = {
    .answered = hotline_answered,
    .lost = hotline_lost,
};

static const struct link_events link_events = {
    .up = link_came_up,
    .down = link_went_down,
    .reply = link_replied,
    .push = link_pushed,
};

static struct link *make_link(struct tail *t, const char **why)
{
    const struct link_options options = {
        .connect_timeout_ms = t->config->redis_timeout_ms,
        .reply_timeout_ms = t->config->redis_timeout_ms,
        .ping_ms = t->config->stale_ms / 3,
        .backoff_min_ms = 50,
        .backoff_max_ms = 2000,
        .input_max = 1024 * MIB,
        .tracking = true,
    };
    return link_new(&t->loop, &t->config->redis_url, &options, &link_events, t, why);
}

static void *run(void *arg)
{
    struct tail *t = arg;
    prctl(PR_SET_NAME, "bond-tail");
    link_start(t->link);
    deadline_arm(&t->ticks, &t->tick, t->loop.now_ms);
    loop_run(&t->loop);
    return NULL;
}

static void init_queue(struct tail *t, struct deadline_queue *q, int64_t after_ms,
                       void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(&t->loop, q);
}

static void tail_free(struct tail *t)
{
    mailbox_done(&t->mailbox);
    forget_asks(t);
    LIST_EACH (node, &t->feeds.sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        ring_fail(&f->ring, WS_CLOSE_GOING_AWAY, "the broker ends");
        feed_drop(f);
    }
    if (t->hotline)
        hotline_free(t->hotline);
    if (t->link)
        link_free(t->link);
    loop_done(&t->loop);
    table_done(&t->by_id);
    rings_done(&t->feeds.rings);
    feeds_done(&t->feeds);
    free(t->asks);
    free(t);
}

struct tail *tail_new(const struct config *config, struct pulse *pulse, char **why)
{
    struct tail *t = must_alloc(sizeof(*t));
    *t = (struct tail){ .config = config, .pulse = pulse };
    t->feeds =
        (struct feeds){ .config = config, .pulse = pulse, .loop = &t->loop, .stats = &t->stats };
    feeds_init(&t->feeds);
    table_init(&t->by_id);
    deadline_init(&t->tick);
    deadline_init(&t->poll);
    deadline_init(&t->retry);
    if (!loop_init(&t->loop) || !mailbox_init(&t->mailbox, take_letter, t) ||
        !mailbox_open(&t->mailbox, &t->loop)) {
        *why = failed("cannot make the tail's loop");
        return NULL;
    }
    t->loop.before_sleep = before_sleep;
    t->loop.ctx = t;
    int64_t ring_ms = config->ring_seconds * MS_PER_S;
    init_queue(t, &t->ticks, TICK_MS, tick_due);
    init_queue(t, &t->polls, config->poll_ms, poll_due);
    init_queue(t, &t->retries, RETRY_MS, retry_due);
    rings_init(&t->feeds.rings, config, &t->stats, &t->loop);
    init_queue(t, &t->lingers, ring_ms, linger_due);
    init_queue(t, &t->rechecks, HOT_RECHECK_MS, recheck_due);

    const char *link_why = NULL;
    t->link = make_link(t, &link_why);
    if (t->link && config->redis_connections > 1)
        t->hotline = hotline_new(&t->loop, &config->redis_url, t->link, config->redis_timeout_ms,
                                 &hotline_events, t, &link_why);
    if (t->link == NULL || (config->redis_connections > 1 && t->hotline == NULL)) {
        CHECK(asprintf(why, "the link to Redis (REDIS_URL) cannot be prepared: %s", link_why) >= 0);
        tail_free(t);
        return NULL;
    }
    return t;
}

bool tail_start(struct tail *t, char **why)
{
    errno = pthread_create(&t->thread, NULL, run, t);
    t->running = errno == 0;
    if (!t->running)
        *why = failed("cannot start the tail's thread");
    return t->running;
}

struct mailbox *tail_mailbox(struct tail *t)
{
    return &t->mailbox;
}

const struct stats *tail_stats(const struct tail *t)
{
    return &t->stats;
}

void tail_stop(struct tail *t)
{
    if (t->running) {
        struct letter *stop = must_alloc(sizeof(*stop));
        *stop = (struct letter){ .kind = LETTER_STOP };
        mailbox_post(&t->mailbox, stop);
        pthread_join(t->thread, NULL);
    }
    tail_free(t);
}
