// One stream that is followed in Redis: where we are in it, and what the answer to a
// read says of it. Not how it is asked: that is the tail's.
//
// A read is `XRANGE key last + COUNT n`, inclusive: the event that we have must come
// back first. When it does, nothing was lost between it and the next; when it does
// not, the next read is a *check*, XINFO STREAM and XRANGE in one MULTI, which says
// whether the stream was trimmed, deleted or went back, and how much is missing. What
// a missing event means, case by case, stands in loss.h.
//
// What comes of an answer: events and gaps in the feed's ring, and the feed in the
// lists `dirty` (it is to be read again) and `changed` (its subscribers are to be told).
// All of it belongs to the tail's thread.
#pragma once

#include "base/deadline.h"
#include "base/loop.h"
#include "base/table.h"
#include "shared/config.h"
#include "shared/metrics.h"
#include "shared/pulse.h"
#include "tail/burst.h"
#include "tail/loss.h"
#include "tail/paging.h"
#include "tail/ring.h"
#include "wire/resp.h"

// What all feeds share. The owner sets the first part, and calls feeds_init.
struct feeds {
    const struct config *config;
    const struct pulse *pulse;
    const struct loop *loop; // its time
    struct metrics *metrics;
    struct rings rings;

    struct list dirty;                  // to be read
    struct list changed;                // to be told
    struct list sweep;                  // all of them, the one that has waited longest first
    struct list warm;                   // those that change now, the latest last
    struct list all;                    // all of them, in no order, for who lists them (lister.h)
    struct deadline_queue second_reads; // that something waits for before it is told
    uint64_t fresh_reads;               // that began something new in a stream that we had
    bool cannot_check;     // Redis refuses XINFO or MULTI: losses are explained without
    const char *bad_reply; // an answer made no sense: the connection is to be given up
    struct buffer scratch;
    struct say_limit odd_event, reset, trimmed;
};

// What a read was when it was sent: the answer is understood by that.
struct feed_read {
    struct eventid from;
    size_t page; // entries that were asked for
};

// Where we are in the stream is ring.last.
struct feed {
    struct feeds *all;
    struct ring ring;
    struct table_node by_id;
    struct list in_dirty, in_changed, in_sweep, in_warm, in_all;
    uint32_t listed; // the last walk over all of them that has seen it

    struct eventid first; // of the entries that there were when we came
    uint64_t last_hash;   // of the fields of the entry at ring.last; 0: we have not seen them
    struct eventid dedupe_until;        // what is read up to here may be what we had before a reset
    struct eventid newest_before_reset; // of all resets so far
    uint64_t added;                     // the stream's entries-added when ring.last was its newest
    struct eventid counted;             // what XINFO said then; later ids we counted ourselves
    bool added_known;
    struct paging paging;
    bool placed;      // ring.last is set: we know where we are
    bool check;       // the next read must look at XINFO too
    bool unsure;      // not read since the link came up: Redis may have changed under us
    int64_t fresh_ms; // when its newest event was read

    // How it is told (telling.h):
    struct burst burst;
    struct piece untold; // what was read since it was told, or began to wait
    enum second_read {
        SECOND_READ_NONE,
        SECOND_READ_WANTED,
        SECOND_READ_SENT,
        SECOND_READ_ANSWERED
    } second_read;
    struct deadline second_read_end; // armed until it is told

    // The tail's, for how it is read:
    bool asked; // `read` is unanswered
    bool dead;  // to be freed when it is answered
    bool hot;   // waited for on the hotline
    struct feed_read read;
    uint64_t asked_epoch;
    struct deadline linger;  // armed while nobody listens
    struct deadline recheck; // while it is hot and Redis said that it changed
    bool healthy;            // its last read brought data
    unsigned refusals;       // errors in a row while other streams could be read
    struct deadline retry;   // armed behind an error, until it is read again

    size_t prefix_len, key_len;
    char key[]; // prefix and id
};

void feeds_init(struct feeds *all);                  // its first part is set, but for rings
void feeds_done(struct feeds *all);                  // no feed is left
int64_t feeds_redis_now_ms(const struct feeds *all); // Redis's clock

// A feed of that stream, placed nowhere yet, in `dirty` and `sweep`. The caller frees
// it, when it is in no list, after ring_done.
struct feed *feed_new(struct feeds *all, struct view id);

static inline struct view feed_key(const struct feed *f)
{
    return (struct view){ f->key, f->key_len };
}

static inline struct view feed_id(const struct feed *f)
{
    return (struct view){ f->key + f->prefix_len, f->key_len - f->prefix_len };
}

void feed_mark_dirty(struct feed *f);
void feed_mark_changed(struct feed *f);
bool feed_is_warm(const struct feed *f); // it has changed lately
// The connection to Redis broke, and what it had may not be what it will have.
void feed_doubt(struct feed *f);

// Answers to f->read; `entries` has been read, and what it holds comes next. A range,
// a check, and before either of them, for a feed that is new, the newest entry before
// the window.
void feed_take_older(struct feed *f, struct resp_reader *r, const struct resp_node *entries);
void feed_take_range(struct feed *f, struct resp_reader *r, const struct resp_node *entries);
void feed_take_check(struct feed *f, struct resp_reader *r, const struct stream_info *info,
                     const struct resp_node *entries);
// The same to a read beside it. What is not plainly "what we had, and then this" is not
// taken, and the feed is dirty.
void feed_take_beside(struct feed *f, const struct feed_read *read, struct resp_reader *r,
                      const struct resp_node *entries);
// It was asked for from a place where we are no more: another answer was quicker. Then
// nothing of it is taken, and the feed is dirty.
bool feed_is_outrun(const struct feed *f, const struct feed_read *read);
