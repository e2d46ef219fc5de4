// Append-only shared bytes with an index: what a stream's events lie in, ready to
// be sent.
//
//   data ▶ | frame 0 | frame 1 | frame 2 |      free      | item 2 | item 1 | item 0 |
//                                         ▲ end          ▲ size - count * sizeof(item)
//
// Frames grow up, their index grows down; the segment is full when they would
// meet. Only the tail thread appends. A worker reads no further than a letter
// told it (an extent's count and end), so neither needs a lock: what was told never
// changes and never moves. Whoever drops the last reference frees it, on
// whichever thread that is.
#pragma once

#include <stdatomic.h>

#include "base/base.h"
#include "base/list.h"
#include "wire/eventid.h"

enum item_kind {
    ITEM_EVENT,
    ITEM_GAP, // events that will not come: no bytes where the format cannot tell
};

// What the index knows of one item. Its bytes begin where the one before ends.
struct item {
    struct eventid id;           // of a gap: the last id before it
    int64_t time_ms;             // when it happened, Redis's clock; never falls within a log
    uint32_t end;                // offset just after its bytes
    uint32_t kind : 1;           // enum item_kind
    uint32_t events_before : 31; // so many of its segment's items before it are events
};
_Static_assert(sizeof(struct item) == 32, "the index costs this much for each event");

struct segment {
    atomic_uint refs;
    uint32_t size;       // bytes of data
    uint32_t end, count; // the tail's: how far it has written
    int64_t written_ms;  // the tail's: when it last was appended to (monotonic)
    void *owner;         // the tail's: whose ring it is in
    struct list by_age;  // the tail's: all rings' segments, by when they last were appended to
    _Alignas(8) char data[];
};

#define SEGMENT_BYTES_MAX ((size_t)1 << 31) // offsets are 32 bits, ordinals need fewer

// Room for at least `payload` bytes in one item. One reference, the caller's. The
// tail thread; NULL when memory is out, or it would be beyond SEGMENT_BYTES_MAX.
struct segment *segment_new(size_t size, size_t payload);
struct segment *segment_ref(struct segment *s); // any thread that holds one
void segment_unref(struct segment *s);          // any thread

// Appends one item, its bytes in two parts (a frame's header and payload). False
// when there is no room for it. Fills item->end and item->events_before. The tail thread.
bool segment_append(struct segment *s, struct item *item, struct view head, struct view body);

static inline const struct item *segment_item(const struct segment *s, uint32_t i)
{
    return (const struct item *)(const void *)(s->data + s->size) - (i + 1);
}

static inline uint32_t segment_start(const struct segment *s, uint32_t i) // of item i's bytes
{
    return i == 0 ? 0 : segment_item(s, i - 1)->end;
}

// Events among the first `count` items, all of which the caller may read.
static inline uint32_t segment_events(const struct segment *s, uint32_t count)
{
    if (count == 0)
        return 0;
    const struct item *last = segment_item(s, count - 1);
    return last->events_before + (last->kind == ITEM_EVENT);
}

size_t segment_bytes_in_use(void); // of all segments alive in the process; any thread
