#include "log/notice.h"

#include <inttypes.h>

#include "base/json.h"

const char *gap_reason_name(enum gap_reason reason)
{
#define GAP_NAME(name, text) text,
    static const char *const names[] = { GAP_REASONS(GAP_NAME) };
    return names[reason];
}

void gap_extend(struct gap *gap, const struct gap *by)
{
    bool exact = gap->missed != MISSED_UNKNOWN && by->missed != MISSED_UNKNOWN;
    gap->before = by->before;
    gap->missed = exact ? gap->missed + by->missed : MISSED_UNKNOWN;
}

void notice_add_id(struct buffer *out, struct eventid id)
{
    char text[EVENTID_MAX + 3] = "\"";
    if (eventid_is_none(id)) {
        buffer_add_view(out, VIEW("null"));
        return;
    }
    size_t len = 1 + eventid_format(id, text + 1);
    text[len++] = '"';
    buffer_add(out, text, len);
}

void notice_add_data(struct buffer *out, struct view payload)
{
    if (json_valid(payload))
        buffer_add_view(out, payload);
    else
        json_add_string(out, payload);
}

static void open_with(struct buffer *out, const char *type, struct view member, struct view value)
{
    buffer_add_view(out, VIEW("{\"type\":\""));
    buffer_add_view(out, view_of(type));
    buffer_add_view(out, VIEW("\",\""));
    buffer_add_view(out, member);
    buffer_add_view(out, VIEW("\":"));
    if (value.at)
        json_add_string(out, value);
    else
        buffer_add_view(out, VIEW("null"));
}

static void open_with_stream(struct buffer *out, const char *type, struct view stream)
{
    open_with(out, type, VIEW("stream"), stream);
}

static void add_text(struct buffer *out, struct view name, struct view value)
{
    buffer_add_view(out, name);
    json_add_string(out, value);
}

static void add_ref(struct buffer *out, struct view ref)
{
    if (ref.at)
        add_text(out, VIEW(",\"ref\":"), ref);
}

void notice_hello(struct buffer *out, struct view stream, struct eventid first, struct eventid last,
                  int64_t ring_seconds, struct view ref)
{
    open_with_stream(out, "hello", stream);
    buffer_add_view(out, VIEW(",\"first\":"));
    notice_add_id(out, first);
    buffer_add_view(out, VIEW(",\"last\":"));
    notice_add_id(out, last);
    buffer_printf(out, ",\"ring_seconds\":%" PRId64, ring_seconds);
    add_ref(out, ref);
    buffer_add_view(out, VIEW("}"));
}

void notice_event_head(struct buffer *out, struct view stream, struct eventid id)
{
    open_with_stream(out, "event", stream);
    buffer_add_view(out, VIEW(",\"id\":"));
    notice_add_id(out, id);
}

void notice_event(struct buffer *out, struct view stream, struct eventid id, struct view payload)
{
    notice_event_head(out, stream, id);
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

// The member `stream` of messages that have one only on a shared socket.
static void add_stream(struct buffer *out, struct view stream)
{
    if (stream.at)
        add_text(out, VIEW(",\"stream\":"), stream);
}

void notice_source_stale(struct buffer *out, struct view stream, int64_t for_ms)
{
    buffer_add_view(out, VIEW("{\"type\":\"source\",\"state\":\"stale\""));
    add_stream(out, stream);
    buffer_printf(out, ",\"for_ms\":%" PRId64 "}", for_ms);
}

void notice_source_ok(struct buffer *out, struct view stream)
{
    buffer_add_view(out, VIEW("{\"type\":\"source\",\"state\":\"ok\""));
    add_stream(out, stream);
    buffer_add_view(out, VIEW("}"));
}

void notice_expiring(struct buffer *out, struct view stream, int64_t in_s)
{
    buffer_add_view(out, VIEW("{\"type\":\"expiring\""));
    add_stream(out, stream);
    buffer_printf(out, ",\"in_s\":%" PRId64 "}", in_s);
}

void notice_pong(struct buffer *out, struct view ref, int64_t time_ms)
{
    buffer_add_view(out, VIEW("{\"type\":\"pong\""));
    add_ref(out, ref);
    buffer_printf(out, ",\"time_ms\":%" PRId64 "}", time_ms);
}

void notice_refused(struct buffer *out, bool is_pattern, struct view name, const char *code,
                    const char *detail, struct view ref)
{
    open_with(out, "refused", is_pattern ? VIEW("pattern") : VIEW("stream"), name);
    add_text(out, VIEW(",\"error\":"), view_of(code));
    add_text(out, VIEW(",\"detail\":"), view_of(detail));
    add_ref(out, ref);
    buffer_add_view(out, VIEW("}"));
}

void notice_unsubscribed(struct buffer *out, struct view stream, int code, struct view reason,
                         struct eventid last, struct view ref)
{
    open_with_stream(out, "unsubscribed", stream);
    buffer_printf(out, ",\"code\":%d", code);
    add_text(out, VIEW(",\"reason\":"), reason);
    buffer_add_view(out, VIEW(",\"last\":"));
    notice_add_id(out, last);
    add_ref(out, ref);
    buffer_add_view(out, VIEW("}"));
}

void notice_subscribed(struct buffer *out, struct view pattern, int64_t time_ms, struct view ref)
{
    open_with(out, "subscribed", VIEW("pattern"), pattern);
    buffer_printf(out, ",\"time_ms\":%" PRId64, time_ms);
    add_ref(out, ref);
    buffer_add_view(out, VIEW("}"));
}

void notice_unsubscribed_pattern(struct buffer *out, struct view pattern, int code,
                                 struct view reason, struct view ref)
{
    open_with(out, "unsubscribed", VIEW("pattern"), pattern);
    buffer_printf(out, ",\"code\":%d", code);
    add_text(out, VIEW(",\"reason\":"), reason);
    add_ref(out, ref);
    buffer_add_view(out, VIEW("}"));
}

void notice_expiring_pattern(struct buffer *out, struct view pattern, int64_t in_s)
{
    open_with(out, "expiring", VIEW("pattern"), pattern);
    buffer_printf(out, ",\"in_s\":%" PRId64 "}", in_s);
}

void notice_closing_begin(struct buffer *out, int code, struct view reason)
{
    buffer_printf(out, "{\"type\":\"closing\",\"code\":%d", code);
    add_text(out, VIEW(",\"reason\":"), reason);
    buffer_add_view(out, VIEW(",\"streams\":{"));
}

void notice_closing_stream(struct buffer *out, bool is_first, struct view stream,
                           struct eventid last)
{
    if (!is_first)
        buffer_add_view(out, VIEW(","));
    json_add_string(out, stream);
    buffer_add_view(out, VIEW(":"));
    notice_add_id(out, last);
}

void notice_closing_end(struct buffer *out, int64_t reconnect_ms)
{
    buffer_printf(out, "},\"reconnect_ms\":%" PRId64 "}", reconnect_ms);
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
