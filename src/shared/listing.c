#include "shared/listing.h"

#include <inttypes.h>

#include "base/json.h"
#include "log/notice.h"

bool listing_order_read(struct view text, struct listing_order *out)
{
#define SORT_NAME(name) #name,
    static const char *const names[] = { LISTING_SORTS(SORT_NAME) };
    bool turned = text.len > 0 && text.at[0] == '-';
    if (turned)
        text = (struct view){ text.at + 1, text.len - 1 };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!view_eq(text, view_of(names[i])))
            continue;
        *out = (struct listing_order){ .by = (enum listing_sort)i, .turned = turned };
        return true;
    }
    return false;
}

struct listing *listing_new(const struct listing_request *request)
{
    struct listing *l = must_alloc(sizeof(*l));
    *l = (struct listing){
        .ticket = request->ticket,
        .order = request->order,
        .limit = request->limit,
        .cap = request->limit * 2,
    };
    CHECK(l->limit >= 1 && l->limit <= LISTING_LIMIT_MAX);
    l->streams = must_alloc(l->cap * sizeof(struct listed *));
    return l;
}

void listing_free(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->streams[i]);
    free(l->streams);
    free(l);
}

static int64_t number_of(const struct listed *s, enum listing_sort by)
{
    switch (by) {
    case LISTING_BY_listeners: return (int64_t)s->listeners;
    case LISTING_BY_rate: return (int64_t)s->rate_milli;
    case LISTING_BY_age_s: return s->age_ms;
    case LISTING_BY_ring_span_s: return s->ring_span_ms;
    case LISTING_BY_ring_bytes: return (int64_t)s->ring_bytes;
    case LISTING_BY_slowest_lag_events: return (int64_t)s->slowest_lag_events;
    case LISTING_BY_slowest_lag_s: return (int64_t)s->slowest_lag_ms;
    case LISTING_BY_stream: break;
    }
    return 0;
}

static int compare_ids(struct view a, struct view b)
{
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

// Below 0: a comes before b. Equal numbers go by name, so that no two are equal.
static int compare(const struct listed *a, const struct listed *b, struct listing_order order)
{
    int64_t x = number_of(a, order.by), y = number_of(b, order.by);
    int by_number = (x < y) - (x > y), by_name = compare_ids(a->id, b->id);
    if (by_number)
        return order.turned ? -by_number : by_number;
    return order.by == LISTING_BY_stream && order.turned ? -by_name : by_name;
}

static int compare_entries(const void *a, const void *b, void *order)
{
    return compare(*(struct listed *const *)a, *(struct listed *const *)b,
                   *(const struct listing_order *)order);
}

// Only the first `limit` are kept, in order.
static void cut(struct listing *l)
{
    qsort_r(l->streams, l->count, sizeof(struct listed *), compare_entries, &l->order);
    while (l->count > l->limit)
        free(l->streams[--l->count]);
}

static struct listed *copy(const struct listed *stream)
{
    struct listed *s = must_alloc(sizeof(*s) + stream->id.len);
    *s = *stream;
    memcpy(s + 1, stream->id.at, stream->id.len);
    s->id.at = (const char *)(s + 1);
    return s;
}

void listing_add(struct listing *l, const struct listed *stream)
{
    l->total++;
    if (l->count == l->cap)
        cut(l);
    l->streams[l->count++] = copy(stream);
}

void listing_finish(struct listing *l)
{
    cut(l);
}

// ---- JSON -----------------------------------------------------------------------

static void add_seconds(struct buffer *out, const char *name, int64_t ms)
{
    if (ms < 0)
        buffer_printf(out, ",\"%s\":null", name);
    else
        buffer_printf(out, ",\"%s\":%" PRId64 ".%03d", name, ms / MS_PER_S, (int)(ms % MS_PER_S));
}

void listed_write(const struct listed *s, struct buffer *out)
{
    buffer_add_view(out, VIEW("{\"stream\":"));
    json_add_string(out, s->id);
    buffer_printf(out, ",\"listeners\":%" PRIu64, s->listeners);
    add_seconds(out, "rate", (int64_t)s->rate_milli); // a thousandth is a thousandth
    buffer_add_view(out, VIEW(",\"first\":"));
    notice_add_id(out, s->first);
    buffer_add_view(out, VIEW(",\"last\":"));
    notice_add_id(out, s->last);
    add_seconds(out, "age_s", s->age_ms);
    add_seconds(out, "ring_span_s", s->ring_span_ms);
    buffer_printf(out, ",\"ring_bytes\":%zu,\"slowest_lag_events\":%" PRIu64, s->ring_bytes,
                  s->slowest_lag_events);
    add_seconds(out, "slowest_lag_s", (int64_t)s->slowest_lag_ms);
    buffer_add_view(out, VIEW(",\"source\":"));
    json_add_string(out, view_of(s->source));
    buffer_add_view(out, VIEW("}"));
}
