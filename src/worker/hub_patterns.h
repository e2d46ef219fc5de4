// Patterns of a client of many streams: it subscribes to them, is handed the streams that are
// found, one seat each, and they end with the pattern.
//
// All that may be much is done in slices, once a turn of the worker and for all its clients
// together: 10,000 streams that a thousand clients are to have are handed out while everything
// else goes on. A client whose answers do not leave waits (hub->stalled).
#pragma once

#include "worker/hub_answer.h"

#define PATTERN_ANSWER_MS 1000 // then `subscribed` is said though nothing was heard of Redis

// Carries out one item of a command.
void hub_subscribe_pattern(struct client *c, const struct answer_to *to,
                           const struct subscribe_options *o, const struct wish *wish);
void hub_unsubscribe_pattern(struct client *c, const struct answer_to *to);

// Once a turn: hands out what was found, and ends what is to end. True: there is more to do.
bool hub_patterns_turn(struct clients *all);
void hub_patterns_wake(struct client *c); // what was to be said may have left
void hub_pattern_join_due(struct deadline *d);

// Live expiry, now_ms being Unix time. The token of `o` takes the place of those of the
// patterns that it covers: how many?
void hub_patterns_look_at_expiry(struct client *c, int64_t now_ms);
size_t hub_patterns_renew(struct client *c, const struct subscribe_options *o);
