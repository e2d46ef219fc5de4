// Which streams there are, for those who want all that match a pattern: SCAN over all keys,
// again and again, while somebody wants a pattern, and never else.
//
//   known     ▶ md:a  md:b  md:d  md:e      (all that match some pattern, in the order found)
//                      ▲           ▲
//   watchers           1           2        (each worker's patterns: what it has not been told)
//
// One round of SCAN serves all patterns of all workers. A stream that is found is known, and
// each watcher whose pattern it matches is told once. A stream that a whole round did not see
// is gone; if it is made again, it is found again.
//
// Redis guarantees that a round finds all keys that were there from its begin to its end. So a
// stream is found two rounds after it was made at the latest; its clients begin at the time of
// their subscription, not at that of the finding.
//
// This file knows no link: it says what to ask (discovery_ask) and takes answers. It belongs to
// the tail's thread.
#pragma once

#include "base/deadline.h"
#include "base/loop.h"
#include "base/table.h"
#include "shared/config.h"
#include "shared/letter.h"

#define SCAN_COUNT 250  // keys that one SCAN looks at
#define SCAN_PAUSE_MS 3 // between two of them: about 7 % of its time is what Redis spends at most
#define SCAN_POSTPONED_MS_MAX 50   // for reads of streams, which go first
#define WATCHERS_MAX 1024          // of all workers together
#define NAMES_PER_TURN 4096        // that are compared with patterns, or forgotten, in a turn
#define FOUND_LETTER_MAX 512       // names in a letter
#define DISCOVERY_ID_BYTES_MAX 512 // of a stream's id; longer ones are passed over

struct discovery {
    const struct config *config;
    struct loop *loop;
    struct deadline_queue rounds, pauses;
    struct deadline next_round, pause;

    struct list watchers, untold; // `untold`: there is something that they have not been told
    size_t watcher_count;

    struct table known;   // by id
    struct list in_order; // the same, by seq
    struct list by_seen;  // the same, the one not seen for longest first
    uint64_t next_seq;

    uint64_t round;           // the one under way, or the last
    uint64_t last_full_round; // of the rounds that came to their end
    bool is_under_way;
    bool is_asked;        // a SCAN is unanswered
    bool cannot_type;     // this server's SCAN knows no TYPE (Redis 5)
    bool has_newcomer;    // a watcher came since the round under way began
    bool has_left;        // a watcher left since it began
    bool must_match;      // one had left before: known ones may match nobody's
    int64_t due_since_ms; // the next SCAN is; 0: it is not
    struct buffer cursor, match;
    struct say_limit full, refused;
};

void discovery_init(struct discovery *d, const struct config *config, struct loop *loop);
void discovery_done(struct discovery *d);

// WATCH, UNWATCH: the letter stays the caller's.
void discovery_take_letter(struct discovery *d, const struct watch_request *request);

// Is a SCAN to be sent now? `reads_wait`: streams wait to be read, so it may wait a little.
bool discovery_is_due(struct discovery *d, bool reads_wait);
// What it asks: SCAN cursor MATCH match COUNT SCAN_COUNT, and TYPE stream if with_type.
struct scan {
    struct view cursor, match;
    bool with_type;
};
struct scan discovery_ask(struct discovery *d);
void discovery_take(struct discovery *d, struct view reply);
void discovery_lost(struct discovery *d); // the link broke: the round begins anew

// Once a turn: tells what was found, forgets what is gone. True: there is more to do.
bool discovery_turn(struct discovery *d);
