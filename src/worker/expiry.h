// Tokens that end while their clients stay (BOND_EXPIRE_LIVE): `expiring`, 4001, and the
// in-band message that renews one.
#pragma once

#include "worker/client.h"

#define AUTH_MAX (4 * KIB) // of a message that may renew a token

// Its token may end before we look at it again this way, so from now on each second counts.
void expiry_watch(struct client *c);
void expiry_look(struct client *c, int64_t now_ms); // of those that are watched; Unix time

// Whether its text messages are looked into at all.
static inline bool expiry_may_renew(const struct client *c)
{
    return c->expiry_s && client_tells(c) && !client_is_sse(c);
}

// {"type":"auth","token":T}: T takes the old token's place. The answer is `expiring`, with
// the time that is left then, whether T was taken or not. A client that sends one after
// the other, or whose address guesses, is closed with 1008.
void expiry_take_message(struct client *c, struct view message);
