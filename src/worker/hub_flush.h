// Writes to a client of many streams. A write is, in this order,
//
//   | rest of the event under way | outbox | events of one seat | of the next | …
//
// Each ready seat gives whole events, as many as its share of FLUSH_BYTES_MAX holds and one
// at least, so a busy stream does not starve the others, and what is due on all of them
// leaves together. Only the last event of a write can be cut short: its seat is the hub's
// current one then, and goes first next time.
#pragma once

#include "worker/client.h"

// What is due to all its seats, as client_flush does for a client of one stream.
void hub_flush(struct client *c);

// `unsubscribed` of the seats that have ended, while less than `most` bytes wait.
void hub_say_endings(struct client *c, size_t most);
