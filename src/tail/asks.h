// What is asked of a source over its link: reads of streams, the time, who it is. Each ask
// waits in a queue for its answer (answers.h); Redis answers in order.
//
// A read of a stream is one XRANGE, or, where it must be known what the stream lacks, a
// *check*: XINFO STREAM and XRANGE in one MULTI, of which only EXEC's answer counts.
#pragma once

#include "tail/discovery.h"
#include "tail/source.h"

void asks_init(struct source *s);
bool asks_may_read(const struct source *s); // now; not: while the link is down, say
// Sends reads of dirty feeds, as many as may be in flight.
void asks_read_dirty(struct source *s);
// A read was answered: what its stream's entries are like is a guess about those of streams
// that have not been read yet.
void asks_learn_size(struct source *s, size_t entry_bytes);
// Many reads are under way, so that others may have to wait.
bool asks_are_many(const struct source *s);
void asks_scan(struct source *s, const struct scan *scan);
void asks_time(struct source *s);
void asks_server(struct source *s); // who it is, if the hotline needs to know
// When it is answered, streams that are not dirty are up to date: tracking would have said.
void asks_fence(struct source *s);
struct ask asks_take(struct source *s); // the oldest, which is answered now
