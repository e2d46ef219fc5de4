#include "plan.h"

#define PICK(...) (int)RNG_PICK(&r, __VA_ARGS__)

const char *step_name(enum step_kind kind)
{
    static const char *const names[STEP_KINDS] = {
        "add",           "trim",
        "delete",        "delete one",
        "replace",       "stall",
        "leave",         "abort",
        "go silent",     "talk",
        "flood",         "garbage",
        "kill redis",    "hang redis",
        "flush redis",   "save redis",
        "trouble",       "break links",
        "lose links",    "hide redis",
        "redis's clock", "brokers' clock",
        "drain",         "kill broker",
        "stall thread",  "few descriptors",
        "no memory",
    };
    return names[kind];
}

// ---- what kind of world -------------------------------------------------------------------

static void draw_streams(struct plan *p, struct rng r)
{
    p->streams = PICK(1, 2, 3, 3, STREAMS_MAX);
    p->guests_per_stream = (int)rng_between(&r, 2, p->streams > 3 ? 4 : GUESTS_PER_STREAM_MAX);
    p->durability = (enum host_data)PICK(HOST_KEEPS, HOST_KEEPS, HOST_LOSES_ALL, HOST_LOADS_SAVED);
    for (int i = 0; i < STREAMS_MAX; i++)
        p->ids[i] = (enum id_kind)PICK(IDS_CLOCK, IDS_CLOCK, IDS_LOWER, IDS_BEHIND, IDS_AGAIN);
    p->ids[0] = IDS_CLOCK;
    p->maxlen = PICK(1000, 1000, 200, 40);
    p->about = rng_chance(&r, 300);
    p->pad_max = (size_t)PICK(1, 40, 300, 300, 3000);
    p->odd = (unsigned)PICK(0, 0, 20, 200);
    p->no_tracking = rng_chance(&r, 80);
    static const char *const versions[] = {
        "7.0.15", "7.0.15", "7.0.15", "7.0.15", "6.2.6", "5.0.14"
    }; // RESP2, and no count of what was added
    p->redis_version = versions[rng_below(&r, ARRAY_LEN(versions))];
    p->redis_counts = p->redis_version[0] >= '7';
    // With lower ids nobody can tell old from new in an older snapshot, nor without a count.
    for (int i = 0; i < STREAMS_MAX; i++)
        if (p->durability == HOST_LOADS_SAVED || !p->redis_counts)
            p->ids[i] = IDS_CLOCK;
}

static void draw_brokers(struct plan *p, struct rng r)
{
    p->brokers = PICK(1, 1, 2);
    p->workers = PICK(1, 1, 2);
    p->window_s = PICK(60, 60, 10, 4, 2, 1);
    p->ring_bytes = PICK(16 << 20, 65536, 65536, 262144);
    p->memory_bytes = PICK(64 << 20, 262144, 1 << 20);
    p->outbox_bytes = PICK(64 << 20, 1 << 20);
    p->event_bytes = PICK(4 << 20, 4096);
    p->stale_ms = PICK(300, 1500);
    p->redis_timeout_ms = PICK(500, 5000);
    p->redis_connections = PICK(2, 2, 1);
    p->ping_s = PICK(1, 20);
    p->pong_s = PICK(2, 20);
    p->drain_s = PICK(0, 1, 3);
    p->flush_ms = PICK(0, 0, 0, 5, 50);
    p->sweep_s = PICK(60, 60, 1);
    p->compression = rng_chance(&r, 700);
    p->token_s = PICK(0, 0, 0, 3);
}

static void draw_roughness(struct plan *p, struct rng r)
{
    p->short_io = (unsigned)PICK(0, 20, 200, 700);
    p->small_batch = (unsigned)PICK(0, 100, 500);
    p->preempt = (unsigned)PICK(0, 0, 50, 300);
    p->eintr = (unsigned)PICK(0, 0, 10);
    p->turn_cost_us_max = PICK(5, 30, 300);
}

// ---- what happens -------------------------------------------------------------------------

static void add_step(struct plan *p, struct rng *r, enum step_kind kind, int64_t amount)
{
    if (p->step_count == STEPS_MAX)
        return;
    p->steps[p->step_count++] = (struct step){
        .at_us = rng_between(r, 200000, p->length_us),
        .kind = kind,
        .who = (int)rng_below(r, 1000),
        .amount = amount,
    };
}

