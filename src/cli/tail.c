// bond-broker tail: prints the events of streams as they come. One connection for each
// stream; each remembers the last id that it had and resumes behind it, at whatever answers.
//
//   tail ─┬─ listening ── channel     a stream: where it is, how far it has come
//         ├─ listening ── channel
//         ├─ screen                    standard output, and a line of state on a terminal
//         └─ tick                      once a second: the line of state
//
// Who a message is about stands in the message; a listening is only where it came from. So
// one socket for many streams (/ws), and patterns, need another kind of listening, with the
// last id of each stream, and nothing else.
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/channel.h"
#include "cli/cli.h"
#include "cli/screen.h"
#include "cli/target.h"
#include "cli/told.h"
#include "wire/token.h"

#define TOKEN_S 3600
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 5000
#define SAY_AGAIN_MS (30 * MS_PER_S)
#define TICK_MS 1000
#define STREAMS_MAX 1024 // connections of one `tail`

struct tail_run;

struct listening {
    struct tail_run *run;
    struct target target;
    struct tls_context *tls;
    struct channel *channel;
    bool knows_place;    // `last` is where to resume; 0-0: from the stream's very first event on
    struct eventid last; // the newest event that came, or that it began behind
    bool is_over;        // refused for good
    int64_t hint_ms;     // when the broker says to come back; -1: it did not
    int64_t backoff_ms;
    bool is_lost, is_stale; // and that has been said
    int64_t said_ms;
    char why[320]; // as it was said last
};

struct tail_run {
    const struct config *config;
    struct loop loop;
    struct screen screen;
    struct listening *listenings;
    size_t count, over;
    const char *from, *after; // as asked for, before anything is known
    bool is_json;
    uint64_t events, events_max; // max 0: no end
    uint64_t events_before;      // at the last tick
    int64_t tick_ms;
    int64_t lag_ms; // the largest since the last tick; -1: not known
    struct deadline_queue ticks;
    struct deadline tick;
    int status;
};

// ---- what people are told ---------------------------------------------------------

static void note(struct listening *of, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct listening *of, const char *fmt, ...)
{
    struct buffer line = { 0 };
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    told_add_clean(&line, buffer_view(&of->target.name));
    buffer_printf(&line, ": %s", text);
    screen_note(&of->run->screen, buffer_view(&line));
    buffer_free(&line);
}

// At once, when the reason changes, and now and then: it is tried again all the time.
static void note_lost(struct listening *of, const char *why, int64_t again_ms)
{
    int64_t now_ms = of->run->loop.now_ms;
    if (of->is_lost && strcmp(of->why, why) == 0 && now_ms - of->said_ms < SAY_AGAIN_MS)
        return;
    of->is_lost = true;
    of->said_ms = now_ms;
    snprintf(of->why, sizeof(of->why), "%s", why);
    note(of, "%s; tried again in %.1f s", why, (double)again_ms / (double)MS_PER_S);
}

static void note_source(struct listening *of, const struct told *t)
{
    if (t->is_stale == of->is_stale)
        return;
    of->is_stale = t->is_stale;
    if (!t->is_stale)
        note(of, "ok: the broker reads Redis again, and is up to date");
    else if (t->number < 0)
        note(of, "stale: the broker cannot read Redis, so silence means nothing");
    else
        note(of,
             "stale: the broker has not heard of Redis for %" PRId64
             " ms, so silence means nothing",
             t->number);
}

// ---- messages ---------------------------------------------------------------------

static void remember(struct listening *of, struct eventid id)
{
    of->knows_place = true;
    of->last = id;
}

static void take_event(struct listening *of, const struct told *t, int64_t now_ms)
{
    struct tail_run *run = of->run;
    int64_t age_ms = told_age_ms(t->event_id, now_ms);
    remember(of, t->event_id);
    if (!run->is_json)
        told_write_event(t, now_ms, run->screen.is_coloured, &run->screen.out);
    if (age_ms > run->lag_ms)
        run->lag_ms = age_ms;
    if (++run->events == run->events_max)
        loop_stop(&run->loop);
}

