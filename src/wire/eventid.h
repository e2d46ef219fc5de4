// Redis stream ids ("ms-seq") and where a client wants to start: from=, after=.
// Pure. Any thread.
#pragma once

#include "base/base.h"

struct eventid {
    uint64_t ms, seq;
};

#define EVENTID_MAX (20 + 1 + 20) // characters of the longest id

static inline int eventid_cmp(struct eventid a, struct eventid b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

// 0-0 is no event's id: it stands for none.
static inline bool eventid_is_none(struct eventid id)
{
    return id.ms == 0 && id.seq == 0;
}

// Ids are Redis's time unless someone chose them: those of the ten years before `until_ms`
// (Unix time) are taken for times.
static inline bool eventid_is_time(struct eventid id, int64_t until_ms)
{
    const int64_t year_ms = INT64_C(365) * 24 * 3600 * MS_PER_S;
    return id.ms <= (uint64_t)until_ms && id.ms > (uint64_t)(until_ms - 10 * year_ms);
}

// The ids next to it, which need not be an event's. None is before 0-0, or after
// the largest.
static inline struct eventid eventid_before(struct eventid id)
{
    if (id.seq > 0 || id.ms == 0)
        return (struct eventid){ id.ms, id.seq ? id.seq - 1 : 0 };
    return (struct eventid){ id.ms - 1, UINT64_MAX };
}

static inline struct eventid eventid_behind(struct eventid id)
{
    if (id.seq < UINT64_MAX || id.ms == UINT64_MAX)
        return (struct eventid){ id.ms, id.seq < UINT64_MAX ? id.seq + 1 : id.seq };
    return (struct eventid){ id.ms + 1, 0 };
}

// `ms-seq`, both canonical decimal (Redis prints them so). False: not an id.
bool eventid_parse(struct view text, struct eventid *out);
size_t eventid_format(struct eventid id, char out[EVENTID_MAX + 1]); // NUL-terminated; its length

enum start_kind {
    START_LIVE,  // neither asked: what comes from now on
    START_FIRST, // from=first: all that the ring holds
    START_LAST,  // from=last: the newest event, then live
    START_TIME,  // from=now-60s, from=1760000000.5: events from at_ms on
    START_ID,    // from=ms-seq: that id and all after it
    START_AFTER, // after=ms-seq: all after that id
};

struct start {
    enum start_kind kind;
    int64_t at_ms;     // Unix milliseconds, never negative. START_TIME: from then on.
                       // START_LIVE, START_LAST: what "now" is for who had to wait; 0: now
    struct eventid id; // START_ID, START_AFTER
};

// The values of `from` and `after` as decoded from the query; absent or empty
// ones are views of length 0. now_ms is Unix time. Returns NULL and fills *out,
// or a sentence that says what was expected (for a 400), and leaves *out alone.
//   from:  now-<n>ms|s|m|h, Unix seconds (a decimal fraction is allowed),
//          first, last, ms-seq        after:  ms-seq
// Both given is an error. Numbers beyond 64 bits and the like are errors; a time
// before 1970 is 0.
const char *start_parse(struct view from, struct view after, int64_t now_ms, struct start *out);
