// What the broker tells a client of itself, as JSON texts (contract part 2, the
// envelope's table). Pure: each appends one object to a buffer.
#pragma once

#include "base/base.h"
#include "wire/eventid.h"

#define GAP_REASONS(X)                                                                             \
    X(WINDOW, "window")                                                                            \
    X(LIMIT, "limit")                                                                              \
    X(TRIMMED, "trimmed")                                                                          \
    X(SLOW, "slow")                                                                                \
    X(RESET, "reset")
#define GAP_ENUMERATOR(name, text) GAP_##name,
enum gap_reason { GAP_REASONS(GAP_ENUMERATOR) };
#define GAP_COUNT_ONE(name, text) +1
enum { GAP_REASONS_COUNT = GAP_REASONS(GAP_COUNT_ONE) };
const char *gap_reason_name(enum gap_reason reason);

#define MISSED_UNKNOWN (-1)

// Events between these two ids will not come. An id of 0-0 is unknown: null.
struct gap {
    enum gap_reason reason;
    struct eventid after, before;
    int64_t missed; // how many, or MISSED_UNKNOWN
};

void gap_extend(struct gap *gap, const struct gap *by); // by one that follows it

// Ids of 0-0 are null here too. A view whose `at` is NULL is a member that is left out: the
// `ref` of a command that had none, and the `stream` of messages that have one only on a shared
// socket.
void notice_hello(struct buffer *out, struct view stream, struct eventid first, struct eventid last,
                  int64_t ring_seconds, struct view ref);
// The same up to the id, and without what follows.
void notice_event_head(struct buffer *out, struct view stream, struct eventid id);
void notice_event(struct buffer *out, struct view stream, struct eventid id, struct view payload);
void notice_live(struct buffer *out, struct view stream, struct eventid id);
void notice_gap(struct buffer *out, struct view stream, const struct gap *gap);
void notice_source_stale(struct buffer *out, struct view stream, int64_t for_ms);
void notice_source_ok(struct buffer *out, struct view stream);
void notice_expiring(struct buffer *out, struct view stream, int64_t in_s);
void notice_closing(struct buffer *out, int code, struct view reason, struct eventid last,
                    int64_t reconnect_ms);

// On a shared socket only. A `name` of NULL is null.
void notice_pong(struct buffer *out, struct view ref, int64_t time_ms);
void notice_refused(struct buffer *out, bool is_pattern, struct view name, const char *code,
                    const char *detail, struct view ref);
void notice_unsubscribed(struct buffer *out, struct view stream, int code, struct view reason,
                         struct eventid last, struct view ref);
// The same of patterns: `pattern` in place of `stream`.
void notice_subscribed(struct buffer *out, struct view pattern, int64_t time_ms, struct view ref);
void notice_unsubscribed_pattern(struct buffer *out, struct view pattern, int code,
                                 struct view reason, struct view ref);
void notice_expiring_pattern(struct buffer *out, struct view pattern, int64_t in_s);
// `closing` with the place in each stream: begin, one call for each stream, end.
void notice_closing_begin(struct buffer *out, int code, struct view reason);
void notice_closing_stream(struct buffer *out, bool is_first, struct view stream,
                           struct eventid last);
void notice_closing_end(struct buffer *out, int64_t reconnect_ms);

// `payload` where it is JSON, else as a JSON string.
void notice_add_data(struct buffer *out, struct view payload);
void notice_add_id(struct buffer *out, struct eventid id); // "ms-seq", or null for 0-0
