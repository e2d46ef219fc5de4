// What a broker tells in the envelope (docs/protocol.md 6), read and written as lines for
// people. Pure: a message in, text out.
#pragma once

#include "wire/eventid.h"

enum told_kind {
    TOLD_HELLO,
    TOLD_EVENT,
    TOLD_LIVE,
    TOLD_GAP,
    TOLD_SOURCE,
    TOLD_EXPIRING,
    TOLD_CLOSING,
    TOLD_OTHER, // of a later version
};

// Views into the message, as they stand there: strings with their quotes, null as null.
struct told {
    enum told_kind kind;
    struct view stream, id, data;              // at == NULL: absent
    struct view after, before, reason, missed; // of TOLD_GAP
    struct eventid event_id;                   // of `id`; 0-0 if that is null or absent
    bool is_stale;                             // of TOLD_SOURCE
    int64_t number; // for_ms of a stale source, in_s of `expiring`, reconnect_ms of `closing`; -1
};

// False: it is no such message.
bool told_read(struct view message, struct told *out);

// 2026-11-25T00:37:18.123Z btc-usdt 1764031038123-0 {"price":64000}
// The time is that of the event's id, or now_ms (Unix) if that cannot be a time. An event's
// line ends are spaces, and what could command a terminal is escaped.
void told_write_event(const struct told *t, int64_t now_ms, bool coloured, struct buffer *out);
// The same with `gap` in place of an id, and what is known of it in words.
void told_write_gap(const struct told *t, int64_t now_ms, bool coloured, struct buffer *out);
// How long ago that id says it is; -1: it says no time.
int64_t told_age_ms(struct eventid id, int64_t now_ms);
// Appends text that may be anything with control characters escaped.
void told_add_clean(struct buffer *out, struct view text);
