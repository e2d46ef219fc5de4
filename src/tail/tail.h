// The thread that follows streams in Redis: one link, however many streams, and a
// hotline for the few that change now.
//
// Redis says what changed (CLIENT TRACKING); what changed is dirty; dirty streams are
// read, pipelined, and what an answer says is the feed's to know. A read arms the next
// invalidation. Besides, each stream is read now and then, as a net.
//
//   tail ─┬─ following   which streams, and the letters that say so
//         ├─ discovery   which streams there are, for those who want all that match a pattern
//         └─ source      one Redis server (source.h)
//              asks      what is read when, and how much at once (paging)
//              answers   replies and pushes
//              trouble   errors instead of data
//              hot       what is waited for on the hotline
//              feed      one stream: what an answer says of it
//
// A tail is made and freed by the broker's thread; in between it runs on its own
// and takes letters.
#pragma once

#include "shared/config.h"
#include "shared/letter.h"
#include "shared/metrics.h"
#include "shared/pulse.h"

struct tail;

// Prepares a tail; tail_start starts its thread. NULL or false: *why says what failed
// (a sentence to be freed), and the process is to end.
// Its rows of metrics are added to `rows`.
struct tail *tail_new(const struct config *config, struct pulse *pulse, struct metric_rows *rows,
                      char **why);
bool tail_start(struct tail *t, char **why);
struct mailbox *tail_mailbox(struct tail *t);
void tail_stop(struct tail *t); // waits for the thread's end, and frees; the workers have ended
