// What a client makes of the broker's bytes, written anew from the specifications
// (RFC 6455, RFC 7692, the HTML standard's event streams) and on other libraries,
// so that the code in src/ is not checked by itself. For tests.
#pragma once

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <zlib.h>

#include "log/form.h"

// One message as it came: a WebSocket text, or a server-sent event.
struct message {
    struct buffer text; // a frame's payload, inflated; an event's data
    bool deflated;
    char type[16], id[EVENTID_MAX + 1]; // an event's fields, "" without
};

static inline void message_free(struct message *m)
{
    buffer_free(&m->text);
    *m = (struct message){ 0 };
}

enum decoded { DECODED_MORE, DECODED_MESSAGE, DECODED_WRONG };

// ---- WebSocket ------------------------------------------------------------------

// Any deflate data, whatever its size; false when it is none. One state for all:
// making one costs more than all the rest.
static inline bool decode_deflated(struct view packed, struct buffer *text)
{
    static z_stream z;
    static bool made;
    struct buffer whole = { 0 };
    if (!made && inflateInit2(&z, -15) != Z_OK)
        return false;
    made = true;
    inflateReset(&z);
    buffer_add_view(&whole, packed);
    buffer_add(&whole, "\x00\x00\xff\xff", 4);
    z.next_in = (Bytef *)whole.at;
    z.avail_in = (uInt)whole.len;
    int result = Z_OK;
    while (result == Z_OK && (z.avail_in > 0 || z.avail_out == 0)) {
        buffer_reserve(text, 4096);
        z.next_out = (Bytef *)text->at + text->len;
        z.avail_out = 4096;
        result = inflate(&z, Z_SYNC_FLUSH);
        text->len += 4096 - z.avail_out;
    }
    buffer_free(&whole);
    return result == Z_OK || (result == Z_BUF_ERROR && z.avail_in == 0);
}

static inline enum decoded decode_frame(struct view in, bool may_deflate, size_t *used,
                                        struct message *m)
{
    const uint8_t *at = (const uint8_t *)in.at;
    if (in.len < 2)
        return DECODED_MORE;
    m->deflated = (at[0] & 0x40) != 0;
    if ((at[0] & 0xbf) != 0x81 || (m->deflated && !may_deflate) || (at[1] & 0x80))
        return DECODED_WRONG; // not a whole, unmasked text
    size_t extra = at[1] == 126 ? 2 : at[1] == 127 ? 8 : 0;
    uint64_t len = extra ? 0 : at[1];
    if (in.len < 2 + extra)
        return DECODED_MORE;
    for (size_t i = 0; i < extra; i++)
        len = len << 8 | at[2 + i];
    if ((extra == 2 && len < 126) || (extra == 8 && len < 65536))
        return DECODED_WRONG;
    if (in.len - 2 - extra < len)
        return DECODED_MORE;
    struct view payload = { in.at + 2 + extra, len };
    m->text.len = 0;
    *used = 2 + extra + len;
    if (!m->deflated)
        buffer_add_view(&m->text, payload);
    else if (!decode_deflated(payload, &m->text) || m->text.len <= len)
        return DECODED_WRONG; // what does not get shorter is to be sent plain
    return DECODED_MESSAGE;
}

// ---- server-sent events ---------------------------------------------------------

static inline bool copy_field(char *out, size_t size, struct view value)
{
    if (value.len >= size)
        return false;
    memcpy(out, value.at, value.len);
    out[value.len] = '\0';
    return true;
}

// One event up to its blank line. The broker ends lines with LF alone.
static inline enum decoded decode_sse(struct view in, size_t *used, struct message *m)
{
    size_t at = 0, data_lines = 0;
    m->text.len = 0;
    m->type[0] = m->id[0] = '\0';
    for (;;) {
        const char *end = at < in.len ? memchr(in.at + at, '\n', in.len - at) : NULL;
        if (end == NULL)
            return DECODED_MORE;
        struct view line = { in.at + at, (size_t)(end - in.at) - at };
        at += line.len + 1;
        if (memchr(line.at, '\r', line.len))
            return DECODED_WRONG;
        if (line.len == 0)
            break;
        const char *colon = memchr(line.at, ':', line.len);
        if (colon == NULL)
            return DECODED_WRONG; // a field without a value: we have none
        struct view name = { line.at, (size_t)(colon - line.at) };
        struct view value = { colon + 1, line.len - name.len - 1 };
        if (value.len && value.at[0] == ' ')
            value.at++, value.len--;
        if (view_eq(name, VIEW("data"))) {
            if (data_lines++)
                buffer_add_view(&m->text, VIEW("\n"));
            buffer_add_view(&m->text, value);
        } else if (view_eq(name, VIEW("id"))) {
            if (!copy_field(m->id, sizeof(m->id), value))
                return DECODED_WRONG;
        } else if (view_eq(name, VIEW("event"))) {
            if (!copy_field(m->type, sizeof(m->type), value))
                return DECODED_WRONG;
        } else {
            return DECODED_WRONG;
        }
    }
    *used = at;
    return data_lines ? DECODED_MESSAGE : DECODED_WRONG;
}

