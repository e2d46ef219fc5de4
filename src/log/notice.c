#include "log/notice.h"

#include <inttypes.h>

#include "base/json.h"

const char *gap_reason_name(enum gap_reason reason)
{
#define GAP_NAME(name, text) text,
    static const char *const names[] = { GAP_REASONS(GAP_NAME) };
    return names[reason];
}

void notice_add_id(struct buffer *out, struct eventid id)
{
    if (eventid_is_none(id))
        buffer_add_view(out, VIEW("null"));
    else
        buffer_printf(out, "\"%" PRIu64 "-%" PRIu64 "\"", id.ms, id.seq);
}

void notice_add_data(struct buffer *out, struct view payload)
{
    if (json_valid(payload))
        buffer_add_view(out, payload);
    else
        json_add_string(out, payload);
}

static void open_with_stream(struct buffer *out, const char *type, struct view stream)
{
    buffer_printf(out, "{\"type\":\"%s\",\"stream\":", type);
    json_add_string(out, stream);
}

void notice_hello(struct buffer *out, struct view stream, struct eventid first, struct eventid last,
                  int64_t ring_seconds)
{
    open_with_stream(out, "hello", stream);
    buffer_add_view(out, VIEW(",\"first\":"));
    notice_add_id(out, first);
    buffer_add_view(out, VIEW(",\"last\":"));
    notice_add_id(out, last);
    buffer_printf(out, ",\"ring_seconds\":%" PRId64 "}", ring_seconds);
}

void notice_event(struct buffer *out, struct view stream, struct eventid id, struct view payload)
{
    open_with_stream(out, "event", stream);
    buffer_add_view(out, VIEW(",\"id\":"));
    notice_add_id(out, id);
    buffer_add_view(out, VIEW(",\"data\":"));
    notice_add_data(out, payload);
    buffer_add_view(out, VIEW("}"));
}

void notice_live(struct buffer *out, struct view stream, struct eventid id)
{
    open_with_stream(out, "live", stream);
    buffer_add_view(out, VIEW(",\"id\":"));
    notice_add_id(out, id);
    buffer_add_view(out, VIEW("}"));
}

void notice_gap(struct buffer *out, struct view stream, const struct gap *gap)
{
    open_with_stream(out, "gap", stream);
    buffer_add_view(out, VIEW(",\"after\":"));
    notice_add_id(out, gap->after);
    buffer_add_view(out, VIEW(",\"before\":"));
    notice_add_id(out, gap->before);
    buffer_printf(out, ",\"reason\":\"%s\",\"missed\":", gap_reason_name(gap->reason));
    if (gap->missed == MISSED_UNKNOWN)
        buffer_add_view(out, VIEW("null}"));
    else
        buffer_printf(out, "%" PRId64 "}", gap->missed);
}

void notice_source_stale(struct buffer *out, int64_t for_ms)
{
    buffer_printf(out, "{\"type\":\"source\",\"state\":\"stale\",\"for_ms\":%" PRId64 "}", for_ms);
}

void notice_source_ok(struct buffer *out)
{
    buffer_add_view(out, VIEW("{\"type\":\"source\",\"state\":\"ok\"}"));
}

void notice_expiring(struct buffer *out, int64_t in_s)
{
    buffer_printf(out, "{\"type\":\"expiring\",\"in_s\":%" PRId64 "}", in_s);
}

void notice_closing(struct buffer *out, int code, struct view reason, struct eventid last,
                    int64_t reconnect_ms)
{
    buffer_printf(out, "{\"type\":\"closing\",\"code\":%d,\"reason\":", code);
    json_add_string(out, reason);
    buffer_add_view(out, VIEW(",\"last\":"));
    notice_add_id(out, last);
    buffer_printf(out, ",\"reconnect_ms\":%" PRId64 "}", reconnect_ms);
}
