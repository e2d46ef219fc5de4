// Who comes from where: how many clients each address has, and how many bad tokens
// it has sent lately. Shared by the workers, under one lock, which is taken when a
// client comes or goes and never when an event does.
#pragma once

#include <netinet/in.h>
#include <pthread.h>

#include "base/list.h"
#include "base/table.h"

struct visitor; // an address that something is known of

struct door {
    pthread_mutex_t lock;
    struct table visitors; // by address
    struct list strangers; // those with nothing open, oldest first; at most STRANGERS_MAX
    size_t stranger_count;
};

void door_init(struct door *d);
void door_done(struct door *d);

// The address that a request counts for: the peer's, or with `hops` trusted proxies
// the entry that the outermost of them wrote: the hops-th from the right of all
// X-Forwarded-For. A request with fewer entries did not come through them all: it
// counts for the left-most, or the peer. IPv4 is mapped into IPv6; an IPv6 address
// counts by its /64, which is what one household or host has.
struct in6_addr door_address(int fd, struct view forwarded_for, int64_t hops);

bool door_is_loopback(int fd); // does the peer call from this machine?

// For people: "192.0.2.7", "2001:db8:1:2::/64".
#define DOOR_ADDRESS_MAX (INET6_ADDRSTRLEN + 3)
void door_show_address(const struct in6_addr *address, char out[DOOR_ADDRESS_MAX]);

// A client of that address; NULL when it has max already. door_leave gives it back.
struct visitor *door_enter(struct door *d, struct in6_addr address, int64_t max);
void door_leave(struct door *d, struct visitor *v);

// A bad token. Each address may send a few; then what it gets is to be slowed down:
// DOOR_SLOW, and with too many of those under way DOOR_SHUT. A slow one is ended
// with door_slow_done.
enum door_verdict { DOOR_OPEN, DOOR_SLOW, DOOR_SHUT };
enum door_verdict door_bad_token(struct door *d, struct in6_addr address, int64_t now_ms);
// The same in-band, from a client that is in: nothing is held back, so that none is slow.
enum door_verdict door_bad_token_of(struct door *d, struct visitor *v, int64_t now_ms);
void door_slow_done(struct door *d, struct in6_addr address);
