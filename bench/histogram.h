// Counts of values in steps that grow with the value, as HdrHistogram does it with
// three digits: within a power of two the steps are equal, 1024 of them, so a value
// is known to better than 0.1 %. Values are nanoseconds, up to 137 s; what is longer
// counts as that. Plain memory: it may lie where processes share it.
#pragma once

#include "base/base.h"

#define HISTOGRAM_STEP_BITS 10
#define HISTOGRAM_VALUE_BITS 37
#define HISTOGRAM_SLOTS                                                                            \
    (((size_t)HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

struct histogram {
    uint64_t count, max;
    double sum;
    uint64_t slots[HISTOGRAM_SLOTS];
};

void histogram_add(struct histogram *h, int64_t value); // below 0 counts as 0
void histogram_merge(struct histogram *into, const struct histogram *from);
// The value that `share` (0 to 1) of the values do not exceed; 0 when there are none.
uint64_t histogram_at(const struct histogram *h, double share);
double histogram_mean(const struct histogram *h);
