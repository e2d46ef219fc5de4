// One GET from the broker that these settings start, on this machine: for commands that ask it
// how it is. Blocking, and bounded in time and size.
#pragma once

#include "shared/config.h"

#define FETCH_TIMEOUT_MS 3000
#define FETCH_BODY_MAX (4 * MIB)

struct fetched {
    int status; // 0: nothing answered; `why` says so
    struct buffer body;
    char why[160];
};

// `to` what the broker at host:port answers at that path, with a further header line (and its
// CRLF) or "". fetched_done in any case.
void fetch(const char *host, int port, const char *path, const char *header, struct fetched *to);
void fetch_from_config(const struct config *c, const char *path, struct fetched *to);
void fetched_done(struct fetched *f);
// The same of what it tells operators alone: where it does, with the admin token.
void fetch_for_operators(const struct config *c, const char *path, struct fetched *to);
// Where the broker of these settings is reached from here: any address is 127.0.0.1.
const char *fetch_host(const struct config *c);