// The first message of the bytes, and how many bytes it was.
static inline enum decoded decode_message(enum form form, struct view in, size_t *used,
                                          struct message *m)
{
    bool may_deflate = form == FORM_RAW_DEFLATED || form == FORM_ENVELOPE_DEFLATED;
    *used = 0;
    return form == FORM_SSE ? decode_sse(in, used, m) : decode_frame(in, may_deflate, used, m);
}

// ---- what a message must say ----------------------------------------------------

static inline json_t *decode_json(struct view text)
{
    if (text.len == 0 || memchr(text.at, '\0', text.len))
        return NULL; // jansson takes a NUL for the end
    return json_loadb(text.at, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static inline bool is_text(const json_t *json, struct view text)
{
    return json_is_string(json) &&
           view_eq((struct view){ json_string_value(json), json_string_length(json) }, text);
}

// An id, or null for 0-0.
static inline bool is_id(const json_t *json, struct eventid id)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
    if (id.ms == 0 && id.seq == 0)
        return json_is_null(json);
    return is_text(json, (struct view){ text, (size_t)len });
}

static inline bool is_integer(const json_t *json, int64_t number)
{
    return json_is_integer(json) && json_integer_value(json) == number;
}

static inline bool is_event_json(const json_t *json, struct view text, struct view stream,
                                 struct eventid id, struct view payload)
{
    json_t *data = decode_json(payload), *got = json_object_get(json, "data");
    bool is_json = data != NULL;
    json_decref(data);
    if (json_object_size(json) != 4 || !is_text(json_object_get(json, "type"), VIEW("event")) ||
        !is_text(json_object_get(json, "stream"), stream) ||
        !is_id(json_object_get(json, "id"), id))
        return false;
    if (!is_json)
        return is_text(got, payload);
    // Byte for byte: all but the brace behind it.
    return text.len > payload.len + 1 &&
           view_eq((struct view){ text.at + text.len - 1 - payload.len, payload.len }, payload);
}

static inline bool is_gap_json(const json_t *json, struct view stream, const struct gap *gap)
{
    static const char *const reasons[] = { [GAP_WINDOW] = "window",
                                           [GAP_LIMIT] = "limit",
                                           [GAP_TRIMMED] = "trimmed",
                                           [GAP_SLOW] = "slow",
                                           [GAP_RESET] = "reset" };
    const json_t *missed = json_object_get(json, "missed");
    return json_object_size(json) == 6 && is_text(json_object_get(json, "type"), VIEW("gap")) &&
           is_text(json_object_get(json, "stream"), stream) &&
           is_id(json_object_get(json, "after"), gap->after) &&
           is_id(json_object_get(json, "before"), gap->before) &&
           is_text(json_object_get(json, "reason"), view_of(reasons[gap->reason])) &&
           (gap->missed < 0 ? json_is_null(missed) : is_integer(missed, gap->missed));
}

// An event stream's data has lines, and how they ended is not told.
static inline bool is_same_but_for_line_ends(struct view got, struct view payload)
{
    size_t at = 0;
    for (size_t i = 0; i < payload.len; i++, at++) {
        char c = payload.at[i] == '\r' ? '\n' : payload.at[i];
        if (at >= got.len || got.at[at] != c)
            return false;
        if (payload.at[i] == '\r' && i + 1 < payload.len && payload.at[i + 1] == '\n')
            i++;
    }
    return at == got.len;
}

static inline bool message_is_event(const struct message *m, enum form form, struct view stream,
                                    struct eventid id, struct view payload)
{
    struct view text = buffer_view(&m->text);
    char expected[64];
    if (form == FORM_RAW || form == FORM_RAW_DEFLATED)
        return view_eq(text, payload);
    if (form == FORM_SSE) {
        snprintf(expected, sizeof(expected), "%" PRIu64 "-%" PRIu64, id.ms, id.seq);
        return strcmp(m->id, expected) == 0 && m->type[0] == '\0' &&
               is_same_but_for_line_ends(text, payload);
    }
    json_t *json = decode_json(text);
    bool is = json && is_event_json(json, text, stream, id, payload);
    json_decref(json);
    return is;
}

static inline bool message_is_gap(const struct message *m, enum form form, struct view stream,
                                  const struct gap *gap)
{
    bool named = form == FORM_SSE ? strcmp(m->type, "gap") == 0 && m->id[0] == '\0' : !m->deflated;
    json_t *json = decode_json(buffer_view(&m->text));
    bool is = named && json && is_gap_json(json, stream, gap);
    json_decref(json);
    return is;
}
