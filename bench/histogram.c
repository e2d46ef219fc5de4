#include "histogram.h"

#include <math.h>

// A value's uppermost STEP_BITS + 1 bits choose the slot. Values below 2048 are
// their own slots; from there on the exponent moves the window:
//
//   exponent 0: 0 .. 2047        step 1     slots    0 .. 2047
//            1: 2048 .. 4095     step 2     slots 2048 .. 3071
//            2: 4096 .. 8191     step 4     slots 3072 .. 4095
static size_t slot_of(uint64_t value)
{
    int bits = value ? 64 - __builtin_clzll(value) : 0;
    int exponent = bits > HISTOGRAM_STEP_BITS + 1 ? bits - HISTOGRAM_STEP_BITS - 1 : 0;
    return ((size_t)exponent << HISTOGRAM_STEP_BITS) + (size_t)(value >> exponent);
}

static uint64_t highest_in(size_t slot)
{
    size_t half = (size_t)1 << HISTOGRAM_STEP_BITS;
    if (slot < 2 * half)
        return slot;
    size_t exponent = slot / half - 1;
    return ((uint64_t)(slot - exponent * half + 1) << exponent) - 1;
}

void histogram_add(struct histogram *h, int64_t value)
{
    uint64_t v = value < 0 ? 0 : (uint64_t)value;
    if (v >> HISTOGRAM_VALUE_BITS)
        v = (UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1;
    h->slots[slot_of(v)]++;
    h->count++;
    h->sum += (double)v;
    if (v > h->max)
        h->max = v;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_SLOTS; i++)
        into->slots[i] += from->slots[i];
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
    if (h->count == 0)
        return 0;
    uint64_t rank = (uint64_t)ceil(share * (double)h->count);
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_SLOTS; i++) {
        seen += h->slots[i];
        if (seen >= rank && seen > 0) {
            uint64_t value = highest_in(i);
            return value < h->max ? value : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum / (double)h->count : 0;
}
