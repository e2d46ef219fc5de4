#include "tail/tail.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "tail/answers.h"
#include "tail/asks.h"
#include "tail/discovery.h"
#include "tail/following.h"
#include "tail/hot.h"
#include "tail/lister.h"
#include "tail/telling.h"
#include "tail/trouble.h"

#define TICK_MS 1000 // sweep slice and clock check
#define CLOCK_EVERY_TICKS 5
#define SHORTFALL_TICKS 10
#define POLLS_PER_MS 5 // without tracking: reads a millisecond at most
#define DOWN_SAY_MS 30000
#define SOURCE_NAME_MAX 256

struct tail {
    const struct config *config;
    struct metrics metrics, source_metrics;
    char source_name[SOURCE_NAME_MAX + 1];
    pthread_t thread;
    bool running;
    struct loop loop;
    struct mailbox mailbox;

    struct source source;
    struct following following;
    struct discovery discovery;
    struct lister lister;

    struct deadline_queue ticks;
    struct deadline tick;
    uint64_t tick_count;
    int64_t shortfall_ms[2]; // the most of this stretch of SHORTFALL_TICKS, and of the last one
};

// ---- the link's events ----------------------------------------------------------

static void arm_poll(struct source *s)
{
    deadline_arm(&s->polls, &s->poll, s->loop->now_ms);
}

static int64_t away_ms(const struct source *s)
{
    return s->down_since_ms ? s->loop->now_ms - s->down_since_ms : 0;
}

// Polling costs Redis and us, and delays events: somebody is to know, and why.
static void say_up(const struct source *s)
{
    struct view redis = buffer_view(&s->name), server = link_server(s->link);
    if (link_tracks(s->link))
        say(SAY_INFO, "redis_up", SAY_V("redis", redis), SAY_V("server", server),
            SAY_S("following", "tracking"), SAY_I("streams", (int64_t)s->following->by_id.len),
            SAY_N("away_ms", away_ms(s)));
    else
        say(SAY_WARN, "redis_up", SAY_V("redis", redis), SAY_V("server", server),
            SAY_S("following", "polling"), SAY_S("why", link_why_not_tracking(s->link)),
            SAY_I("streams", (int64_t)s->following->by_id.len), SAY_N("away_ms", away_ms(s)),
            SAY_S("hint", "each stream is read every BOND_POLL_MS: let the broker's user use "
                          "CLIENT TRACKING, on Redis 6 or later"));
}

static void link_came_up(void *ctx)
{
    struct source *s = ctx;
    s->clock_known = false;
    skew_forget(&s->skew);
    trouble_reset(s);
    s->feeds.cannot_check = s->exec_refused;
    s->exec_refused = false;
    say_up(s);
    s->down_why[0] = '\0';
    s->down_since_ms = 0;
    if (metrics_get(s->metrics, METRIC_REDIS_CONNECTS) > 0)
        metrics_add(s->metrics, METRIC_REDIS_RECONNECTS, 1);
    metrics_add(s->metrics, METRIC_REDIS_CONNECTS, 1);
    metrics_set(s->metrics, METRIC_REDIS_TRACKING, link_tracks(s->link));
    asks_time(s);
    asks_server(s);
    source_mark_all_dirty(s);
    deadline_cancel(&s->poll);
    if (!link_tracks(s->link))
        arm_poll(s);
}

// The first time, when the reason changes, and now and then: it is tried again
// every second or two.
static void say_down(struct source *s, const char *why)
{
    uint64_t missed = 0;
    bool it_is_time = say_limited(&s->down, s->loop->now_ms, DOWN_SAY_MS, &missed);
    if (strcmp(s->down_why, why) == 0 && !it_is_time)
        return;
    snprintf(s->down_why, sizeof(s->down_why), "%s", why);
    say(SAY_WARN, "redis_down", SAY_V("redis", buffer_view(&s->name)), SAY_S("why", why),
        SAY_N("away_ms", away_ms(s)), SAY_I("streams", (int64_t)s->following->by_id.len),
        SAY_NOT_SAID(missed));
}

static void link_went_down(void *ctx, const char *why)
{
    struct source *s = ctx;
    if (s->down_since_ms == 0)
        s->down_since_ms = s->loop->now_ms;
    say_down(s, why);
    atomic_store(&s->pulse->readable_until_ms, 0);
    answers_lost(s);
    s->server_id_len = 0;
    if (s->hotline)
        hotline_cut(s->hotline);
    LIST_EACH (node, &s->feeds.sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        feed_doubt(f);
        ring_refresh_lost(&f->ring);
    }
}

static void link_replied(void *ctx, struct view reply)
{
    answers_take(ctx, reply);
}

static void link_pushed(void *ctx, struct view push)
{
    answers_take_push(ctx, push);
}

static const struct link_events link_events = {
    .up = link_came_up,
    .down = link_went_down,
    .reply = link_replied,
    .push = link_pushed,
};

