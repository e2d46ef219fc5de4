#include "cli/doctor_redis.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/asker.h"
#include "wire/eventid.h"

#define TIMEOUT_MS 3000
#define TOTAL_MS 15000
#define SKEW_MS 500         // more than that is told: replays and tokens go by clocks
#define SCANS_MAX 50        // of keys, to find streams
#define STREAMS_MAX 50      // that are looked at
#define SPAN_MARGIN_MS 2000 // a window that is so much short is not told

struct visit {
    const struct config *config;
    struct findings *findings;
    struct asker asker;
    struct buffer name; // of the server
    struct buffer key;  // one that no stream has, beside those of the broker
    struct resp_node node;
    struct resp_reader rest;
};

#define ASK(v, ...)                                                                                \
    ask((v), sizeof((const struct view[]){ __VA_ARGS__ }) / sizeof(struct view),                   \
        (const struct view[]){ __VA_ARGS__ })

static bool ask(struct visit *v, size_t argc, const struct view *argv)
{
    return asker_ask(&v->asker, argc, argv, &v->node, &v->rest);
}

// ---- is it there? -----------------------------------------------------------------

static bool check_reachable(struct visit *v)
{
    const struct redis_url *url = &v->config->redis_url;
    bool is_up = asker_open(&v->asker, url, TIMEOUT_MS, TOTAL_MS);
    int64_t asked_ms = clock_mono_ms();
    if (is_up && ASK(v, VIEW("PING"))) {
        findings_add(v->findings, FINDING_OK, "redis", "",
                     VIEW_FMT " answers in %" PRId64 " ms: " VIEW_FMT,
                     VIEW_ARG(buffer_view(&v->name)), clock_mono_ms() - asked_ms,
                     VIEW_ARG(link_server(v->asker.link)));
        return true;
    }
    findings_add(v->findings, FINDING_WRONG, "redis",
                 "look at REDIS_URL, and whether that server runs and can be reached from here",
                 VIEW_FMT ": %s", VIEW_ARG(buffer_view(&v->name)), v->asker.why);
    return false;
}

static void check_tls(struct visit *v)
{
    const struct redis_url *url = &v->config->redis_url;
    if (!url->tls)
        findings_add(v->findings, FINDING_OK, "tls", "", "not used (%s)",
                     url->unix_socket ? "a unix socket" : "redis://");
    else if (!url->verify_cert)
        findings_add(v->findings, FINDING_WARN, "tls", "take ssl_cert_reqs=none out of REDIS_URL",
                     "used, but whoever is between can pretend to be Redis");
    else
        findings_add(v->findings, FINDING_OK, "tls", "", "used, and the certificate is checked");
}

// ---- what it says of itself -------------------------------------------------------

// The value of `name:value` in an INFO; at == NULL: it is not there.
static struct view info_of(struct view info, const char *name)
{
    struct view prefix = view_of(name);
    while (info.len) {
        const char *end = memchr(info.at, '\n', info.len);
        size_t len = end ? (size_t)(end - info.at) : info.len;
        struct view line = { info.at, len };
        info = (struct view){ info.at + len + (end != NULL), info.len - len - (end != NULL) };
        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        if (line.len > prefix.len && line.at[prefix.len] == ':' && view_starts(line, prefix))
            return (struct view){ line.at + prefix.len + 1, line.len - prefix.len - 1 };
    }
    return (struct view){ 0 };
}

static void check_version(struct visit *v, struct view info)
{
    struct view version = info_of(info, "redis_version");
    int major = version.len ? atoi(version.at) : 0;
    if (major == 0)
        return;
    if (major < 6)
        findings_add(v->findings, FINDING_WARN, "version", "take Redis 7 or later",
                     "redis " VIEW_FMT " cannot say what changed: streams are polled",
                     VIEW_ARG(version));
    else if (major < 7)
        findings_add(v->findings, FINDING_NOTE, "version", "Redis 7 counts what was added",
                     "redis " VIEW_FMT ": losses are announced without a number",
                     VIEW_ARG(version));
    else
        findings_add(v->findings, FINDING_OK, "version", "", "redis " VIEW_FMT, VIEW_ARG(version));
}

