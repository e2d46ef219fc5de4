// The ground of a simulated world: its clocks, its chance, what is to happen when, and the
// trace of what happened. One world at a time; `world` is it.
//
//   events  ──time──▶  bytes arrive, clients and publishers act, faults strike
//   threads ──chance─▶ one that can run is entered, until it waits (process.h)
//
// Time stands still while anybody can run, and then jumps to what comes next. A world is a
// pure function of its seed and its plan: the hash of its trace is the same on each run.
#pragma once

#include "memory.h"
#include "rng.h"

// Something that is to happen. Embedded in whatever it happens to; zeroed, it is not set.
struct event {
    int64_t at_us;
    uint64_t nth; // events of the same time happen in the order in which they were set
    size_t place; // in the heap, from 1; 0: not set
    void (*happen)(struct event *e);
};

struct world {
    uint64_t seed;
    struct rng rng;         // of the scheduler and the net; a plan has its own
    int64_t now_us;         // monotonic, from the world's beginning
    int64_t wall_offset_us; // of Unix time, as the brokers' machine has it
    struct owner memory;    // of all that is no broker's
    struct event **heap;    // [1 … heap_len]
    size_t heap_len, heap_cap;
    uint64_t event_count;
    uint64_t hash;
    bool tracing;
    char *failure; // the first violation, as a sentence; NULL: none
    size_t failures;
    // How rough it is here: in a thousand.
    unsigned short_io, small_batch, preempt, eintr;
    int64_t turn_cost_us_max;
    uint64_t turns, calls; // how much was done
};

extern struct world *world;

void world_begin(struct world *w, uint64_t seed); // becomes `world`
void world_end(void);                             // frees what it holds

int64_t world_wall_us(void);

void event_set(struct event *e, int64_t at_us, void (*happen)(struct event *e)); // again, if set
void event_cancel(struct event *e);
static inline bool event_is_set(const struct event *e)
{
    return e->place > 0;
}

int64_t world_next_event_us(void); // INT64_MAX: nothing is to happen
void world_do_due_events(void);    // all up to now

// The trace. A line costs nothing unless somebody reads it (TRACE=1); the hash goes on always.
#define trace(...)                                                                                 \
    do {                                                                                           \
        if (world->tracing)                                                                        \
            trace_line(__VA_ARGS__);                                                               \
    } while (0)
void trace_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void world_mix(uint64_t value) // into the hash of what happened
{
    uint64_t h = (world->hash ^ value) * 0xff51afd7ed558ccdu;
    world->hash = h ^ (h >> 32);
}

// A promise was broken. The first one is the world's failure.
void world_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
