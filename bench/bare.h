// The floor: the least that a server could do, in a process of its own. It accepts,
// reads a request, answers it; then it sends ready-made frames to every socket in a
// plain loop, at the pace that it is told. No streams, no Redis, no event loop.
// What it costs is the kernel's price for the same bytes to the same readers.
#pragma once

#include "board.h"

// For the self-test: what is done to the event FAULT_NUMBER of the FAULT_CLIENT-th client.
#define FAULT_CLIENT 3
#define FAULT_NUMBER 7
enum fault {
    FAULT_NONE,
    FAULT_DROP,    // not sent
    FAULT_TWICE,   // sent twice
    FAULT_SWAP,    // sent after the next one
    FAULT_GARBLE,  // without its number
    FAULT_REFRAME, // with a header that no server may send
    FAULT_CLOSE,   // closed instead
};

struct bare {
    pid_t pid;
    int port;
    int orders, answers; // our ends of two pipes
};

// Forks. With o->replay nothing is paced: each client gets o->prefill events as soon
// as it has come, as fast as it takes them. False: it has said why.
bool bare_start(struct bare *b, const struct options *o, enum fault fault);
// As publisher_run: waits until the last has been sent. False: it is gone.
bool bare_run(struct bare *b, uint64_t first, uint64_t count, int64_t start_ns);
void bare_stop(struct bare *b);
