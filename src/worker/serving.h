// One connection's turn: what its socket brings and takes, and what follows from that.
#pragma once

#include "worker/client.h"

void serving_ready(struct watch *w, uint32_t events); // what epoll says
// What follows when a client has been served, in whatever way: it may end by that.
void serving_follow_up(struct client *c);

// Sends a client of a stream what is due; and those with something to send on any of many
// streams, once, for all of them.
void serving_flush(struct client *c);
void serving_flush_hubs(struct clients *all);
