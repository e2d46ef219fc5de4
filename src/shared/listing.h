// Which streams are followed, and how they fare: what /streams shows. A worker asks the tail
// (LETTER_LIST), which walks over its feeds, a slice in each turn of its loop, and keeps the
// first `limit` in the order asked for; then the listing goes back (LETTER_LISTED).
//
// It never holds more than twice `limit` streams. Whoever has the letter owns all of it.
#pragma once

#include "base/mailbox.h"
#include "wire/eventid.h"

#define LISTING_LIMIT_DEFAULT 100
#define LISTING_LIMIT_MAX 1000
#define LISTING_MATCH_MAX 256 // bytes of a pattern

// By name they go up, by a number down; a `-` before the name of one turns that round.
#define LISTING_SORTS(X)                                                                           \
    X(stream)                                                                                      \
    X(listeners)                                                                                   \
    X(rate)                                                                                        \
    X(age_s)                                                                                       \
    X(ring_span_s)                                                                                 \
    X(ring_bytes)                                                                                  \
    X(slowest_lag_events)                                                                          \
    X(slowest_lag_s)
#define LISTING_SORT_ENUMERATOR(name) LISTING_BY_##name,
enum listing_sort { LISTING_SORTS(LISTING_SORT_ENUMERATOR) };

struct listing_order {
    enum listing_sort by;
    bool turned;
};
// False: there is no such order.
bool listing_order_read(struct view text, struct listing_order *out);

struct listing_request {
    struct letter letter;
    struct mailbox *from;
    uint64_t ticket; // the worker's name for it
    struct listing_order order;
    size_t limit;
    size_t match_len; // 0: all
    char match[];     // a pattern (wire/glob.h)
};

// One stream. Values that are not known: 0-0, -1.
struct listed {
    uint64_t listeners;
    uint64_t rate_milli;        // events in 1000 s, as of the last 10 s
    struct eventid first, last; // the oldest in the ring; the newest that is known
    int64_t age_ms;             // of its newest event
    int64_t ring_span_ms;       // from the oldest event in the ring to the newest
    size_t ring_bytes;
    uint64_t slowest_lag_events, slowest_lag_ms; // as of the last survey (bond_client_lag_*)
    const char *source;                          // outlives it
    struct view id;
};

struct listing {
    struct letter letter;
    uint64_t ticket;
    struct listing_order order;
    size_t limit;
    size_t total; // streams that match
    size_t count, cap;
    struct listed **streams;
};

struct listing *listing_new(const struct listing_request *request);
void listing_free(struct listing *l);
void listing_add(struct listing *l,
                 const struct listed *stream); // a copy, or not, if it is not among the first
void listing_finish(struct listing *l);        // now they are in order, at most `limit`
// One stream as JSON.
void listed_write(const struct listed *stream, struct buffer *out);
