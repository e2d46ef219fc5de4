// When a stream's subscribers are told what is new: at the end of the turn in which it was
// read; but where bursts come in pieces (burst.h), when the stream has been read once more.
//
//   the first piece was read        ──▶ SECOND_READ_WANTED    the feed is dirty
//   the tail sends that read        ──▶ SECOND_READ_SENT
//   it is answered, or it is lost   ──▶ SECOND_READ_ANSWERED  all is told at the end of this turn
//
// If Redis takes longer than SECOND_READ_MS it is told without. What the ring has to drop
// meanwhile is told before (ring.h).
#pragma once

#include "tail/feed.h"

#define SECOND_READ_MS 5 // Redis answers in a fraction of it

void telling_init(struct feeds *all); // the caller adds all->second_reads to the loop

// The next of all->changed whose subscribers are to be told now; NULL: no more in this turn.
struct feed *telling_next(struct feeds *all);

void telling_read_sent(struct feed *f);     // f->read
void telling_read_answered(struct feed *f); // or lost; called before the answer is taken
// Redis pushes that the stream has changed, and the second read, which it has not answered
// yet, will bring that change: an answer comes behind the pushes about what was there before.
bool telling_read_will_show(const struct feed *f);
void telling_forget(struct feed *f); // nobody is to be told any more
