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

// Ids of 0-0 are null here too.
void notice_hello(struct buffer *out, struct view stream, struct eventid first, struct eventid last,
                  int64_t ring_seconds);
void notice_event(struct buffer *out, struct view stream, struct eventid id, struct view payload);
void notice_live(struct buffer *out, struct view stream, struct eventid id);
void notice_gap(struct buffer *out, struct view stream, const struct gap *gap);
void notice_source_stale(struct buffer *out, int64_t for_ms);
void notice_source_ok(struct buffer *out);
void notice_expiring(struct buffer *out, int64_t in_s);
void notice_closing(struct buffer *out, int code, struct view reason, struct eventid last,
                    int64_t reconnect_ms);

// `payload` where it is JSON, else as a JSON string.
void notice_add_data(struct buffer *out, struct view payload);
void notice_add_id(struct buffer *out, struct eventid id); // "ms-seq", or null for 0-0
