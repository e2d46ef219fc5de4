// The open-loop publisher: each event has a time at which it is due, and is
// published then whether or not the last one has arrived anywhere. If we are late,
// the stamp still says when it was due, so a server that stalls us is charged for
// the wait (no coordinated omission).
//
// XADD goes out pipelined over one connection, a burst's commands as enum burst_writes
// says; HTTP POST waits for each answer.
#pragma once

#include "board.h"
#include "wire/resp.h"

struct publisher {
    const struct options *o;
    int fd;
    struct buffer out, in;
    char *event;
    uint64_t sent, answered, errors;
    struct histogram *lag; // by how much we were late, ns
};

bool publisher_open(struct publisher *p, const struct options *o); // false: it has said why
// The events first .. first + count - 1, from start_ns on at the options' pace.
// False: the connection is gone.
bool publisher_run(struct publisher *p, uint64_t first, uint64_t count, int64_t start_ns);
// The same as fast as it goes.
bool publisher_fill(struct publisher *p, uint64_t first, uint64_t count);

// A connected TCP socket, TCP_NODELAY; -1: it has said why.
int dial(const char *host, int port);
