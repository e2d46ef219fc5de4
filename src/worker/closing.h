// How connections end: behind whatever frame is under way, with a goodbye where the
// client's format has one, and a close frame.
#pragma once

#include "worker/client.h"

#define RECONNECT_MIN_MS 100

// Ends an OPEN client; nothing for another. The peer answers, or is cut when it makes no
// progress for BOND_PONG_SECONDS. reconnect_ms: when it is to come back; -1: no goodbye.
void close_open(struct client *c, int code, struct view reason, int64_t reconnect_ms,
                const char *why);
// The same, to come back at a random time, so that a new broker is not hit by all at once.
void close_with(struct client *c, int code, struct view reason, const char *why);
void close_for_drain(struct client *c);
void close_behind(struct client *c, const struct gap *gap);

// What the outbox has by now is all: the connection ends behind it.
void close_reply(struct client *c, const char *why);

// The log drops what lies before first_seq. A client that has not had all of it is
// closed, or goes on behind it (slow=skip); one that missed nothing goes on in any case.
void close_or_skip(struct client *c, uint64_t first_seq);
