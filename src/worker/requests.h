// HTTP requests of a client: read, answered one after another as long as the replies
// leave, held back when its address guesses tokens.
#pragma once

#include "worker/admission.h"
#include "worker/client.h"

// Answers the requests that have come whole.
void requests_take(struct client *c);

// For `answer` (struct clients).

struct buffer *client_reply(struct client *c); // whole replies are appended here
// The reply there is waits a second, and the connection ends with it.
void client_hold(struct client *c, struct in6_addr address);
void client_shut(struct client *c, const char *why); // ends it now, without a reply

// Deadlines: of who is held, and of who sends no request.
void requests_hold_due(struct deadline *d);
void requests_head_due(struct deadline *d);
