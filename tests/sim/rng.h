// Random numbers from a seed: all that a world draws comes from one of these, so that
// the seed says everything. splitmix64: small, fast, and any seed is a good one.
#pragma once

#include "base/base.h"

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t rng_below(struct rng *r, uint64_t n) // 0 … n - 1; n > 0
{
    return (uint64_t)(((unsigned __int128)rng_next(r) * n) >> 64);
}

static inline int64_t rng_between(struct rng *r, int64_t least, int64_t most) // both included
{
    return least + (int64_t)rng_below(r, (uint64_t)(most - least + 1));
}

static inline bool rng_chance(struct rng *r, unsigned in_1000)
{
    return in_1000 > 0 && rng_below(r, 1000) < in_1000;
}

// One of the values: rng_pick(r, (int64_t[]){ 1, 2, 3 }, 3)
#define RNG_PICK(r, ...)                                                                           \
    (((const int64_t[]){                                                                           \
        __VA_ARGS__ })[rng_below(r, sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))])
