// Whether what clients had is what the broker promises of what Redis was given
// (docs/protocol.md, 8). Pure but for world_fail(), which is told each broken promise.
//
// **Of a client that can be told** (envelope, server-sent events), from one event that it had to
// the next, over its reconnects with the id that it had last:
//
// - Its events are in Redis's order, and none comes twice. After a gap `reset` what is delivered
//   may begin anew: the broker could not know that the client had it.
// - Each entry between two events that it had in succession is *covered* by a gap that it was
//   told in between, or *excused* (judge_excuses.c says why no broker can know of it).
// - A gap tells the truth: `after` is the event that the client had last, `before` is the one
//   that comes next, `missed` is how many lie between.
//
// **A fresh start** (live, from=) owes each entry that Redis took after the handshake, or behind
// what `live` named, and for from=now-… what is younger than that and still in Redis. A client
// that is let in while Redis cannot be read begins by the clock: where ids are not Redis's clock,
// it is owed what Redis took since it was live.
//
// **Of a raw connection**: order, no event twice, and no hole. It cannot be told of what is
// trimmed or reset, so what is missing must have left Redis, and be missing from a client of the
// same broker and stream that can be told and was there before and after.
#pragma once

#include "record.h"

// What is known of one stream besides its truth: which broker delivered what, and when.
struct evidence {
    const struct truth *truth;
    int brokers;        // their numbers are 1 … brokers
    int64_t *delivered; // [broker][place]: when first; INT64_MAX: never
    bool *absent;       // [broker][place]: clients that can be told were told that it is lost
    struct span {
        int broker, first, last; // the first and last place that one connection had, without a
    } * spans;                   // gap but for `trimmed` and `reset`
    int span_count, span_cap;
};

struct reading; // of one record, from item to item

struct judge {
    int64_t window_us; // BOND_RING_SECONDS
    bool counts;       // Redis says what was ever added to a stream
    bool clock_unsure; // Redis's clock was set: what a time stands for is not judged
    struct evidence *evidence;
    int streams;
    uint64_t events, gaps, resumed, excused, exact; // what was seen at all
};

void judge_run(struct judge *j, struct record **records, int count);

// ---- between judge.c and judge_excuses.c ------------------------------------------------

#define GAPS_MAX 64 // told between two events

struct reading {
    struct judge *judge;
    const struct record *record;
    const struct truth *truth;
    struct evidence *evidence;
    struct item open;           // of the connection
    int64_t since_us;           // its fresh start
    int64_t live_us;            // when this connection was live; INT64_MAX: it does not say so
    int had, furthest;          // places of the event that it had last, and of the newest; -1: none
    bool *ever;                 // all that it had since its fresh start
    struct item gaps[GAPS_MAX]; // since the last event
    int gap_count;
    int64_t reset_us; // when the last reset was told; 0: never
    bool reconnected; // since the last event
    bool has_resumed_at, has_here;
    struct eventid resumed_at, here; // the id that this connection stands at, as far as known
};

int64_t evidence_delivered(const struct evidence *v, int broker, int at);
bool reading_covers(const struct reading *r, const struct entry *e, const struct entry *next,
                    int64_t at_us, bool lost_only);
bool reading_excuses(struct reading *r, const struct entry *e, const struct entry *next,
                     int64_t at_us);