static void check_mode(struct visit *v, struct view info)
{
    struct view mode = info_of(info, "redis_mode");
    if (view_eq(mode, VIEW("cluster")))
        findings_add(
            v->findings, FINDING_WARN, "mode",
            "the broker needs a server that has all streams; and with Redis's default "
            "cluster-require-full-coverage yes the whole Cluster stops when one shard does",
            "this is one node of a Redis Cluster");
    else if (view_eq(mode, VIEW("sentinel")))
        findings_add(v->findings, FINDING_WRONG, "mode",
                     "let REDIS_URL lead to the server it watches",
                     "this is a Sentinel, which holds no streams");
}

static void check_eviction(struct visit *v, struct view info)
{
    struct view policy = info_of(info, "maxmemory_policy");
    uint64_t limit = 0;
    view_u64(info_of(info, "maxmemory"), &limit);
    if (limit && view_starts(policy, VIEW("allkeys")))
        findings_add(v->findings, FINDING_WARN, "eviction",
                     "set maxmemory-policy to noeviction or to one of volatile-*",
                     "Redis removes streams when its memory is full (" VIEW_FMT ")",
                     VIEW_ARG(policy));
    else if (policy.at)
        findings_add(v->findings, FINDING_OK, "eviction", "",
                     "Redis removes no streams (" VIEW_FMT "%s)", VIEW_ARG(policy),
                     limit ? "" : ", and no maxmemory");
}

static void check_info(struct visit *v)
{
    if (!ASK(v, VIEW("INFO")) || v->node.type != RESP_STRING) {
        findings_add(v->findings, FINDING_NOTE, "eviction", "give the broker's user INFO",
                     "version and memory policy cannot be seen");
        return;
    }
    check_version(v, v->node.text);
    check_mode(v, v->node.text);
    check_eviction(v, v->node.text);
}

static void check_clock(struct visit *v)
{
    uint64_t seconds, micros;
    struct resp_node s, us;
    int64_t asked_ms = clock_wall_ms();
    if (!ASK(v, VIEW("TIME")) || v->node.type != RESP_ARRAY || !resp_next(&v->rest, &s) ||
        !resp_next(&v->rest, &us) || !view_u64(s.text, &seconds) || !view_u64(us.text, &micros))
        return; // told among the rights
    int64_t here_ms = (asked_ms + clock_wall_ms()) / 2;
    int64_t ahead_ms = (int64_t)(seconds * 1000 + micros / 1000) - here_ms;
    bool is_off = ahead_ms > SKEW_MS || ahead_ms < -SKEW_MS;
    findings_add(v->findings, is_off ? FINDING_WARN : FINDING_OK, "clock",
                 is_off ? "keep the clocks together (NTP): tokens go by ours, replays by Redis's"
                        : "",
                 "Redis's is %" PRId64 " ms %s ours", ahead_ms < 0 ? -ahead_ms : ahead_ms,
                 ahead_ms < 0 ? "behind" : "ahead of");
}

// ---- rights -----------------------------------------------------------------------

struct right {
    const char *name;
    enum finding_state if_refused;
    const char *consequence;
};

// Each is tried on a key that does not exist: an error about that is no refusal.
static void judge_right(struct visit *v, const struct right *right, bool is_answered)
{
    bool is_refused =
        v->node.type == RESP_ERROR && (view_starts(v->node.text, VIEW("NOPERM")) ||
                                       view_starts(v->node.text, VIEW("ERR unknown")));
    if (!is_answered)
        findings_add(v->findings, FINDING_WRONG, right->name, "", "%s", v->asker.why);
    else if (is_refused)
        findings_add(v->findings, right->if_refused, right->name,
                     "ACL SETUSER it to the broker's user (docs/operating.md, Rights)",
                     "refused, so %s", right->consequence);
    else
        findings_add(v->findings, FINDING_OK, right->name, "", "allowed");
}

