// The one place that writes to clients. A write is, in this order,
//
//   | rest of the frame under way | outbox | what the cursor has not seen … |
//
// so control frames and notices go between two frames, behind one that is under way. They
// are put into the outbox here, one batch at a time, when the one before has left: so a
// client that reads nothing makes us keep one of each kind at most.
#pragma once

#include "worker/client.h"

// Writes what is due, at most about FLUSH_BYTES_MAX, and leaves the client in the list
// that says what it waits for. It never frees the client, but may end it.
void client_flush(struct client *c);

// `source`, as its stream is now; nothing else is to be told of it until that changes.
void client_tell_source(struct client *c);
