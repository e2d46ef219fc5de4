// A stream's events in order, as bytes that go out: a run of extents over shared
// segments. Each item has a number, its seq; seqs have no holes and never repeat,
// whatever the ids do. A cursor is a place in a log.
//
//   first_seq                         run_seq                    end_seq
//   ▼                                 ▼                          ▼
//   | extent: seq 40..71 | extent: seq 72..90 | extent: 91..97 | (next item)
//   ╰──────── older runs ───────────╯ ╰──────── latest run ────╯
//
// A run is a stretch in which ids grow; the next one begins when they went back. Where
// runs begin is known, so that an id is found in any of them by bisection.
//
// The tail's log is the one that is appended to; a worker's log is its copy of
// the extents, as far as letters told it (extents on one side, log_extend on the
// other). Each belongs to its thread; only segments are shared.
#pragma once

#include <sys/uio.h>

#include "log/segment.h"

struct extent {
    struct segment *segment; // one reference
    uint64_t first_seq;
    uint32_t count, end; // how much of the segment is known here
};

// So many older runs are remembered. In a log with more of them (a stream that is deleted
// again and again) an id that only the oldest ones have is not found any more.
#define LOG_OLDER_RUNS_MAX 64

struct log {
    struct extent *extents; // extents[head] .. extents[head + len - 1]
    size_t head, len, cap;
    uint64_t first_seq; // the oldest item still here; end_seq when none is
    uint64_t end_seq;   // the next item
    uint64_t run_seq;   // where the latest run of growing ids begins (see log_reset)
    uint64_t *older;    // where the runs before it begin, oldest first
    size_t older_count, older_cap;
    size_t bytes; // memory of the segments
};

// The next item for a client, and how many bytes of it have left already.
struct cursor {
    uint64_t seq;
    uint32_t skip;
};

void log_init(struct log *l);
void log_done(struct log *l); // drops its references

// The tail's side.

// Appends an item. ids grow within a run. segment_bytes: the size of a segment
// when a new one is needed; it is returned in *made then, else NULL. False when
// memory is out: nothing was appended.
bool log_append(struct log *l, struct item item, struct view head, struct view body,
                size_t segment_bytes, struct segment **made);
// The ids went back: what comes next is a new run, and seeking by id looks there.
void log_reset(struct log *l);

// Both sides.

// Drops the whole extents that end at or before seq. On the tail's side the rest
// of a half-dropped extent stays reachable.
void log_trim(struct log *l, uint64_t seq);
struct extent *log_extent(const struct log *l, size_t i);       // 0 is the oldest
const struct item *log_item(const struct log *l, uint64_t seq); // CHECKs that it is here

// Events, and whether there are gaps, among the items from `from` up to `to`: all of
// them are here. The work is one step for each extent between the two, not for each item.
int64_t log_count_events(const struct log *l, uint64_t from, uint64_t to);
int64_t log_count_bytes(const struct log *l, struct cursor from); // from there to its end
bool log_has_gaps(const struct log *l, uint64_t from, uint64_t to);

// The worker's side.

// Takes over the extent's reference. It continues the last extent or follows it.
void log_extend(struct log *l, const struct extent *extent);
// The log is empty: its next item is `seq`, since those before it were never known here.
void log_skip_to(struct log *l, uint64_t seq);
// A run begins at `seq`, which is at most end_seq. Does nothing if that is known already, or
// if `seq` has left.
void log_begin_run(struct log *l, uint64_t seq);
// Writes where the runs begin that do so at `from` or later, oldest first, at most
// LOG_OLDER_RUNS_MAX + 1. Returns how many.
size_t log_runs_from(const struct log *l, uint64_t from, uint64_t *starts);

// Seeking: the first seq in the log that is at or after the place asked for;
// end_seq when all is before it.
uint64_t log_seek_time(const struct log *l, int64_t at_ms);
// By id, within the latest run; for an id that an older run has exactly, there.
uint64_t log_seek_id(const struct log *l, struct eventid id);
// An event of exactly that id, in any run: the newest one's seq in *seq. False: none.
bool log_find_id(const struct log *l, struct eventid id, uint64_t *seq);
bool log_has_id(const struct log *l, struct eventid id);
uint64_t log_seek_after(const struct log *l, struct eventid id);

// The bytes from the cursor up to the item until_seq, at most `max` of them, in at
// most *count pieces; returns how many bytes that is. The cursor's item is still
// here (CHECKed), unless it is until_seq.
size_t log_gather(const struct log *l, struct cursor at, uint64_t until_seq, size_t max,
                  struct iovec *pieces, size_t *count);
// The cursor after `bytes` of what log_gather gave have left.
struct cursor log_advance(const struct log *l, struct cursor at, size_t bytes);
// What is left of the item that the cursor stands at or inside.
struct view log_rest_of_item(const struct log *l, struct cursor at);
// The same as a place in a segment, for a caller who keeps it longer than the log does.
struct log_part {
    struct segment *segment;
    uint32_t at;
    size_t len;
};
struct log_part log_rest(const struct log *l, struct cursor at);
static inline struct view log_bytes(const struct log *l, uint64_t seq) // all of an item
{
    return log_rest_of_item(l, (struct cursor){ .seq = seq });
}
