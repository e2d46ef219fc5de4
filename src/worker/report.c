#include "worker/report.h"

#include <inttypes.h>

#include "shared/process.h"

bool report_route(struct view path, enum report_kind *kind)
{
    static const char *const paths[] = { "/metrics", "/stats", "/streams" };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        *kind = (enum report_kind)i;
        if (view_eq(path, view_of(paths[i])))
            return true;
    }
    return false;
}

// ---- what is asked ----------------------------------------------------------------

// Prometheus offers both, and prefers this one. A quality of 0 is a refusal (RFC 9110 s. 12.5.1).
static bool wants_openmetrics(const struct http_request *req)
{
    struct http_list cursor = { 0 };
    struct view element;
    const struct view type = VIEW("application/openmetrics-text");
    while (http_header_next(req, "Accept", &cursor, &element))
        if (element.len >= type.len &&
            view_eq_nocase((struct view){ element.at, type.len }, type) &&
            memmem(element.at, element.len, "q=0,", 4) == NULL &&
            !(element.len > 4 && memcmp(element.at + element.len - 4, ";q=0", 4) == 0))
            return true;
    return false;
}

// The decoded parameter; an absent one is empty. False: it is no query at all.
static bool query_value(const struct http_request *req, const char *name, struct buffer *out)
{
    struct view raw;
    out->len = 0;
    if (!http_query(req->query, name, &raw))
        return true;
    buffer_reserve(out, raw.len + 1);
    ptrdiff_t len = http_unescape(raw, true, out->at);
    out->len = len < 0 ? 0 : (size_t)len;
    return len >= 0;
}

static bool read_limit(const struct http_request *req, size_t *limit)
{
    struct buffer text = { 0 };
    uint64_t number = LISTING_LIMIT_DEFAULT;
    bool ok = query_value(req, "limit", &text) &&
              (text.len == 0 || (view_u64(buffer_view(&text), &number) && number >= 1 &&
                                 number <= LISTING_LIMIT_MAX));
    *limit = (size_t)number;
    buffer_free(&text);
    return ok;
}

static bool read_order(const struct http_request *req, struct listing_order *order)
{
    struct buffer text = { 0 };
    *order = (struct listing_order){ .by = LISTING_BY_listeners };
    bool ok = query_value(req, "sort", &text) &&
              (text.len == 0 || listing_order_read(buffer_view(&text), order));
    buffer_free(&text);
    return ok;
}

static const char *read_streams_query(struct report *r, const struct http_request *req)
{
    if (!query_value(req, "match", &r->match) || r->match.len > LISTING_MATCH_MAX)
        return "match must be a pattern of at most 256 bytes, with * for any characters and ? for "
               "one";
    if (!read_limit(req, &r->limit))
        return "limit must be a whole number from 1 to 1000";
    if (!read_order(req, &r->order))
        return "sort must be stream, listeners, rate, age_s, ring_span_s, ring_bytes, "
               "slowest_lag_events or slowest_lag_s, with a minus before it for the other way";
    return NULL;
}

struct report *report_new(enum report_kind kind, const struct http_request *req, const char **wrong)
{
    struct report *r = must_alloc(sizeof(*r));
    *r = (struct report){ .kind = kind };
    list_init(&r->waiting);
    r->exposition.format = kind == REPORT_STATS     ? EXPOSITION_JSON
                           : wants_openmetrics(req) ? EXPOSITION_OPENMETRICS
                                                    : EXPOSITION_PROMETHEUS;
    *wrong = kind == REPORT_STREAMS ? read_streams_query(r, req) : NULL;
    if (*wrong == NULL)
        return r;
    report_free(r);
    return NULL;
}

void report_free(struct report *r)
{
    if (r == NULL)
        return;
    list_remove(&r->waiting);
    buffer_free(&r->match);
    if (r->listing)
        listing_free(r->listing);
    free(r);
}

struct view report_content_type(const struct report *r)
{
    if (r->kind != REPORT_METRICS)
        return VIEW("application/json");
    return r->exposition.format == EXPOSITION_OPENMETRICS ? VIEW(EXPOSITION_OPENMETRICS_TYPE)
                                                          : VIEW(EXPOSITION_PROMETHEUS_TYPE);
}

