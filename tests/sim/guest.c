#include "guest.h"

#include <stdio.h>

#include "text.h"
#include "wire/token.h"

#define TOKEN_DAYS 30
#define CONNECT_US_MAX 5000000

// ---- where to begin ---------------------------------------------------------------------

static int64_t redis_ms(const struct guest *g)
{
    return (world_wall_us() + g->stream->host->clock_offset_us) / 1000;
}

// Adds the parameters, and notes what was asked for.
static void choose_start(struct guest *g, struct buffer *query, char resume_id[EVENTID_MAX + 1])
{
    struct item *o = &g->opening;
    *o = (struct item){ .kind = RECORD_OPEN };
    resume_id[0] = '\0';
    struct eventid from = g->has_last ? g->last : g->place;
    bool again = g->steady || g->hurries || rng_chance(&g->rng, 900);
    if (g->record.tells && (g->has_last || g->has_place) && again) {
        eventid_format(from, resume_id);
        if (g->kind == GUEST_ENVELOPE)
            buffer_printf(query, "&after=%s", resume_id);
        o->open.start = BEGAN_AFTER;
        o->open.resumes = true;
        o->open.asked = from;
        return;
    }
    g->has_last = g->has_place = false;
    uint64_t what = g->steady ? 0 : rng_below(&g->rng, 5);
    o->open.start = what < 2    ? BEGAN_LIVE
                    : what == 2 ? BEGAN_FIRST
                    : what == 3 ? BEGAN_AT_TIME
                                : BEGAN_LAST;
    if (what == 2)
        buffer_printf(query, "&from=first");
    if (what == 4)
        buffer_printf(query, "&from=last");
    if (what != 3)
        return;
    int64_t ago_ms = RNG_PICK(&g->rng, 200, 1000, 3000, 20000);
    buffer_printf(query, "&from=now-%lldms", (long long)ago_ms);
    o->open.asked_ms = -ago_ms;
}

static void mint(const struct guest *g, char token[TOKEN_MAX + 1])
{
    int64_t lives_s = g->token_s ? g->token_s : TOKEN_DAYS * 86400;
    int64_t until_s = world_wall_us() / 1000000 + lives_s;
    token_mint(view_of(g->stream->name), VIEW(GUEST_SECRET), until_s, false, token);
}

static void add_token(struct guest *g, struct buffer *query)
{
    char token[TOKEN_MAX + 1];
    mint(g, token);
    buffer_printf(query, "token=%s", token);
}

// Protocol 17.3. Some forget it, and are closed with 4001.
void guest_renew_token(struct guest *g)
{
    char token[TOKEN_MAX + 1], text[120];
    if (rng_chance(&g->rng, 300))
        return;
    mint(g, token);
    snprintf(text, sizeof(text), "{\"type\":\"auth\",\"token\":\"%s\"}", token);
    guest_send_frame(g, 0x81, view_of(text));
}