// The token of a stream of ours can be renewed before it ends (protocol 17.3).
static void renew(struct listening *of)
{
    char token[TOKEN_MAX + 1];
    struct buffer message = { 0 };
    token_mint(buffer_view(&of->target.name), view_of(of->run->config->secret),
               clock_wall_ms() / MS_PER_S + TOKEN_S, false, token);
    buffer_printf(&message, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    channel_send(of->channel, buffer_view(&message));
    buffer_free(&message);
}

static bool has_printed_enough(const struct tail_run *run)
{
    return run->events_max && run->events >= run->events_max;
}

static void take_message(void *ctx, struct view text)
{
    struct listening *of = ctx;
    struct tail_run *run = of->run;
    int64_t now_ms = clock_wall_ms();
    struct told t;
    if (has_printed_enough(run) || !told_read(text, &t))
        return;
    if (run->is_json) {
        buffer_add_view(&run->screen.out, text);
        buffer_add_view(&run->screen.out, VIEW("\n"));
    }
    switch (t.kind) {
    case TOLD_EVENT: take_event(of, &t, now_ms); break;
    case TOLD_LIVE: remember(of, t.event_id); break;
    case TOLD_GAP:
        if (!run->is_json)
            told_write_gap(&t, now_ms, run->screen.is_coloured, &run->screen.out);
        break;
    case TOLD_SOURCE: note_source(of, &t); break;
    case TOLD_EXPIRING:
        if (of->target.is_minted && t.number >= 0 && t.number <= 30)
            renew(of);
        break;
    case TOLD_CLOSING: of->hint_ms = t.number; break;
    default: break;
    }
    screen_flush_if_full(&run->screen);
}

// ---- a connection's life ------------------------------------------------------------

static void add_request(void *ctx, struct buffer *out)
{
    struct listening *of = ctx;
    char token[TOKEN_MAX + 1], last[EVENTID_MAX + 1];
    struct target_start start = { .from = of->run->from, .after = of->run->after };
    if (of->target.is_minted) {
        token_mint(buffer_view(&of->target.name), view_of(of->run->config->secret),
                   clock_wall_ms() / MS_PER_S + TOKEN_S, false, token);
        start.token = token;
    }
    if (of->knows_place) {
        eventid_format(of->last, last);
        start.after = last;
    }
    target_request(&of->target, &start, out);
}

static void opened(void *ctx)
{
    struct listening *of = ctx;
    of->backoff_ms = 0;
    of->hint_ms = -1;
    if (of->is_lost)
        note(of, "connected again");
    of->is_lost = false;
}

// What the same request would meet again, however often it is sent.
static bool is_final(int status)
{
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

static uint64_t random_below(uint64_t end)
{
    uint64_t random;
    CHECK(getrandom(&random, sizeof(random), 0) == sizeof(random));
    return end ? random % end : 0;
}

// What the broker asks for, if it does: its `reconnect_ms` is random already, a Retry-After
// is not. Else twice as long each time, at random.
static int64_t next_delay_ms(struct listening *of, const struct channel_end *what)
{
    if (of->hint_ms >= 0)
        return of->hint_ms < 60 * MS_PER_S ? of->hint_ms : 60 * MS_PER_S;
    if (what->retry_after_ms >= 0)
        return what->retry_after_ms + (int64_t)random_below(MS_PER_S);
    of->backoff_ms = of->backoff_ms ? of->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (of->backoff_ms > BACKOFF_MAX_MS)
        of->backoff_ms = BACKOFF_MAX_MS;
    return of->backoff_ms / 4 + (int64_t)random_below((uint64_t)of->backoff_ms);
}

static void ended(void *ctx, const struct channel_end *what)
{
    struct listening *of = ctx;
    struct tail_run *run = of->run;
    if (is_final(what->status)) {
        note(of, "%s", what->why);
        of->is_over = true;
        if (++run->over == run->count) {
            run->status = 1;
            loop_stop(&run->loop);
        }
        return;
    }
    int64_t delay_ms = next_delay_ms(of, what);
    of->hint_ms = -1;
    note_lost(of, what->why, delay_ms);
    channel_connect(of->channel, delay_ms);
}

static const struct channel_events channel_events = {
    .request = add_request, .opened = opened, .message = take_message, .ended = ended
};

// ---- a turn -------------------------------------------------------------------------

static void show_state(struct tail_run *run)
{
    struct buffer line = { 0 };
    size_t connected = 0;
    int64_t now_ms = clock_mono_ms(), span_ms = now_ms - run->tick_ms;
    for (size_t i = 0; i < run->count; i++)
        connected += channel_is_open(run->listenings[i].channel);
    uint64_t news = run->events - run->events_before;
    double rate = span_ms > 0 ? (double)news * 1000 / (double)span_ms : 0;
    buffer_printf(&line, "%zu of %zu connected  %.1f events/s  %" PRIu64 " events", connected,
                  run->count, rate, run->events);
    if (run->lag_ms >= 0)
        buffer_printf(&line, "  lag %" PRId64 " ms", run->lag_ms);
    screen_state(&run->screen, buffer_view(&line));
    buffer_free(&line);
    run->events_before = run->events;
    run->tick_ms = now_ms;
    run->lag_ms = -1;
}

static void tick_due(struct deadline *d)
{
    struct tail_run *run = CONTAINER_OF(d, struct tail_run, tick);
    show_state(run);
    deadline_arm(&run->ticks, d, run->loop.now_ms);
}

static bool before_sleep(void *ctx)
{
    struct tail_run *run = ctx;
    if (!screen_flush(&run->screen)) {
        run->status = 1;
        loop_stop(&run->loop);
    }
    return false;
}

// ---- start and end ------------------------------------------------------------------

static const char *set_up_tls(struct listening *of, const char *ca_file)
{
    const struct tls_options options = { .ca_file = ca_file, .verify_cert = true };
    switch (tls_context_new(&options, &of->tls)) {
    case TLS_SET_UP: return NULL;
    case TLS_BAD_CA: return "the authorities' certificates (--ca-file) cannot be read";
    default: return "OpenSSL cannot be set up";
    }
}

// NULL, or what is wrong with this argument.
static const char *listen_to(struct listening *of, const struct cli *c, const char *what)
{
    const char *wrong = NULL;
    of->hint_ms = -1;
    if (*what == '\0')
        return "a stream's id is empty";
    if (target_is_url(what))
        wrong = target_of_url(what, &of->target);
    else if (utf8_valid(view_of(what)))
        target_of_stream(&c->config, what, &of->target);
    else
        wrong = "a stream's id is not UTF-8";
    if (!wrong && of->target.tls)
        wrong = set_up_tls(of, cli_value(c, "--ca-file"));
    if (wrong)
        return wrong;
    const struct channel_options options = { .loop = &of->run->loop,
                                             .host = of->target.host,
                                             .host_header = of->target.host_header,
                                             .port = of->target.port,
                                             .tls = of->tls,
                                             .verify_host = true };
    of->channel = channel_new(&options, &channel_events, of);
    return NULL;
}

static const char *listen_to_all(struct tail_run *run, const struct cli *c)
{
    bool is_minted = false;
    for (int i = 0; i < c->argc; i++) {
        struct listening *of = &run->listenings[run->count++];
        of->run = run;
        const char *wrong = listen_to(of, c, c->argv[i]);
        if (wrong)
            return wrong;
        is_minted |= of->target.is_minted;
    }
    if (is_minted)
        cli_warn_of_default_secret(&c->config);
    return NULL;
}

static void listen_to_none(struct tail_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->listenings[i].channel)
            channel_free(run->listenings[i].channel);
        tls_context_free(run->listenings[i].tls);
        target_done(&run->listenings[i].target);
    }
    free(run->listenings);
}

