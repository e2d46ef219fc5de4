// The memory that clients make a worker keep outside the rings: what waits to be sent to
// them, and what has come of something that is not whole yet. Each client has a cap of its
// own; this is the sum of them all, and what happens at its limit: who has kept memory
// for longest without progress is closed, until the rest fits.
//
//   holders ▶ client (longest without progress) ─ client ─ client (latest)
//
// A part of a segment that waits to be sent keeps the whole segment in memory, even when
// the ring has dropped it: such a segment is held, and counts once, however many
// clients wait for it.
//
// It belongs to its worker's thread.
#pragma once

#include "base/list.h"
#include "base/table.h"
#include "log/segment.h"

struct budget {
    size_t bytes, max; // max: this worker's share of BOND_OUTBOX_BYTES
    struct list holders;
    struct table held; // segments, by their address
};

// A client that holds memory. Embedded in what it holds; zero it and call holder_init.
struct holder {
    struct list node;
    size_t bytes; // as counted last
};

void budget_init(struct budget *b, size_t max);
void budget_done(struct budget *b); // nothing is held

void holder_init(struct holder *h);
// It holds so many bytes now. From nothing to something puts it behind all others;
// `progress` does, too: bytes have left, or something has become whole.
void budget_count(struct budget *b, struct holder *h, size_t bytes, bool progress);
// It holds nothing.
void budget_release(struct budget *b, struct holder *h);

// A segment is held by one client more, or one less.
void budget_hold(struct budget *b, struct segment *s);
void budget_let_go(struct budget *b, struct segment *s);

// Who is to be closed, since the sum is over the limit; NULL: none.
struct holder *budget_worst(const struct budget *b);
