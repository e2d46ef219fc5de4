// What waits to be sent to one client, besides what its cursor stands at in the log: a
// queue of pieces, each either bytes of its own or a part of a segment that it holds a
// reference to.
//
//   pieces ▶ | segment, offset, len | own bytes | segment, offset, len | own bytes |
//
// Bytes that are its own are copied; a part of a segment is not, however large. It has
// no limit itself: its owner looks at `bytes` and stops in time. The segments are held in
// the worker's budget. It belongs to its client's thread.
#pragma once

#include <sys/uio.h>

#include "worker/budget.h"

struct outbox_piece {
    struct segment *segment; // one reference; NULL: own bytes
    uint32_t at;             // where it begins in the segment
    size_t len;
};

struct outbox {        // zeroed, it is empty and holds no memory
    struct buffer own; // the own bytes of all pieces, in order
    size_t own_sent;   // of them, those that have left
    size_t own_end;    // and those that are in pieces, with what has left
    struct outbox_piece *pieces;
    size_t head, count, cap; // pieces[head] .. pieces[head + count - 1]
    size_t bytes;            // that wait
};

void outbox_done(struct outbox *o, struct budget *b); // empty, and no memory held

static inline bool outbox_is_empty(const struct outbox *o)
{
    return o->bytes == 0;
}

void outbox_add(struct outbox *o, struct view bytes); // a copy
// The `len` bytes at `at` of a segment, of which a reference is taken.
void outbox_add_part(struct outbox *o, struct budget *b, struct segment *s, uint32_t at,
                     size_t len);
// The same, before all that waits: the rest of a frame that is under way.
void outbox_put_first(struct outbox *o, struct budget *b, struct segment *s, uint32_t at,
                      size_t len);

// Where the caller writes own bytes himself: between the two, what is appended to the
// buffer comes to stand at the end of the queue.
static inline struct buffer *outbox_write(struct outbox *o)
{
    return &o->own;
}
void outbox_written(struct outbox *o);

// The first bytes that wait, at most `max` in at most *count pieces; returns how many
// bytes that is.
size_t outbox_gather(const struct outbox *o, size_t max, struct iovec *pieces, size_t *count);
void outbox_sent(struct outbox *o, struct budget *b, size_t bytes); // so many have left

// Memory that it holds alone; parts of segments are counted by who holds the segments.
static inline size_t outbox_memory(const struct outbox *o)
{
    return o->own.cap + o->cap * sizeof(*o->pieces);
}
