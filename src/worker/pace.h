// The newest value at a pace that each client chooses (every=, docs/protocol.md, 20): at most
// one event of a stream in that time, the newest there is.
//
//   stream ─▶ pace every=1s  ─▶ clients and seats that wait for its next tick
//          ─▶ pace every=10s ─▶ …
//
// All clients of a stream with the same `every` share one deadline (the tick) and one
// selection: the event as it goes out, made once. A client of a pace has no backlog: its cursor
// says up to where it has been told, and may stand before what the log still has; seqs have
// no holes, so the difference tells how many events it passes over.
//
// It belongs to its worker's thread.
#pragma once

#include "base/deadline.h"
#include "log/form.h"
#include "worker/outbox.h"
#include "worker/stream.h"

#define EVERY_MIN_MS 10
#define EVERY_MAX_MS (3600 * 1000)

struct deflater;
struct inflater;

// "250ms", "1s", "5m", "1h", rounded up to two digits, so that there are some hundreds of
// paces at most. False: it is none.
bool every_parse(struct view text, uint32_t *every_ms);

struct pace {
    struct list node; // of its stream's paces
    struct paces *all;
    struct stream *stream;
    uint32_t every_ms;
    size_t users;
    struct list idle, seats_idle; // who waits for the next tick
    size_t fresh;                 // of them, those that had an event since the last one
    struct deadline tick;         // armed: less than `every` has passed since it sent, or told one
    bool has_sent;                // since the last tick
    bool is_ticking;              // it is sending to those who waited
    bool owes;                    // who was passed over has something to get at the next tick
    bool told_stale;              // what its clients were told of Redis
    uint64_t seen_seq;            // the log's end when it last sent
    struct buffer selection;      // the event at selected_seq that stands for `skipped` others
    uint64_t selected_seq;
    int64_t skipped;
};

// What all paces of a worker share.
struct paces {
    struct loop *loop;
    void (*due)(struct deadline *); // a tick
    struct list queues;             // one for each duration that was ever asked for
    struct form_writer writer;
    struct inflater *inflater;
};

void paces_init(struct paces *all, struct loop *loop, void (*due)(struct deadline *));
void paces_done(struct paces *all);

// The pace of that stream, made with its first client.
struct pace *pace_join(struct paces *all, struct stream *s, uint32_t every_ms);
struct pace *pace_find(const struct stream *s, uint32_t every_ms); // it has joined
void pace_leave(struct stream *s, uint32_t every_ms);
void pace_arm(struct pace *p);
// Who stands at seq waits for the next tick, and it may be that there is something for it.
void pace_owe(struct pace *p, uint64_t seq);
// One of its clients has had an event outside of a tick: the next tick passes it over.
void pace_note_fresh(struct pace *p);

// Older events that are missing are none that its clients asked for.
static inline bool pace_passes_over(const struct gap *gap)
{
    return gap->reason == GAP_WINDOW || gap->reason == GAP_LIMIT;
}

// Puts into the outbox the newest event before `until`, behind the gaps on the way to it, for
// who stands at *seq; *seq is `until` then. Returns how many events that is, 0 or 1.
unsigned pace_choose(struct pace *p, uint64_t *seq, uint64_t until, struct outbox *out,
                     struct budget *budget);
