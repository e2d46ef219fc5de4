// What the broker tells one client of itself, besides the events that all hear: `hello`,
// `live`, its own gaps, `source`, `expiring`. Each goes into the client's outbox, in its
// stream's form; the caller sees to it that the outbox is between two frames.
#pragma once

#include "worker/client.h"

// `hello`: the window as it is now begins at window_ms, Redis's clock.
void tell_hello(struct client *c, int64_t window_ms);
void tell_gap(struct client *c, const struct gap *gap);
void tell_source(struct client *c); // stale or ok, as its stream is
void tell_live(struct client *c);   // all that there was when it came has been sent
void tell_expiring(struct client *c);
void tell_closing(struct client *c, int code, struct view reason, int64_t reconnect_ms);

// `stale` is due at once, `ok` when the client has had what it missed.
bool tell_source_is_due(const struct client *c);
bool tell_live_is_due(const struct client *c);

// Where the client is: to resume from here loses nothing. 0-0: it is nowhere yet.
struct eventid tell_last_id(const struct client *c);
