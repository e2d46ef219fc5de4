// What Redis's clock says, from a few answers to TIME, as a difference to our monotonic
// clock: that one takes no steps when somebody sets our time.
//
// An answer tells what Redis's clock said somewhere between question and answer, so its
// difference is known to within half the round trip. The sample with the least round trip
// is the best. One that cannot be reconciled with it, both with their errors, means that
// Redis's clock was set (or that our machine slept): what came before is forgotten.
//
// Pure: no clock, no I/O.
#pragma once

#include "base/base.h"

#define SKEW_SAMPLES 8
#define SKEW_AGE_MAX_MS (3 * 60 * MS_PER_S) // a sample tells nothing after so long: clocks drift

struct skew_sample {
    int64_t taken_ms; // when the answer came, monotonic
    int64_t difference_ms, round_trip_ms;
};

struct skew {
    struct skew_sample samples[SKEW_SAMPLES]; // a circle: the next one goes to `next`
    size_t count, next;
};

void skew_forget(struct skew *s); // another server, perhaps
// TIME was sent and answered at these monotonic times, with redis_ms (Unix time). Returns
// what is to be added to the monotonic clock to have Redis's.
int64_t skew_learn(struct skew *s, int64_t sent_ms, int64_t answered_ms, int64_t redis_ms);