static void check_rights(struct visit *v)
{
    struct view key = buffer_view(&v->key);
#define TRY(name, state, consequence, ...)                                                         \
    judge_right(v, &(const struct right){ name, state, consequence }, ASK(v, __VA_ARGS__))
    TRY("XRANGE", FINDING_WRONG, "no stream can be read", VIEW("XRANGE"), key, VIEW("-"), VIEW("+"),
        VIEW("COUNT"), VIEW("1"));
    TRY("XREVRANGE", FINDING_WARN, "from=last finds nothing older than the window",
        VIEW("XREVRANGE"), key, VIEW("+"), VIEW("-"), VIEW("COUNT"), VIEW("1"));
    TRY("XINFO STREAM", FINDING_WARN, "losses are announced without a number", VIEW("XINFO"),
        VIEW("STREAM"), key);
    TRY("XREAD", FINDING_WARN, "events of a stream that changes come some 0.1 ms later",
        VIEW("XREAD"), VIEW("COUNT"), VIEW("1"), VIEW("STREAMS"), key, VIEW("0"));
    TRY("MULTI", FINDING_WARN, "losses are announced without a number", VIEW("MULTI"));
    if (v->node.type != RESP_ERROR)
        TRY("EXEC", FINDING_WARN, "losses are announced without a number", VIEW("EXEC"));
    TRY("TIME", FINDING_WARN, "the window goes by this machine's clock", VIEW("TIME"));
#undef TRY
}

static void check_tracking(struct visit *v)
{
    if (link_tracks(v->asker.link))
        findings_add(v->findings, FINDING_OK, "tracking", "", "Redis says what changed");
    else
        findings_add(v->findings, FINDING_WARN, "tracking",
                     "let the broker's user use CLIENT TRACKING, on Redis 6 or later",
                     "each stream is read every %" PRId64 " ms, since %s", v->config->poll_ms,
                     link_why_not_tracking(v->asker.link));
}

// ---- what streams hold, against the window ----------------------------------------

struct span {
    int64_t length, added, span_ms, newest_ms;
};

// `id` of the first field of an entry ([id, [fields]]).
static bool entry_ms(struct resp_reader r, const struct resp_node *entry, int64_t *ms)
{
    struct resp_node id;
    struct eventid parsed;
    if (entry->type != RESP_ARRAY || !resp_next(&r, &id) || !eventid_parse(id.text, &parsed))
        return false;
    *ms = (int64_t)parsed.ms;
    return true;
}

static bool read_span(struct visit *v, struct view key, struct span *out)
{
    struct resp_node field, value;
    int64_t first_ms = 0, last_ms = 0;
    bool has_first = false, has_last = false;
    *out = (struct span){ 0 };
    if (!ASK(v, VIEW("XINFO"), VIEW("STREAM"), key) ||
        (v->node.type != RESP_MAP && v->node.type != RESP_ARRAY))
        return false;
    while (resp_next(&v->rest, &field) && resp_next(&v->rest, &value)) {
        if (view_eq(field.text, VIEW("length")))
            out->length = value.integer;
        else if (view_eq(field.text, VIEW("entries-added")))
            out->added = value.integer;
        else if (view_eq(field.text, VIEW("first-entry")))
            has_first = entry_ms(v->rest, &value, &first_ms);
        else if (view_eq(field.text, VIEW("last-entry")))
            has_last = entry_ms(v->rest, &value, &last_ms);
        resp_skip(&v->rest, &value);
    }
    out->span_ms = last_ms - first_ms;
    out->newest_ms = last_ms;
    return has_first && has_last;
}

// In SCAN's pattern the letters of the prefix are to mean themselves.
static void add_pattern(struct buffer *out, const char *prefix)
{
    for (; *prefix; prefix++) {
        if (strchr("*?[]\\^-", *prefix))
            buffer_add_view(out, VIEW("\\"));
        buffer_add(out, prefix, 1);
    }
    buffer_add_view(out, VIEW("*"));
}

struct sample {
    struct buffer keys[STREAMS_MAX];
    size_t count;
    bool is_whole; // there are no more
};

static void take_keys(struct visit *v, struct sample *s)
{
    struct resp_node keys, key;
    if (!resp_next(&v->rest, &keys))
        return;
    while (s->count < STREAMS_MAX && resp_next(&v->rest, &key))
        buffer_add_view(&s->keys[s->count++], key.text);
}

