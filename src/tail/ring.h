// What the tail holds of one stream, in each form that somebody listens to, and who
// listens. The raw form is always there; another is an edition that is made from
// it when its first subscriber comes, and dropped some time after its last one has
// left: to make it anew costs as much as the ring is long. It is made oldest event first,
// a slice in each turn of the loop, for a ring of 16 MiB takes 0.2 to 0.7 s to deflate; its
// subscribers are told of it when it is as long as the raw log.
//
//   ring ─┬─ raw      log ──▶ segments      subscriptions ──▶ workers
//         ├─ envelope log ──▶ segments      subscriptions
//         └─ …        (same items, same seqs, other bytes)
//
// All rings together are a `struct rings`: one memory limit, one list of segments
// by age. Everything here belongs to the tail's thread.
#pragma once

#include "log/form.h"
#include "shared/config.h"
#include "shared/metrics.h"
#include "tail/subscribers.h"

#define EDITION_BYTES_PER_TURN (32 * KIB) // one or two ms to deflate

struct rings {
    const struct config *config;
    struct metrics *metrics;
    struct loop *loop;    // for its clock and its deadlines
    struct list segments; // the raw ones, by their last append; the others go with them
    size_t bytes;         // of all
    struct deadline_queue trims;
    struct deadline_queue retells; // of rings with a subscriber whose mailbox was full
    struct list filling; // the editions that are being made; each gets a slice in its turn
    size_t fill_bytes;   // of them all, in one turn of the loop
    struct form_writer writer;
    struct buffer scratch;
    // When the newest event happened that was dropped for memory since this was last set to
    // 0 (Redis's clock): how far back a ring reaches at least.
    int64_t shortened_to_ms;
    struct say_limit full, memory_out;
};

struct edition {
    struct ring *ring;
    struct log log;
    struct list in_filling; // linked while it lacks something that the raw log has
    size_t owed;            // so many bytes came meanwhile: it makes them besides its slice
    struct floor floor;     // what came before its first item; editions begin at different ones
    struct list subscriptions;
    bool active;
    int64_t idle_since_ms; // without subscribers, if it has none
};

struct ring {
    struct rings *all;
    struct view id; // the stream's, its owner's bytes
    struct edition editions[FORM_COUNT];
    struct deadline trim;   // armed while there is more than one raw segment
    struct deadline retell; // armed while somebody was not told, for its mailbox is full
    struct gap *gaps;       // what the ITEM_GAPs in the log say, oldest first
    uint64_t *gap_seqs;
    size_t gap_count, gap_cap;
    // What subscribers are told besides the events:
    struct eventid last; // the newest id that we have had, or that the stream had before us
    bool ready;          // all that Redis had when we came is in the log
    uint64_t epoch;      // see pulse.h; as of the last time that we were up to date
};

void rings_init(struct rings *all, const struct config *config, struct metrics *metrics,
                struct loop *loop);
void rings_done(struct rings *all);

// A turn's work on the editions that are being made: fill_bytes, and one event at most
// beyond that. True: more is to be done, in the next turn.
bool rings_fill(struct rings *all);

void ring_init(struct ring *r, struct rings *all, struct view id);
void ring_done(struct ring *r); // nobody may be subscribed

// Appends an event, in all forms that are there and not still being made. time_ms: when
// it happened, Redis's clock; lifted to the newest there is, for it never falls within a log.
void ring_append(struct ring *r, struct eventid id, int64_t time_ms, struct view payload);
// Events will not come. A GAP_RESET begins a new run of ids.
void ring_append_gap(struct ring *r, const struct gap *gap, int64_t time_ms);
// This very event is here, in any run: an id alone may come again with another.
bool ring_has(const struct ring *r, struct eventid id, struct view payload);
bool ring_had(const struct ring *r, struct eventid id); // it is not newer than what has left
// There were events before all that has been appended so far.
void ring_set_floor(struct ring *r, struct floor floor);

void ring_subscribe(struct ring *r, const struct request *request);
bool ring_unsubscribe(struct ring *r, const struct request *request); // false: was none
// To everyone: the stream cannot be followed. Nobody is subscribed then.
void ring_fail(struct ring *r, int close_code, const char *reason);
// What there is of it, for people.
struct ring_facts {
    struct eventid first;         // the oldest event; 0-0: none
    int64_t oldest_ms, newest_ms; // when it and the newest one happened; 0: not known
    size_t bytes;                 // in all editions
    uint64_t recent_events;       // those that happened at recent_ms or later
    uint64_t listeners, lag_events, lag_ms;
};
struct ring_facts ring_describe(const struct ring *r, int64_t recent_ms);

bool ring_has_subscribers(const struct ring *r);

// A refresh is wanted, then under way when a read is sent, then done when that read
// has brought all that there was; if the read is lost, it is wanted again.
bool ring_want_refresh(struct ring *r, const struct request *request); // false: no such subscriber
void ring_refresh_sent(struct ring *r);
void ring_refresh_done(struct ring *r);
void ring_refresh_lost(struct ring *r);

// Posts to each subscriber what it does not know yet; to one whose mailbox is full
// (LETTERS_BYTES_MAX), a little later, by itself.
void ring_tell(struct ring *r);
