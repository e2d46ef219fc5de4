// What a thread has done. Each counter is written by its own thread alone and may
// be read by any: relaxed atomics, which cost an ordinary addition.
#pragma once

#include <stdatomic.h>

#include "base/base.h"

struct stats {
    atomic_ullong accepted, refused, upgraded, closed;
    atomic_ullong events_sent, bytes_sent, sends;
    atomic_ullong fell_behind, skipped_behind, ping_timeouts;
    atomic_ullong events_read, events_skipped, redis_reads, redis_checks, hotline_reads, resets,
        trimmed;
    atomic_ullong streams, ring_bytes; // as of the tail's last tick
};

static inline void stats_add(atomic_ullong *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t stats_get(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}
