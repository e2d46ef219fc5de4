// A source is one Redis server: the link and the hotline to it, what was asked there and
// is unanswered, the feeds that are read there, and what is known of the server.
//
//   source ─┬─ link      all that is asked, and what changed (CLIENT TRACKING)
//           ├─ hotline   waits for the few streams that change now (hot.h)
//           ├─ feeds     the streams that are read here; each finds its source by its `all`
//           ├─ asks      what is unanswered on the link (asks.h)
//           ├─ trouble   errors instead of data (trouble.h)
//           └─ clock     what Redis says that the time is
//
// There is one of them now; nothing here knows that. It belongs to the tail's thread.
#pragma once

#include "redis/hotline.h"
#include "redis/link.h"
#include "shared/skew.h"
#include "tail/feed.h"

struct discovery;
struct following;

// What was asked on the link. Redis answers in the order in which it was asked.
enum ask_kind {
    ASK_QUEUED,       // a command of a transaction
    ASK_QUEUED_RANGE, // its XRANGE
    ASK_CHECK,        // its EXEC
    ASK_OLDER,        // XREVRANGE, outside of a transaction
    ASK_RANGE,        // XRANGE, outside of a transaction
    ASK_TIME,
    ASK_SERVER,
    ASK_SCAN,  // for streams that match patterns
    ASK_FENCE, // all that was pushed before its answer has come before its answer
};
struct ask {
    enum ask_kind kind;
    struct feed *feed;
    size_t bytes;    // of a read: what its answer is expected to bring
    int64_t sent_us; // of a read and of TIME: when, monotonic
    uint64_t epoch;  // of FENCE: the recovery that it was asked in
};

// A stream that is waited for on the hotline.
struct hot {
    struct feed *feed; // NULL: dropped meanwhile
    struct feed_read read;
};

struct source {
    const struct config *config;
    struct pulse *pulse;
    struct metrics *metrics; // a row of its own
    struct loop *loop;
    struct following *following; // which finds a feed by its id
    struct discovery *discovery; // which streams there are

    struct buffer name; // of the server, for the log: its URL without user and password
    struct link *link;
    struct feeds feeds;
    size_t server_id_len; // of the link's server; 0: not known
    char server_id[SERVER_ID_MAX];

    struct hotline *hotline; // NULL: BOND_REDIS_CONNECTIONS=1
    struct hot hot[HOTLINE_WAITS_MAX];
    size_t hot_count;
    bool busy; // too much changed in the last second for the hotline to be worth it

    struct ask *asks; // a circle of ask_cap, from ask_head on
    size_t ask_head, ask_len, ask_cap;
    size_t reads_in_flight, bytes_in_flight; // bytes: as expected when they were sent
    // Of the streams that were read lately; what those that were not are taken to have.
    size_t usual_entry_bytes;
    struct skew skew;
    bool clock_known; // TIME was answered: we know where the window begins

    bool was_cut_off;   // the link was down, or Redis troubled, since it was readable last
    bool troubled;      // Redis answers, but not with data (trouble.h)
    bool said_troubled; // in the log
    size_t healthy;     // feeds whose last read brought data
    bool check_refused; // a command of the transaction that is being answered was, with this:
    char refused_why[512];
    bool refused_range; // and it was XRANGE itself
    bool exec_refused;  // EXEC was, and not MULTI: the connection was of no use

    struct deadline_queue polls, retries, holds, rechecks;
    struct deadline poll, hold; // hold: armed while nothing is read
    struct say_limit read_failed, checks_off, unreadable, down;
    char down_why[256];    // as it was last said; empty when the link has been up since
    int64_t down_since_ms; // monotonic; 0: it is up
};

// The owner has set the first part and feeds.config to feeds.metrics; the link and the
// hotline are its to make, and source_done frees them. No feed is left then.
void source_init(struct source *s);
void source_done(struct source *s);

static inline struct source *source_of(const struct feed *f)
{
    return CONTAINER_OF(f->all, struct source, feeds);
}

void source_add_queue(struct source *s, struct deadline_queue *q, int64_t after_ms,
                      void (*due)(struct deadline *));

void source_mark_all_dirty(struct source *s);
// Marks up to `count` feeds dirty, those that have waited longest first.
void source_sweep(struct source *s, size_t count);
// Gives the connection up, if a feed could make no sense of a reply.
void source_cut_for_bad_reply(struct source *s);
