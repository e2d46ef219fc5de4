// Do a stream's events come in bursts that we read in pieces? Publishers write the events of
// a burst one by one, so Redis tells of the first while the rest are still on their way.
// Told at once, the pieces cost each client a write for each piece; read once more
// first, they leave in one write. So a stream has a score, by what it did lately.
//
// Reads that follow each other closely are one group. It is a burst if more than two events
// came for each millisecond from its first event to its last:
//
//   a read joins a group that is a burst: it came in pieces       raised
//      but with one event, a ms or two behind the rest            as it was
//   a read joins a group that is none: a quick, steady stream     lowered, to nothing in four
//   a group of one event has ended: a lone event                  lowered as much
//   read once more in vain, behind a lone event                   lowered as much
//                           behind several: it came whole         lowered a little
//
// So a stream whose events come singly has no score, however quick it is, and never waits.
// If one was late and is read with the next two, these are too few to be a burst beside those
// before; if Redis was held up, and gives six of them one time, those behind them come singly.
//
// A stream whose bursts always come whole (one write, MULTI) never gets a score either. Where
// one burst in four comes in pieces, each goes on being read once more.
//
// Pure: no clock, no I/O.
#pragma once

#include "base/base.h"

// What one read brought.
struct piece {
    size_t events;
    uint64_t apart_ms; // from the event before to its first one
    uint64_t span_ms;  // from its first event to its last
};

struct burst {
    int score;
    size_t events; // of the latest group
    uint64_t span_ms;
};

// It brought at least one event.
void burst_read(struct burst *b, const struct piece *piece);
// There will be more of what was read last: read it once more before it is told.
bool burst_is_likely(const struct burst *b);
// That was done, and brought nothing. (If it brought more, that is a piece like any other.)
void burst_read_in_vain(struct burst *b);