static void write_request(struct guest *g)
{
    static const char *const routes[] = { "ws", "sse", "ws", "history" };
    struct buffer query = { 0 };
    char resume_id[EVENTID_MAX + 1];
    add_token(g, &query);
    buffer_printf(&query, "&slow=%s", g->skips ? "skip" : "close");
    if (g->kind == GUEST_ENVELOPE)
        buffer_printf(&query, "&format=envelope");
    choose_start(g, &query, resume_id);
    buffer_printf(&g->out, "GET /%s/%s?%.*s HTTP/1.1\r\nHost: broker\r\n", routes[g->kind],
                  g->stream->name, VIEW_ARG(query));
    buffer_free(&query);
    if (g->kind == GUEST_SSE && resume_id[0])
        buffer_printf(&g->out, "Last-Event-ID: %s\r\n", resume_id);
    if (g->kind == GUEST_HISTORY)
        buffer_printf(&g->out, "Connection: close\r\n");
    if (g->kind == GUEST_ENVELOPE || g->kind == GUEST_RAW)
        buffer_printf(&g->out, "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    if (g->deflates)
        buffer_printf(&g->out, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    buffer_printf(&g->out, "\r\n");
}

// ---- its connection ---------------------------------------------------------------------

static void wake_at(struct guest *g, int64_t at_us);

static void changed(struct end *e)
{
    struct guest *g = e->owner;
    wake_at(g, world->now_us + (int64_t)rng_below(&world->rng, g->slow_reader ? 20000 : 30));
}

static void come_again(struct event *event)
{
    struct guest *g = CONTAINER_OF(event, struct guest, again);
    struct broker_slot *s = brokers_choose(g->brokers, &g->rng);
    if (s == NULL) {
        event_set(&g->again, world->now_us + 50000, come_again);
        return;
    }
    g->broker = s->number;
    g->state = GUEST_CONNECTING;
    g->end = net_connect(s->port, changed, g);
    if (g->slow_reader)
        end_limit_input(g->end, 8 * KIB, 4 * KIB);
    event_cancel(&g->wake);
    wake_at(g, world->now_us + CONNECT_US_MAX);
}

static int64_t pause_us(struct guest *g)
{
    if (g->hurries)
        return 50000;
    return g->steady ? 20000 : RNG_PICK(&g->rng, 1000, 100000, 500000, 1500000);
}

static void go_away(struct guest *g, bool reset)
{
    if (g->end && reset)
        end_reset(g->end);
    else if (g->end)
        end_close(g->end);
    g->end = NULL;
    if (g->state == GUEST_OPEN)
        record_add(&g->record, (struct item){ .kind = RECORD_CLOSE, .close.code = g->close_code });
    trace("%s: is away (%d)", g->name, g->close_code);
    g->state = GUEST_AWAY;
    g->in.len = g->out.len = g->taken = g->sse_data.len = 0;
    g->close_code = 0;
    g->sse_event[0] = g->sse_id[0] = '\0';
    g->greeted = g->told_closing = g->was_live = g->is_stale = g->sse_has_data = false;
    event_cancel(&g->wake);
    if (!event_is_set(&g->again))
        event_set(&g->again, world->now_us + pause_us(g), come_again);
}

static void write_out(struct guest *g)
{
    size_t n = end_write(g->end, g->out.at, g->out.len);
    if (n > 0)
        buffer_drop(&g->out, n);
}

static void read_in(struct guest *g)
{
    size_t want = g->slow_reader ? 1 + rng_below(&g->rng, 2000) : 64 * KIB;
    buffer_reserve(&g->in, want);
    g->in.len += end_read(g->end, g->in.at + g->in.len, want);
    if (end_waiting(g->end) > 0)
        wake_at(g, world->now_us + (g->slow_reader ? 3000 : 20));
}

// The head of the answer, when it is whole. False: it is a refusal.
static bool take_head(struct guest *g, bool *whole)
{
    const char *end = memmem(g->in.at, g->in.len, "\r\n\r\n", 4);
    *whole = end != NULL;
    if (end == NULL)
        return true;
    int status = g->in.len > 12 ? atoi(g->in.at + 9) : 0;
    int expected = g->kind == GUEST_ENVELOPE || g->kind == GUEST_RAW ? 101 : 200;
    bool may_be_refused = status == 503 || (status == 403 && g->token_s);
    if (status != expected && !may_be_refused)
        guest_complain(g, "was refused", buffer_view(&g->in));
    if (status != expected)
        return false;
    if (g->kind == GUEST_SSE || g->kind == GUEST_HISTORY)
        g->taken = (size_t)(end - g->in.at) + 4;
    else
        buffer_drop(&g->in, (size_t)(end - g->in.at) + 4);
    g->opening.open.broker = g->broker;
    if (g->opening.open.start == BEGAN_AT_TIME)
        g->opening.open.asked_ms += redis_ms(g);
    if (g->kind != GUEST_HISTORY)
        record_add(&g->record, g->opening);
    if (!g->opening.open.resumes)
        g->newest = -1;
    static const char *const starts[] = { "live", "first", "last", "a time", "an id" };
    trace("%s: is let in by broker %d, to begin at %s", g->name, g->broker,
          starts[g->opening.open.start]);
    g->state = GUEST_OPEN;
    return true;
}

static bool take_input(struct guest *g)
{
    bool whole;
    if (g->state == GUEST_HEAD && (!take_head(g, &whole) || !whole))
        return !whole;
    switch (g->kind) {
    case GUEST_SSE: return guest_take_sse(g);
    case GUEST_HISTORY: return guest_take_history(g);
    default: return guest_take_ws(g);
    }
}

static void woken(struct event *event)
{
    struct guest *g = CONTAINER_OF(event, struct guest, wake);
    struct owner *was = memory_use(&world->memory);
    if (g->state == GUEST_CONNECTING && !g->end->connecting && !g->end->broken) {
        g->state = GUEST_HEAD;
        write_request(g);
    }
    if (g->state == GUEST_CONNECTING) { // refused, or it takes too long
        go_away(g, true);
        memory_use(was);
        return;
    }
    if (g->out.len > 0)
        write_out(g);
    if (world->now_us < g->stalled_until_us && !g->end->broken) {
        wake_at(g, g->stalled_until_us);
    } else {
        read_in(g);
        bool goes_on = take_input(g);
        if (g->out.len > 0)
            write_out(g);
        if (!goes_on || (end_at_end(g->end) && end_waiting(g->end) == 0) ||
            (g->end->broken && end_waiting(g->end) == 0))
            go_away(g, false);
    }
    memory_use(was);
}

static void wake_at(struct guest *g, int64_t at_us)
{
    if (!event_is_set(&g->wake) || at_us < g->wake.at_us)
        event_set(&g->wake, at_us, woken);
}

// ---- its life ---------------------------------------------------------------------------

void guest_init(struct guest *g, int number, struct publisher *stream, struct brokers *brokers,
                uint64_t seed)
{
    static const char *const kinds[] = { "envelope", "sse", "raw", "history" };
    *g = (struct guest){ .number = number, .stream = stream, .brokers = brokers, .newest = -1 };
    g->rng.state = seed;
    g->kind = (enum guest_kind)RNG_PICK(&g->rng, GUEST_ENVELOPE, GUEST_ENVELOPE, GUEST_SSE,
                                        GUEST_RAW, GUEST_RAW, GUEST_HISTORY);
    g->steady = number == 0;
    if (g->steady)
        g->kind = GUEST_ENVELOPE;
    bool ws = g->kind == GUEST_ENVELOPE || g->kind == GUEST_RAW;
    g->deflates = ws && !g->steady && rng_chance(&g->rng, 300);
    g->skips = g->steady || rng_chance(&g->rng, 300);
    g->slow_reader = !g->steady && rng_chance(&g->rng, 300);
    snprintf(g->name, sizeof(g->name), "%s%s%s%d%s", g->deflates ? "z" : "",
             g->slow_reader ? "s" : "", kinds[g->kind], number, strchr(stream->name, '-'));
    snprintf(g->record.client, sizeof(g->record.client), "%s", g->name);
    g->record.truth = &stream->truth;
    g->record.tells = g->kind != GUEST_RAW;
    g->record.skips = g->skips;
    if (g->deflates)
        CHECK(inflateInit2(&g->inflater, -15) == Z_OK);
}

void guest_done(struct guest *g)
{
    event_cancel(&g->wake);
    event_cancel(&g->again);
    if (g->end)
        end_close(g->end);
    if (g->deflates)
        inflateEnd(&g->inflater);
    buffer_free(&g->in);
    buffer_free(&g->out);
    buffer_free(&g->sse_data);
    free(g->record.items);
}

void guest_start(struct guest *g)
{
    event_set(&g->again, world->now_us + (int64_t)rng_below(&g->rng, 300000), come_again);
}

void guest_stall(struct guest *g, int64_t for_us)
{
    if (!g->steady)
        g->stalled_until_us = world->now_us + for_us;
}

static bool may_misbehave(const struct guest *g)
{
    return !g->steady && g->end && g->state != GUEST_CONNECTING;
}

void guest_leave(struct guest *g)
{
    if (!may_misbehave(g))
        return;
    bool ws = g->kind == GUEST_ENVELOPE || g->kind == GUEST_RAW;
    if (g->state == GUEST_OPEN && ws) {
        guest_send_frame(g, 0x88,
                         VIEW("\x03\xe8"
                              "enough"));
        write_out(g); // its answer ends the connection
    } else {
        go_away(g, false);
    }
}

void guest_abort(struct guest *g)
{
    if (may_misbehave(g))
        go_away(g, true);
}

void guest_go_silent(struct guest *g)
{
    if (!may_misbehave(g))
        return;
    connection_silence(g->end->connection);
    go_away(g, false);
}

void guest_talk(struct guest *g)
{
    if (!may_misbehave(g) || g->state != GUEST_OPEN || g->kind == GUEST_SSE)
        return;
    guest_send_frame(g, 0x01, VIEW("{\"type\":"));
    guest_send_frame(g, 0x89, VIEW("between"));
    guest_send_frame(g, 0x80, VIEW("\"nothing\"}"));
    guest_send_frame(g, 0x82, VIEW("\x00\x01"));
    write_out(g);
}

void guest_flood(struct guest *g, int pings)
{
    if (!may_misbehave(g) || g->state != GUEST_OPEN || g->kind == GUEST_SSE)
        return;
    for (int i = 0; i < pings; i++)
        guest_send_frame(g, 0x89, VIEW("are you there, and if so, are you still there?"));
    write_out(g);
}

void guest_send_garbage(struct guest *g)
{
    if (!may_misbehave(g))
        return;
    for (int i = 0; i < 40; i++)
        buffer_printf(&g->out, "%c", (int)(1 + rng_below(&g->rng, 255)));
    write_out(g);
}

void guest_hurry(struct guest *g)
{
    g->hurries = true;
    g->slow_reader = false;
    g->stalled_until_us = 0;
    if (g->end && g->state != GUEST_CONNECTING)
        wake_at(g, world->now_us);
    if (event_is_set(&g->again))
        event_set(&g->again, world->now_us + 50000, come_again);
}

// ---- what it notes ----------------------------------------------------------------------

void guest_complain(struct guest *g, const char *what, struct view about)
{
    world_fail("protocol: %s on %s (broker %d) %s: %.*s", g->name, g->stream->name, g->broker, what,
               (int)(about.len < 160 ? about.len : 160), about.at);
}

void guest_note_event(struct guest *g, struct view data, bool has_id, struct eventid id)
{
    bool intact = false;
    int at = publisher_read_event(g->stream, data, &intact);
    trace("%s: has #%d", g->name, at);
    record_add(&g->record,
               (struct item){ .kind = RECORD_EVENT, .event = { at, has_id, id, intact } });
    g->newest = at > g->newest ? at : g->newest;
    g->last = id;
    g->has_last = has_id;
}

void guest_note_gap(struct guest *g, struct view json)
{
    static const char *const reasons[] = { "window", "limit", "trimmed", "slow", "reset" };
    struct item item = { .kind = RECORD_GAP };
    struct view text = json, reason;
    bool good = text_eat(&text, "{\"type\":\"gap\",\"stream\":\"") &&
                text_eat(&text, g->stream->name) && text_eat(&text, "\",\"after\":") &&
                text_eat_id(&text, &item.gap.has_after, &item.gap.after) &&
                text_eat(&text, ",\"before\":") &&
                text_eat_id(&text, &item.gap.has_before, &item.gap.before) &&
                text_eat(&text, ",\"reason\":\"") && text_eat_until(&text, '"', &reason) &&
                text_eat(&text, ",\"missed\":") && text_eat_number(&text, &item.gap.missed) &&
                text_eat(&text, "}") && text.len == 0;
    int i = 0;
    while (good && i < 5 && !view_eq(reason, view_of(reasons[i])))
        i++;
    if (!good || i == 5) {
        guest_complain(g, "was told an odd gap", json);
        return;
    }
    item.gap.reason = (enum gap_reason)i;
    trace("%s: is told %.*s", g->name, VIEW_ARG(json));
    record_add(&g->record, item);
}

// Protocol 9: stale, then ok, and so on.
void guest_note_source(struct guest *g, struct view json)
{
    struct view text = json;
    int64_t for_ms;
    bool good = text_eat(&text, "{\"type\":\"source\",\"state\":\"");
    bool stale = text_eat(&text, "stale\",\"for_ms\":");
    good = good && (stale ? text_eat_number(&text, &for_ms) : text_eat(&text, "ok\"")) &&
           text_eat(&text, "}") && text.len == 0;
    if (!good || stale == g->is_stale)
        guest_complain(g, "was told an odd source", json);
    trace("%s: is told %.*s", g->name, VIEW_ARG(json));
    g->is_stale = stale;
}

void guest_note_live(struct guest *g, struct view json)
{
    struct item item = { .kind = RECORD_LIVE };
    struct view text = json;
    if (!(text_eat(&text, "{\"type\":\"live\",\"stream\":\"") && text_eat(&text, g->stream->name) &&
          text_eat(&text, "\",\"id\":") && text_eat_id(&text, &item.live.has_id, &item.live.id) &&
          text_eat(&text, "}") && text.len == 0) ||
        g->was_live) {
        guest_complain(g, "was told an odd live", json);
        return;
    }
    g->was_live = true;
    trace("%s: is told %.*s", g->name, VIEW_ARG(json));
    record_add(&g->record, item);
    if (g->kind == GUEST_SSE) { // its id is the Last-Event-ID, 0-0 too (protocol 13.3)
        g->last = item.live.id;
        g->has_last = true;
    } else if (item.live.has_id && !g->has_place) {
        g->place = item.live.id;
        g->has_place = true;
    }
}