// Some streams under the prefix. False: SCAN is refused, which the broker does not need.
static bool find_streams(struct visit *v, struct sample *s)
{
    struct buffer pattern = { 0 }, cursor = { 0 };
    struct resp_node next;
    bool is_allowed = true;
    add_pattern(&pattern, v->config->stream_prefix);
    buffer_add_view(&cursor, VIEW("0"));
    for (int i = 0; i < SCANS_MAX && s->count < STREAMS_MAX && !s->is_whole && is_allowed; i++) {
        is_allowed =
            ASK(v, VIEW("SCAN"), buffer_view(&cursor), VIEW("MATCH"), buffer_view(&pattern),
                VIEW("COUNT"), VIEW("1000"), VIEW("TYPE"), VIEW("stream")) &&
            v->node.type == RESP_ARRAY && resp_next(&v->rest, &next);
        if (!is_allowed)
            break;
        cursor.len = 0;
        buffer_add_view(&cursor, next.text);
        s->is_whole = view_eq(next.text, VIEW("0"));
        take_keys(v, s);
    }
    buffer_free(&pattern);
    buffer_free(&cursor);
    return is_allowed;
}

// A live stream that is trimmed to less than the window: a broker that starts cannot replay
// all of the window, and an outage of more than the span loses events.
static bool is_short(const struct visit *v, const struct span *span, int64_t now_ms)
{
    int64_t window_ms = v->config->ring_seconds * MS_PER_S;
    return span->added > span->length && span->length > 1 && now_ms - span->newest_ms < window_ms &&
           span->span_ms + SPAN_MARGIN_MS < window_ms;
}

static void tell_streams(struct visit *v, const struct sample *s, size_t looked_at, size_t shorter,
                         const struct span *worst, struct view worst_key)
{
    int64_t window_ms = v->config->ring_seconds * MS_PER_S;
    char hint[160];
    if (s->count == 0) {
        findings_add(v->findings, FINDING_NOTE, "streams",
                     "BOND_STREAM_PREFIX is what stands before a stream's id",
                     "there is none at %s*", v->config->stream_prefix);
    } else if (shorter == 0) {
        findings_add(v->findings, FINDING_OK, "streams", "",
                     "%zu looked at: each live one has the window", looked_at);
    } else {
        int64_t span_ms = worst->span_ms > 0 ? worst->span_ms : 1;
        snprintf(hint, sizeof(hint),
                 "publish with MAXLEN ~ %" PRId64 " or more, or lower BOND_RING_SECONDS",
                 worst->length * window_ms / span_ms + 1);
        findings_add(v->findings, FINDING_WARN, "streams", hint,
                     "%zu of %zu hold less than the window of %" PRId64 " s; " VIEW_FMT
                     " has %" PRId64
                     " events of %.1f s, so that is what a broker that starts can replay",
                     shorter, looked_at, v->config->ring_seconds, VIEW_ARG(worst_key),
                     worst->length, (double)worst->span_ms / 1000);
    }
}

static void check_streams(struct visit *v)
{
    struct sample s = { 0 };
    struct span worst = { 0 };
    struct view worst_key = { 0 };
    size_t looked_at = 0, shorter = 0;
    int64_t now_ms = clock_wall_ms();
    if (!find_streams(v, &s) && !v->asker.is_over)
        findings_add(v->findings, FINDING_NOTE, "streams", "",
                     "not looked at, since SCAN is refused; the broker does not need it");
    for (size_t i = 0; i < s.count; i++) {
        struct span span;
        struct view key = buffer_view(&s.keys[i]);
        bool is_read = read_span(v, key, &span);
        looked_at += is_read;
        if (!is_read || !is_short(v, &span, now_ms))
            continue;
        if (shorter++ == 0 || span.span_ms < worst.span_ms)
            worst = span, worst_key = key;
    }
    if (v->asker.is_over)
        findings_add(v->findings, FINDING_WARN, "streams", "look at its slow log and its load",
                     "Redis stopped answering: %s", v->asker.why);
    else if (s.count || s.is_whole)
        tell_streams(v, &s, looked_at, shorter, &worst, worst_key);
    for (size_t i = 0; i < s.count; i++)
        buffer_free(&s.keys[i]);
}

void doctor_ask_redis(const struct config *c, struct findings *f)
{
    struct visit v = { .config = c, .findings = f };
    redis_url_show(&c->redis_url, &v.name);
    buffer_printf(&v.key, "%sbond-broker-doctor", c->stream_prefix);
    if (check_reachable(&v)) {
        check_tls(&v);
        check_info(&v);
        check_clock(&v);
        check_rights(&v);
        check_tracking(&v);
        check_streams(&v);
    }
    asker_close(&v.asker);
    buffer_free(&v.name);
    buffer_free(&v.key);
}
