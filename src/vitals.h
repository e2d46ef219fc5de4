// What the broker is doing, in a line of its log now and then: `status`. Counters are read as
// they stand and shown as what they grew by since the line before.
#pragma once

#include "base/base.h"

struct vitals {
    int64_t at_ms; // monotonic
    bool is_redis_readable;
    uint64_t clients, streams, ring_bytes;         // now
    uint64_t events_read, events_sent, bytes_sent; // since the start
    uint64_t refused, fell_behind, skipped;        // the same
    int64_t lag_ms;                                // of the client farthest behind; -1: not known
};

void vitals_say(const struct vitals *before, const struct vitals *now);
