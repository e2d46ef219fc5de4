// What is to happen in a world, drawn from its seed before it begins: what kind of world it is
// (how many brokers, how little memory, how rough a net), and some hundred steps, each with its
// time. A step can be dropped and the rest stays as it is: so a failure is shrunk.
#pragma once

#include "publisher.h"

#define STREAMS_MAX 6
#define GUESTS_PER_STREAM_MAX 8
#define STEPS_MAX 600

enum step_kind {
    // publishers
    STEP_ADD,        // amount: how many
    STEP_TRIM,       // amount: how many are kept
    STEP_DELETE,     // amount: so many are added behind it
    STEP_DELETE_ONE, // XDEL
    STEP_REPLACE,    // DEL and XADDs in one MULTI
    // clients
    STEP_STALL, // amount: microseconds
    STEP_LEAVE,
    STEP_ABORT,
    STEP_GO_SILENT,
    STEP_TALK,
    STEP_FLOOD, // amount: pings
    STEP_GARBAGE,
    // faults; amount: for how long, in microseconds
    STEP_KILL_REDIS,
    STEP_HANG_REDIS,
    STEP_FLUSH_REDIS,
    STEP_SAVE_REDIS,
    STEP_TROUBLE_REDIS, // LOADING, MASTERDOWN, BUSY
    STEP_BREAK_REDIS_LINKS,
    STEP_LOSE_REDIS_LINKS, // silently
    STEP_HIDE_REDIS,       // nobody can connect, not even to be refused
    STEP_REDIS_CLOCK,      // amount: by how much it steps
    STEP_BROKERS_CLOCK,
    STEP_DRAIN_BROKER,
    STEP_KILL_BROKER,
    STEP_STALL_THREAD,
    STEP_FEW_DESCRIPTORS,
    STEP_NO_MEMORY,
    STEP_KINDS
};

struct step {
    int64_t at_us; // from the world's beginning
    enum step_kind kind;
    int who; // the stream, client, broker or thread, as far as there is one
    int64_t amount;
    bool dropped;
};

struct plan {
    uint64_t seed;
    bool lacks_memory;
    int64_t length_us;
    // What kind of world.
    int streams, guests_per_stream, brokers, workers;
    enum id_kind ids[STREAMS_MAX];
    enum host_data durability; // what is left when Redis is killed
    int maxlen;
    bool about, no_tracking, sets_clocks;
    const char *redis_version;
    bool redis_counts; // entries-added: Redis 7 and later
    size_t pad_max;
    unsigned odd;
    int window_s, stale_ms, redis_timeout_ms, ping_s, pong_s, drain_s, flush_ms, sweep_s,
        redis_connections;
    int64_t ring_bytes, memory_bytes, outbox_bytes, event_bytes;
    bool compression;
    int token_s; // how long tokens live, with BOND_EXPIRE_LIVE; 0: without
    unsigned short_io, small_batch, preempt, eintr;
    int64_t turn_cost_us_max;
    // What happens.
    struct step steps[STEPS_MAX];
    int step_count;
};

// lacks_memory: malloc fails now and then, too, where the broker says that it can do without.
void plan_draw(struct plan *p, uint64_t seed, bool lacks_memory);
const char *step_name(enum step_kind kind);
