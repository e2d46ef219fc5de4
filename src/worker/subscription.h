// How a client comes to its place in a stream: it waits for the stream to be primed, then
// its cursor is set, and what it is told first is put into its outbox.
#pragma once

#include "worker/admission.h"
#include "worker/client.h"

// Follows the stream that `a` names; what goes first to the client is `handshake`
// (ROUTE_WS, ROUTE_SSE) or header lines of a history's reply. Takes over visitor.
void subscription_join(struct client *c, const struct admission *a, struct view handshake,
                       struct visitor *visitor);

// The stream is primed: the cursor is set, or the history begins. It may turn out that
// Redis has to be asked once more first.
void subscription_begin(struct client *c);

// The client comes in before the stream's place is known, and waits inside; what is published
// from now on it will get, by the time of the events. The caller flushes it.
void subscription_let_in_to_wait(struct client *c);
// No stream comes of it, and there is no place to say so but the reply.
void subscription_refuse(struct client *c, const char *why);
// The stream cannot be followed: each client of it is told, and closed.
void subscription_fail(struct client *c, int close_code, struct view reason);
// Redis did not answer in time (JOIN_MS).
void subscription_join_due(struct deadline *d);

// Is Redis readable? If not, all streams count as stale until they are read again.
void subscription_look_at_pulse(struct clients *all);
