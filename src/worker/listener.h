// Listening sockets, and what a client's socket is made like.
#pragma once

#include "base/base.h"

struct listener_options {
    const char *host;    // an address, or a name that getaddrinfo(3) resolves
    int port;            // 0: any free one
    const char *setting; // how the settings of both begin: "BOND_"
    bool sole; // refuse an address that somebody listens on, though SO_REUSEPORT would share it
    int64_t user_timeout_ms; // a peer that acknowledges nothing for so long is gone
};

// A non-blocking listening socket, with SO_REUSEPORT so that each worker may have
// its own on one address, and with the options that accepted sockets inherit
// (Linux clones them): TCP_NODELAY, TCP_NOTSENT_LOWAT, TCP_USER_TIMEOUT.
// -1: *why is a sentence to be freed.
int listener_open(const struct listener_options *options, char **why);
int listener_port(int fd); // the port that it is bound to

// Is `host`, as given, an address that only this machine can reach?
bool listener_is_loopback(const char *host);