static const char *check_start(const struct cli *c)
{
    const char *from = cli_value(c, "--from"), *after = cli_value(c, "--after");
    struct start start;
    if (after && c->argc > 1)
        return "--after is an event of one stream: say it for one";
    return start_parse(view_of(from), view_of(after), clock_wall_ms(), &start);
}

static void run_loop(struct tail_run *run)
{
    run->loop.before_sleep = before_sleep;
    run->loop.ctx = run;
    deadline_queue_init(&run->ticks, TICK_MS, tick_due);
    loop_add_queue(&run->loop, &run->ticks);
    deadline_init(&run->tick);
    deadline_arm(&run->ticks, &run->tick, run->loop.now_ms);
    run->tick_ms = clock_mono_ms();
    for (size_t i = 0; i < run->count; i++)
        channel_connect(run->listenings[i].channel, 0);
    loop_run(&run->loop);
}

static int tail(struct cli *c)
{
    struct tail_run run = { .config = &c->config,
                            .from = cli_value(c, "--from"),
                            .after = cli_value(c, "--after"),
                            .is_json = cli_value(c, "--json") != NULL,
                            .lag_ms = -1 };
    const char *count = cli_value(c, "--count");
    const char *wrong = check_start(c);
    if (!wrong && count && (!view_u64(view_of(count), &run.events_max) || run.events_max == 0))
        wrong = "--count must be a whole number above 0";
    if (wrong)
        return cli_wrong_usage(c, wrong);
    if (!loop_init(&run.loop)) {
        fprintf(stderr, "bond-broker: no event loop: %s\n", strerror(errno));
        return 1;
    }
    size_t room = (size_t)c->argc * sizeof(*run.listenings);
    run.listenings = must_alloc(room);
    memset(run.listenings, 0, room);
    wrong = listen_to_all(&run, c);
    if (wrong) {
        run.status = cli_wrong_usage(c, wrong);
    } else {
        screen_init(&run.screen, &run.loop, cli_value(c, "--no-color") == NULL);
        run_loop(&run);
        screen_done(&run.screen);
    }
    listen_to_none(&run);
    loop_done(&run.loop);
    return run.status;
}

