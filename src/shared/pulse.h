// What every thread may know of Redis at any time: can it be read, and what is its
// clock. Written by the tail thread, read by all.
#pragma once

#include <stdatomic.h>

#include "base/clock.h"

struct pulse {
    // Monotonic time until which Redis counts as readable, unless heard again. So a
    // tail that hangs turns unreadable by itself.
    _Atomic int64_t readable_until_ms;
    _Atomic int64_t heard_ms; // monotonic, when Redis was last heard; 0: never
    // Redis's clock less our monotonic one (skew.h); 0: not known, or TIME is refused.
    _Atomic int64_t redis_ahead_ms;
    // Counts recoveries: it grows, after readable_until_ms has, each time that Redis
    // can be read again. Who finds it unreadable reads the epoch first; a stream is
    // up to date again when it has been read in a later epoch than that.
    _Atomic uint64_t epoch;
    atomic_bool leaving; // set by the broker: it is about to drain, and /ready says so
};

static inline bool pulse_readable(const struct pulse *p, int64_t now_ms)
{
    return now_ms < atomic_load(&p->readable_until_ms);
}

static inline uint64_t pulse_epoch(const struct pulse *p)
{
    return atomic_load(&p->epoch);
}

// What Redis's clock says, Unix time. While that is not known, our own has to do.
static inline int64_t pulse_redis_now_ms(const struct pulse *p, int64_t mono_ms)
{
    int64_t ahead_ms = atomic_load_explicit(&p->redis_ahead_ms, memory_order_relaxed);
    return ahead_ms ? mono_ms + ahead_ms : clock_wall_ms();
}