// ---- a turn -----------------------------------------------------------------------

static void take_letter(void *ctx, struct letter *letter)
{
    struct tail *t = ctx;
    if (letter->kind == LETTER_STOP) {
        loop_stop(&t->loop);
        free(letter);
        return;
    }
    if (letter->kind == LETTER_WATCH || letter->kind == LETTER_UNWATCH) {
        struct watch_request *watch = CONTAINER_OF(letter, struct watch_request, letter);
        discovery_take_letter(&t->discovery, watch);
        free(watch);
        return;
    }
    if (letter->kind == LETTER_LIST) {
        lister_take(&t->lister, CONTAINER_OF(letter, struct listing_request, letter));
        return;
    }
    struct request *request = CONTAINER_OF(letter, struct request, letter);
    following_take(&t->following, request);
    free(request);
}

static void tell_changes(struct source *s)
{
    for (struct feed *f; (f = telling_next(&s->feeds));)
        ring_tell(&f->ring);
}

// Redis was unreadable, and is not any more; clients may have been told so, and wait to be
// told of each stream that it is up to date. After a break of the link or errors instead of
// data all streams are read. But if Redis was only not heard (it hung; or it was us who did
// not listen: a long turn, a process that was stopped), it has said what changed, or will
// have before it answers a question that is asked now: no read is needed for that.
static void recover(struct source *s)
{
    atomic_fetch_add(&s->pulse->epoch, 1);
    if (s->was_cut_off || !link_tracks(s->link))
        source_mark_all_dirty(s);
    else
        asks_fence(s);
}

// Once a turn, when what Redis said has been read: says to all threads until when it counts
// as readable. The link pings when it hears nothing, three times in stale_ms.
static void take_pulse(struct source *s)
{
    int64_t now_ms = s->loop->now_ms;
    if (!link_is_up(s->link) || s->troubled) {
        s->was_cut_off = true; // what was said last runs out by itself
        return;
    }
    bool was_readable = pulse_readable(s->pulse, now_ms);
    atomic_store(&s->pulse->heard_ms, link_heard_ms(s->link));
    atomic_store(&s->pulse->readable_until_ms, link_heard_ms(s->link) + s->config->stale_ms);
    if (!pulse_readable(s->pulse, now_ms))
        return;
    if (!was_readable)
        recover(s);
    s->was_cut_off = false;
}

// Reads of streams go first.
static bool look_for_streams(struct source *s)
{
    if (asks_may_read(s) && discovery_is_due(s->discovery, asks_are_many(s))) {
        const struct scan scan = discovery_ask(s->discovery);
        asks_scan(s, &scan);
    }
    return discovery_turn(s->discovery);
}

static void turned(void *ctx, int64_t us)
{
    struct tail *t = ctx;
    metrics_observe(&t->metrics, HISTOGRAM_TURN, (uint64_t)us, 1);
    metrics_set(&t->metrics, METRIC_STREAMS_FOLLOWED, t->following.by_id.len);
    metrics_set(&t->metrics, METRIC_RING_BYTES, t->source.feeds.rings.bytes);
}

static bool before_sleep(void *ctx)
{
    struct tail *t = ctx;
    struct source *s = &t->source;
    trouble_look(s);
    take_pulse(s);
    tell_changes(s);
    bool editions_left = rings_fill(&s->feeds.rings);
    asks_read_dirty(s);
    bool names_left = look_for_streams(s);
    link_flush(s->link);
    hot_wait(s);
    bool listing_left = lister_run(&t->lister, &s->feeds, s->metrics->source);
    bool reads_left = !list_empty(&s->feeds.dirty) && asks_may_read(s) && s->reads_in_flight == 0;
    return editions_left || listing_left || reads_left || names_left;
}

// How much of the window the rings lack for want of memory: the most of the last two
// stretches, so that it is seen by who looks every ten seconds.
static void note_shortfall(struct tail *t)
{
    struct rings *rings = &t->source.feeds.rings;
    int64_t window_ms = t->config->ring_seconds * MS_PER_S, lacks_ms = 0;
    if (rings->shortened_to_ms > 0)
        lacks_ms = window_ms - (feeds_redis_now_ms(&t->source.feeds) - rings->shortened_to_ms);
    rings->shortened_to_ms = 0;
    if (t->tick_count % SHORTFALL_TICKS == 0) {
        t->shortfall_ms[1] = t->shortfall_ms[0];
        t->shortfall_ms[0] = 0;
    }
    if (lacks_ms > t->shortfall_ms[0])
        t->shortfall_ms[0] = lacks_ms < window_ms ? lacks_ms : window_ms;
    int64_t most_ms = t->shortfall_ms[t->shortfall_ms[0] > t->shortfall_ms[1] ? 0 : 1];
    metrics_set(&t->metrics, METRIC_RING_SHORTFALL_SECONDS, (uint64_t)most_ms);
    metrics_set(&t->metrics, METRIC_RING_SPAN_SECONDS, (uint64_t)(window_ms - most_ms));
}

