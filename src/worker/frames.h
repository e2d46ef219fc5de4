// What an OPEN WebSocket client sends: control frames, and messages, which mean nothing but
// for a renewed token. On the worker's thread.
#pragma once

#include "worker/client.h"

// Reads at[0..len), which may be changed. What is left when the client has to wait, for it
// makes us unfold too much, is kept and read later.
void frames_take(struct client *c, char *at, size_t len);

// It has made us do more than is paid for yet, or its last command is not carried out yet.
bool frames_have_to_wait(const struct client *c);

// Deadlines: a ping or comment is due; no pong came.
void frames_ping_due(struct deadline *d);
void frames_pong_due(struct deadline *d);
