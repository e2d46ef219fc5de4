#include "log/form.h"

#include <inttypes.h>

#include "wire/ws.h"

void form_writer_done(struct form_writer *w)
{
    deflater_free(w->deflater);
    buffer_free(&w->text);
    buffer_free(&w->packed);
    *w = (struct form_writer){ 0 };
}

static void add_frame(struct buffer *out, bool deflated, struct view payload)
{
    uint8_t header[WS_HEADER_MAX];
    buffer_add(out, header, ws_header(header, WS_TEXT, deflated, payload.len));
    buffer_add_view(out, payload);
}

// Deflated where that makes it shorter, which a small event may not be.
static void add_deflated(struct form_writer *w, struct buffer *out, struct view text)
{
    if (w->deflater == NULL)
        w->deflater = deflater_new();
    w->packed.len = 0;
    bool shorter = deflater_run(w->deflater, text, &w->packed);
    add_frame(out, shorter, shorter ? buffer_view(&w->packed) : text);
}

// Each line of the text is a `data:` line: CR, LF and CRLF end one (HTML standard,
// server-sent events).
static void add_data_lines(struct buffer *out, struct view text)
{
    size_t at = 0;
    do {
        size_t end = at;
        while (end < text.len && text.at[end] != '\n' && text.at[end] != '\r')
            end++;
        buffer_add_view(out, VIEW("data: "));
        buffer_add(out, text.at + at, end - at);
        buffer_add_view(out, VIEW("\n"));
        bool crlf = end + 1 < text.len && text.at[end] == '\r' && text.at[end + 1] == '\n';
        at = end + (crlf ? 2 : 1);
    } while (at <= text.len);
}

static void add_sse_event(struct buffer *out, struct eventid id, struct view payload)
{
    buffer_printf(out, "id: %" PRIu64 "-%" PRIu64 "\n", id.ms, id.seq);
    add_data_lines(out, payload);
    buffer_add_view(out, VIEW("\n"));
}

void form_event(struct form_writer *w, enum form form, struct view stream, struct eventid id,
                struct view payload, struct buffer *out)
{
    if (form == FORM_ENVELOPE || form == FORM_ENVELOPE_DEFLATED) {
        w->text.len = 0;
        notice_event(&w->text, stream, id, payload);
        payload = buffer_view(&w->text);
    }
    switch (form) {
    case FORM_RAW:
    case FORM_ENVELOPE: add_frame(out, false, payload); break;
    case FORM_RAW_DEFLATED:
    case FORM_ENVELOPE_DEFLATED: add_deflated(w, out, payload); break;
    case FORM_SSE: add_sse_event(out, id, payload); break;
    case FORM_COUNT: CHECK(!"a form");
    }
}

void form_text(struct form_writer *w, enum form form, struct view text, struct buffer *out)
{
    if (form_is_deflated(form))
        add_deflated(w, out, text);
    else
        add_frame(out, false, text);
}

void form_gap(struct form_writer *w, enum form form, struct view stream, const struct gap *gap,
              struct buffer *out)
{
    if (!form_tells(form))
        return;
    w->text.len = 0;
    notice_gap(&w->text, stream, gap);
    form_notice(form, "gap", buffer_view(&w->text), out);
}

void form_notice(enum form form, const char *name, struct view json, struct buffer *out)
{
    CHECK(form_tells(form));
    if (form == FORM_SSE) {
        buffer_printf(out, "event: %s\n", name);
        add_data_lines(out, json);
        buffer_add_view(out, VIEW("\n"));
    } else {
        add_frame(out, false, json);
    }
}

struct view form_raw_payload(struct view frame)
{
    CHECK(frame.len >= 2);
    uint8_t len = (uint8_t)frame.at[1];
    size_t header = len == 127 ? 10 : len == 126 ? 4 : 2;
    CHECK(frame.len >= header);
    return (struct view){ frame.at + header, frame.len - header };
}