static void tick_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, tick);
    struct source *s = &t->source;
    size_t sweep_s = (size_t)t->config->sweep_seconds;
    t->tick_count++;
    hot_count_reads(s);
    note_shortfall(t);
    if (link_is_up(s->link)) {
        source_sweep(s, (t->following.by_id.len + sweep_s - 1) / sweep_s);
        if (t->tick_count % CLOCK_EVERY_TICKS == 0)
            asks_time(s);
    }
    deadline_arm(&t->ticks, d, t->loop.now_ms);
}

static void poll_due(struct deadline *d)
{
    struct source *s = CONTAINER_OF(d, struct source, poll);
    source_sweep(s, (size_t)s->config->poll_ms * POLLS_PER_MS);
    arm_poll(s);
}

static void *run(void *arg)
{
    struct tail *t = arg;
    prctl(PR_SET_NAME, "bond-tail");
    link_start(t->source.link);
    deadline_arm(&t->ticks, &t->tick, t->loop.now_ms);
    loop_run(&t->loop);
    return NULL;
}

// ---- start and stop -------------------------------------------------------------

static char *failed(const char *what)
{
    char *text = NULL;
    CHECK(asprintf(&text, "%s: %s", what, strerror(errno)) >= 0);
    return text;
}

// False: *why says what failed.
static bool connect_source(struct source *s, const char **why)
{
    const struct config *config = s->config;
    const struct link_options options = {
        .connect_timeout_ms = config->redis_timeout_ms,
        .reply_timeout_ms = config->redis_timeout_ms,
        .ping_ms = config->stale_ms / 3,
        .backoff_min_ms = 50,
        .backoff_max_ms = 2000,
        .input_max = 1024 * MIB,
        .tracking = true,
    };
    s->link = link_new(s->loop, &config->redis_url, &options, &link_events, s, why);
    if (s->link == NULL || config->redis_connections == 1)
        return s->link != NULL;
    s->hotline = hotline_new(s->loop, &config->redis_url, s->link, config->redis_timeout_ms,
                             &hot_events, s, why);
    return s->hotline != NULL;
}

static void init_source(struct tail *t, struct pulse *pulse)
{
    struct source *s = &t->source;
    *s = (struct source){
        .config = t->config, .pulse = pulse, .metrics = &t->source_metrics, .loop = &t->loop
    };
    s->feeds = (struct feeds){
        .config = t->config, .pulse = pulse, .loop = &t->loop, .metrics = s->metrics
    };
    source_init(s);
    redis_url_show(&t->config->redis_url, &s->name);
    source_add_queue(s, &s->polls, t->config->poll_ms, poll_due);
    asks_init(s);
    trouble_init(s);
    hot_init(s);
    following_init(&t->following, s);
    discovery_init(&t->discovery, t->config, &t->loop);
    s->discovery = &t->discovery;
    lister_init(&t->lister);
}

static void tail_free(struct tail *t)
{
    mailbox_done(&t->mailbox);
    answers_lost(&t->source);
    following_done(&t->following);
    discovery_done(&t->discovery);
    lister_done(&t->lister);
    source_done(&t->source);
    loop_done(&t->loop);
    free(t);
}

// The tail's row, and that of its one source, by which its figures are labelled.
static void add_rows(struct tail *t, struct metric_rows *rows)
{
    const struct redis_url *url = &t->config->redis_url;
    snprintf(t->source_name, sizeof(t->source_name), url->unix_socket ? "%s" : "%s:%d", url->host,
             url->port);
    t->metrics.thread = "tail";
    metrics_set(&t->metrics, METRIC_RING_SPAN_SECONDS,
                (uint64_t)(t->config->ring_seconds * MS_PER_S));
    t->source_metrics.source = t->source_name;
    metric_rows_add(rows, &t->metrics);
    metric_rows_add(rows, &t->source_metrics);
}

struct tail *tail_new(const struct config *config, struct pulse *pulse, struct metric_rows *rows,
                      char **why)
{
    struct tail *t = must_alloc(sizeof(*t));
    *t = (struct tail){ .config = config };
    add_rows(t, rows);
    deadline_init(&t->tick);
    if (!loop_init(&t->loop) || !mailbox_init(&t->mailbox, take_letter, t) ||
        !mailbox_open(&t->mailbox, &t->loop)) {
        *why = failed("cannot make the tail's loop");
        return NULL;
    }
    t->loop.before_sleep = before_sleep;
    t->loop.turned = turned;
    t->loop.ctx = t;
    deadline_queue_init(&t->ticks, TICK_MS, tick_due);
    loop_add_queue(&t->loop, &t->ticks);
    init_source(t, pulse);

    const char *link_why = NULL;
    if (!connect_source(&t->source, &link_why)) {
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