static void draw_publishing(struct plan *p, struct rng r, int events)
{
    while (events > 0) {
        int burst = rng_chance(&r, 60) ? PICK(5, 20, 60) : PICK(1, 1, 2, 3);
        add_step(p, &r, STEP_ADD, burst);
        events -= burst;
    }
    int hurts = (int)rng_below(&r, 7);
    for (int i = 0; i < hurts; i++) {
        enum step_kind kind = (enum step_kind)PICK(STEP_TRIM, STEP_TRIM, STEP_DELETE, STEP_DELETE,
                                                   STEP_DELETE_ONE, STEP_REPLACE);
        add_step(p, &r, kind, PICK(0, 1, 2, 6, 30));
    }
}

static void draw_clients(struct plan *p, struct rng r, int actions)
{
    static const enum step_kind kinds[] = { STEP_STALL, STEP_STALL, STEP_LEAVE,     STEP_ABORT,
                                            STEP_ABORT, STEP_TALK,  STEP_GO_SILENT, STEP_FLOOD,
                                            STEP_STALL, STEP_ABORT, STEP_GARBAGE };
    for (int i = 0; i < actions; i++) {
        enum step_kind kind = kinds[rng_below(&r, ARRAY_LEN(kinds))];
        int64_t amount = kind == STEP_FLOOD ? PICK(3, 30, 300) : rng_between(&r, 10000, 4000000);
        add_step(p, &r, kind, amount);
    }
}

static int64_t draw_amount(struct rng *r, enum step_kind kind)
{
    if (kind == STEP_REDIS_CLOCK || kind == STEP_BROKERS_CLOCK)
        return RNG_PICK(r, -3600000000, -3000000, -100000, 100000, 3000000, 30000000);
    return RNG_PICK(r, 0, 50000, 300000, 1000000, 2500000, 4000000);
}

static void draw_faults(struct plan *p, struct rng r, int faults)
{
    static const enum step_kind kinds[] = {
        STEP_KILL_REDIS,   STEP_KILL_REDIS,       STEP_HANG_REDIS,    STEP_HANG_REDIS,
        STEP_FLUSH_REDIS,  STEP_SAVE_REDIS,       STEP_TROUBLE_REDIS, STEP_BREAK_REDIS_LINKS,
        STEP_DRAIN_BROKER, STEP_LOSE_REDIS_LINKS, STEP_HIDE_REDIS,    STEP_KILL_BROKER,
        STEP_STALL_THREAD, STEP_FEW_DESCRIPTORS,  STEP_STALL_THREAD,  STEP_SAVE_REDIS,
        STEP_REDIS_CLOCK,  STEP_BROKERS_CLOCK,
    };
    size_t count = p->sets_clocks ? ARRAY_LEN(kinds) : ARRAY_LEN(kinds) - 2;
    for (int i = 0; i < faults; i++) {
        enum step_kind kind = kinds[rng_below(&r, count)];
        add_step(p, &r, kind, draw_amount(&r, kind));
    }
    for (int i = 0; i < faults / 4 && p->lacks_memory; i++)
        add_step(p, &r, STEP_NO_MEMORY, draw_amount(&r, STEP_NO_MEMORY));
}

static int by_time(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    return x->at_us < y->at_us ? -1 : x->at_us > y->at_us;
}

void plan_draw(struct plan *p, uint64_t seed, bool lacks_memory)
{
    struct rng r = { .state = seed ^ 0x706c616e }; // "plan"
    *p = (struct plan){ .seed = seed, .lacks_memory = lacks_memory };
    p->length_us = RNG_PICK(&r, 2, 5, 10) * 1000000;
    p->sets_clocks = rng_chance(&r, 100);
    draw_streams(p, (struct rng){ rng_next(&r) });
    if (p->durability == HOST_LOADS_SAVED) // ids would go back without being another life's
        p->sets_clocks = false;
    draw_brokers(p, (struct rng){ rng_next(&r) });
    draw_roughness(p, (struct rng){ rng_next(&r) });
    draw_publishing(p, (struct rng){ rng_next(&r) }, PICK(50, 500, 500, 900));
    draw_clients(p, (struct rng){ rng_next(&r) }, PICK(20, 200, 200));
    draw_faults(p, (struct rng){ rng_next(&r) }, PICK(0, 3, 10, 10, 20));
    qsort(p->steps, (size_t)p->step_count, sizeof(*p->steps), by_time);
}
