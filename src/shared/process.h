// What the system says of this process: the standard process_* metrics. Any thread. Each look
// takes a few system calls, however many descriptors are open.
#pragma once

#include "base/base.h"

struct process_figures {
    int64_t cpu_us; // of all threads, user and system
    size_t resident_bytes, virtual_bytes;
    size_t open_fds, max_fds;
    int64_t started_ms; // Unix time
};

// Before the threads start: when it was, and how many descriptors there are besides
// connections.
void process_begin(void);
// connections: how many of its descriptors are those, for a kernel that does not say how many
// are open (before Linux 6.2; counting them takes longer than a scrape may).
struct process_figures process_look(size_t connections);
