// All the connections of one worker: what wakes them, what letters say to them, the turn in
// which they are written to, and the end of them all. On the worker's thread.
#pragma once

#include "shared/listing.h"
#include "worker/client.h"

void clients_init(struct clients *all);  // its first part is set
void clients_start(struct clients *all); // on the worker's thread
void clients_done(struct clients *all);  // closes all that are left, at once

// Takes over an accepted, non-blocking socket. False: memory or epoll is out; it
// is still the caller's. admin: it came by the listener for operators.
bool clients_add(struct clients *all, int fd, bool admin);

// Letters about a stream. They take over what the letter owns, and free it.
void clients_news(struct clients *all, struct news *news);
// The answer to a report's question.
void clients_listed(struct clients *all, struct listing *listing);
void clients_failure(struct clients *all, struct failure *failure);

// Once a turn: sends what is new to those who want it, closes who keeps too much, reaps
// the dead. True when some are not done and their sockets take more.
bool clients_flush(struct clients *all);

// No new clients; those there are get what is in the log, then 1001, spread over
// drain_ms. clients_left says how many are still to go.
void clients_drain(struct clients *all, int64_t drain_ms);
size_t clients_left(const struct clients *all);
