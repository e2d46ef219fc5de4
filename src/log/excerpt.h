// A part of a raw log as one JSON object, made piece by piece, so that nobody keeps all of
// it at once: what GET /history/{stream_id} answers with.
//
//   {"stream":S,"events":[{"id":ID,"data":…},…],"last":ID|null,"complete":B}
//
// Pure.
#pragma once

#include "log/log.h"

#define EXCERPT_PIECE (32 * KIB) // about so much text at a time
#define EXCERPT_MAX (4 * MIB)    // and about so much in all

struct excerpt {
    uint64_t seq;   // the next item
    uint64_t limit; // events at most
    uint64_t count; // so far
    size_t bytes;   // so far
    struct eventid last;
    bool whole;    // nothing was left out so far
    bool begun;    // the object has been opened
    bool in_event; // its data has been handed out, but not the end of its object
};

// Events from seq on, at most `limit` of them. whole: nothing that was asked for is
// missing before them; so `complete` says that nothing was left out at all.
struct excerpt excerpt_of(uint64_t seq, uint64_t limit, bool whole);

// Appends the next piece to `out`. Where *part has a length, its bytes come right after
// it: the data of a large event, which stays where it is. False: that was the last piece.
bool excerpt_next(struct excerpt *e, const struct log *raw, struct view stream, struct buffer *out,
                  struct log_part *part);

// The log is about to drop what lies before first_seq.
void excerpt_skip_to(struct excerpt *e, uint64_t first_seq);