// ---- what is known only when asked ------------------------------------------------

static void look_at_process(struct metrics *now, const struct metric_rows *rows)
{
    struct process_figures p = process_look((size_t)metric_rows_sum(rows, METRIC_CONNECTIONS));
    metrics_set(now, METRIC_PROCESS_CPU_SECONDS, (uint64_t)p.cpu_us);
    metrics_set(now, METRIC_PROCESS_RESIDENT_BYTES, p.resident_bytes);
    metrics_set(now, METRIC_PROCESS_VIRTUAL_BYTES, p.virtual_bytes);
    metrics_set(now, METRIC_PROCESS_OPEN_FDS, p.open_fds);
    metrics_set(now, METRIC_PROCESS_MAX_FDS, p.max_fds);
    metrics_set(now, METRIC_PROCESS_START_SECONDS, (uint64_t)p.started_ms);
}

static void look_at_limits(struct metrics *now, const struct report_world *world)
{
    const struct config *c = world->config;
    metrics_set(now, METRIC_CONNECTIONS_MAX, world->connections_max);
    metrics_set(now, METRIC_OUTBOX_LIMIT_BYTES, (uint64_t)c->outbox_bytes);
    metrics_set(now, METRIC_STREAMS_FOLLOWED_MAX, (uint64_t)c->max_followed);
    metrics_set(now, METRIC_RING_LIMIT_BYTES, (uint64_t)c->memory_bytes);
    metrics_set(now, METRIC_RING_WINDOW_SECONDS, (uint64_t)c->ring_seconds);
}

static const char *source_of_rows(const struct metric_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i]->source)
            return rows->rows[i]->source;
    return NULL;
}

// Whether Redis can be read is known even while the tail hangs: so it is not in the tail's row.
void report_look(struct report *r, const struct report_world *world)
{
    r->rows = *world->rows;
    r->redis_now_ms = world->redis_now_ms;
    r->now.source = source_of_rows(world->rows);
    metrics_set(&r->now, METRIC_REDIS_UP, world->redis_readable);
    metrics_set(&r->now, METRIC_REDIS_CLOCK_DIFFERENCE_SECONDS,
                (uint64_t)world->clock_difference_ms);
    metrics_set(&r->now, METRIC_BUILD_INFO, 1);
    metrics_set(&r->now, METRIC_READY, world->is_ready);
    look_at_process(&r->now, world->rows);
    look_at_limits(&r->now, world);
    metric_rows_add(&r->rows, &r->now);
}

// ---- pieces -----------------------------------------------------------------------

static bool next_of_stats(struct report *r, struct buffer *out)
{
    if (!r->begun)
        buffer_printf(
            out, "{\"service\":\"broker\",\"version\":\"%s\",\"time_ms\":%" PRId64 ",\"metrics\":{",
            BOND_VERSION, r->redis_now_ms);
    r->begun = true;
    if (exposition_next(&r->exposition, &r->rows, out))
        return true;
    buffer_add_view(out, VIEW("}}\n"));
    r->ended = true;
    return true;
}

static bool next_of_streams(struct report *r, struct buffer *out)
{
    const struct listing *l = r->listing;
    if (!r->begun)
        buffer_printf(out, "{\"total\":%zu,\"streams\":[", l->total);
    r->begun = true;
    if (r->sent < l->count) {
        if (r->sent > 0)
            buffer_add_view(out, VIEW(","));
        listed_write(l->streams[r->sent++], out);
        return true;
    }
    buffer_add_view(out, VIEW("]}\n"));
    r->ended = true;
    return true;
}

bool report_next(struct report *r, struct buffer *out)
{
    if (r->ended)
        return false;
    switch (r->kind) {
    case REPORT_METRICS: r->ended = !exposition_next(&r->exposition, &r->rows, out); break;
    case REPORT_STATS: return next_of_stats(r, out);
    case REPORT_STREAMS: return next_of_streams(r, out);
    }
    return !r->ended;
}
