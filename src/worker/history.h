// A history on its way to a client: an excerpt of its stream's raw log, made as the
// client reads it and never kept whole.
#pragma once

#include "worker/client.h"

// The stream is primed: answers the request that waited for it.
void history_start(struct client *c);
// The next piece, when the last one has left. At the end the client has its connection
// back for another request, or it is closed.
void history_continue(struct client *c);
// What lies before first_seq leaves the log: it goes on behind it, and is not complete.
void history_skip_to(struct client *c, uint64_t first_seq);
