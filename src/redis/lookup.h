// One host name, looked up on a thread of its own: getaddrinfo(3) blocks for as long as the
// resolver likes, and no thread of ours has so much time.
//
//   owner   lookup_start ─── waits for lookup_fd ─── lookup_take ─── lookup_drop
//   thread        └─ getaddrinfo … ended ─ wakes ─┘
//
// Both hold the lookup, and the last to let go frees it: an owner that has lost interest
// drops it at once, and a thread that hangs in the resolver keeps no one. All functions are
// the owner's, on its one thread.
#pragma once

#include <netdb.h>

#include "base/base.h"

// As getaddrinfo(3). It is called on the thread and may block.
typedef int lookup_resolver(const char *host, const char *service, const struct addrinfo *hints,
                            struct addrinfo **found);

struct lookup;
struct lookup *lookup_start(lookup_resolver *resolver, const char *host, int port); // NULL: errno
int lookup_fd(const struct lookup *k); // can be read (EPOLLIN) once the lookup has ended
bool lookup_ended(const struct lookup *k);
// Once it has ended: NULL, and the addresses, now the caller's (freeaddrinfo); or why not.
const char *lookup_take(struct lookup *k, struct addrinfo **found);
void lookup_drop(struct lookup *k); // at any time

// The same without a thread, for what is an address already. False: it is none.
bool lookup_numeric(const char *host, int port, struct addrinfo **found);