static const struct cli_option tail_options[] = {
    { "--from", "PLACE", "begin there: now-60s, first, last, Unix seconds, or an event's id" },
    { "--after", "ID", "begin behind that event" },
    { "--count", "N", "end after N events" },
    { "--json", NULL, "print the broker's messages as they come, a line each" },
    { "--no-color", NULL, "no colours on a terminal (NO_COLOR says so, too)" },
    { "--ca-file", "FILE", "whom to trust with wss://, in place of the system's authorities" },
    { 0 },
};

const struct cli_command cli_tail = {
    .name = "tail",
    .synopsis = "STREAM|URL... [options]",
    .about = "print the events of streams as they come",
    .more =
        "A STREAM is asked for at BOND_HOST:BOND_PORT with a token signed with BOND_SECRET; a URL\n"
        "(ws://, wss://, http:// or https://) may be any broker's. A line is the event's time,\n"
        "its stream, its id and its data; `gap` in place of an id tells of events that will not\n"
        "come. It connects again by itself and goes on behind the last event that it had. What\n"
        "it has to say besides (lost, stale, ok) is on standard error.",
    .options = tail_options,
    .examples = "bond-broker tail btc-usdt\n"
                "bond-broker tail btc-usdt eth-usdt --from now-60s    # the last minute first\n"
                "bond-broker tail 'wss://broker.example/ws/btc-usdt?token=...'\n"
                "bond-broker tail btc-usdt --json --count 10 | jq .data\n",
    .exits =
        "0 after --count events, 1 when no stream can be listened to or nothing can be written,\n"
        "2 if it was used wrongly; it ends as others do on SIGINT (130) and on SIGPIPE (141)",
    .least = 1,
    .most = STREAMS_MAX,
    .run = tail,
};
