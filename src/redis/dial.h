// From where Redis is (a host name, a unix socket, the address of another connection) to
// a socket that is connected. A host may have several addresses: they are tried in order,
// and the last one's error is the attempt's.
//
//   dial_host, dial_unix, dial_address ──▶ DIAL_MORE ──▶ DIAL_UP: dial_take
//                                           │  ▲  │
//                             dial_ready, dial_late └──▶ DIAL_FAILED
//
// It belongs to its loop's thread and never blocks it: a name is looked up on a thread of
// its own (lookup.h), of which there is one at most. One that hangs outlives its attempt;
// the next attempt waits for it instead of starting another, and takes its answer if that
// came too late for the attempt before.
#pragma once

#include "base/loop.h"
#include "redis/lookup.h"

#define DIAL_WHY_MAX 160

enum dial_result {
    DIAL_MORE,   // dial_ready is to be called when the watch is ready, dial_late at due_ms
    DIAL_UP,     // dial_take gives the socket
    DIAL_FAILED, // `why` is a sentence; nothing is watched or open
};

struct dial_options {
    struct loop *loop;
    struct watch *watch;       // the owner's: what is waited for is watched with it
    int64_t timeout_ms;        // for the name, then for each address
    lookup_resolver *resolver; // NULL: getaddrinfo
};

// The owner reads the last two; all else is dial's own.
struct dial {
    struct dial_options options;
    struct lookup *lookup;                // NULL: none is under way, or has ended unheard
    bool is_resolving;                    // this attempt waits for it
    int fd;                               // the socket; -1: none
    struct addrinfo *addresses, *address; // all, and the one that is tried
    int64_t due_ms;                       // monotonic; of the socket, too, that came up
    char why[DIAL_WHY_MAX];               // after DIAL_FAILED
};

void dial_init(struct dial *d, const struct dial_options *options);
void dial_done(struct dial *d); // as dial_stop, and a lookup that is under way is left alone

// Begin: one of these, when nothing is being dialled. The host is the same each time.
enum dial_result dial_host(struct dial *d, const char *host, int port);
enum dial_result dial_unix(struct dial *d, const char *path);
enum dial_result dial_address(struct dial *d, const struct sockaddr *to, socklen_t len);

enum dial_result dial_ready(struct dial *d, uint32_t events); // the watch is ready
enum dial_result dial_late(struct dial *d);                   // due_ms has passed
// After DIAL_UP: the socket, now the caller's. It is watched for EPOLLIN and EPOLLOUT.
int dial_take(struct dial *d);
void dial_stop(struct dial *d); // in any state; nothing is watched or open afterwards
