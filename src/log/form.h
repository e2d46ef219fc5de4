// The forms in which a stream goes out. Each is the whole stream as bytes, encoded
// once for all clients of that form; raw is the truth, and the others are made
// from it. Pure, but for the deflater's state, so that a writer belongs to one thread.
#pragma once

#include "log/notice.h"
#include "wire/deflate.h"

enum form {
    FORM_RAW,               // WebSocket text frames: the events' data
    FORM_RAW_DEFLATED,      // the same under permessage-deflate
    FORM_ENVELOPE,          // WebSocket text frames: JSON with a type
    FORM_ENVELOPE_DEFLATED, //
    FORM_SSE,               // server-sent events
    FORM_COUNT,
};

static inline bool form_is_deflated(enum form form)
{
    return form == FORM_RAW_DEFLATED || form == FORM_ENVELOPE_DEFLATED;
}
static inline bool form_tells(enum form form) // can it say anything but events?
{
    return form >= FORM_ENVELOPE;
}

struct form_writer {
    struct deflater *deflater; // made when the first deflated form is
    struct buffer text, packed;
};
void form_writer_done(struct form_writer *w);

// Appends an event's bytes in a form.
void form_event(struct form_writer *w, enum form form, struct view stream, struct eventid id,
                struct view payload, struct buffer *out);
// Appends one text message, deflated where the form is and that makes it shorter.
void form_text(struct form_writer *w, enum form form, struct view text, struct buffer *out);
// Appends a gap's; nothing in a form that cannot tell.
void form_gap(struct form_writer *w, enum form form, struct view stream, const struct gap *gap,
              struct buffer *out);
// Appends one of notice.h's texts, uncompressed, in a form that tells. name: its
// type, for server-sent events.
void form_notice(enum form form, const char *name, struct view json, struct buffer *out);

// The payload of a frame that form_event made for FORM_RAW.
struct view form_raw_payload(struct view frame);
