// What the models have in common: chance that a seed repeats, and an end that names the
// seed and the step. Included once by each model, behind cmocka's headers.
#pragma once

#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/base.h"

static uint64_t seed, chance;
static unsigned long long step;

#define EXPECT(cond) ((cond) ? (void)0 : broken(#cond, __LINE__))

static void broken(const char *cond, int line)
{
    fail_msg("seed=%llu step=%llu line %d: %s", (unsigned long long)seed, step, line, cond);
}

static void aborted(int signal_number) // a CHECK in src/
{
    (void)signal_number;
    dprintf(STDERR_FILENO, "seed=%llu step=%llu: stopped\n", (unsigned long long)seed, step);
}

static uint64_t draw(void) // splitmix64
{
    uint64_t z = (chance += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return draw() % n;
}

static bool one_in(size_t n)
{
    return below(n) == 0;
}

static uint64_t number_from(const char *env, uint64_t otherwise)
{
    const char *text = getenv(env);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

// Chance, from BOND_MODEL_SEED or anew. Returns how many steps: BOND_MODEL_STEPS, or these.
static uint64_t begin_life(uint64_t usual_steps)
{
    uint64_t some = 0;
    CHECK(getrandom(&some, sizeof(some), 0) == sizeof(some));
    seed = chance = number_from("BOND_MODEL_SEED", some >> 32);
    uint64_t steps = number_from("BOND_MODEL_STEPS", usual_steps);
    printf("BOND_MODEL_SEED=%llu BOND_MODEL_STEPS=%llu\n", (unsigned long long)seed,
           (unsigned long long)steps);
    fflush(stdout);
    signal(SIGABRT, aborted);
    return steps;
}
