// What the kernel says about a process: its CPU time and its memory. And the clock
// and the waiting that a steady pace needs.
#pragma once

#include <sys/types.h>

#include "base/base.h"

#define NS_PER_S INT64_C(1000000000)
#define PROBE_PIDS_MAX 16

// The processes of one server.
struct probe {
    pid_t pids[PROBE_PIDS_MAX];
    size_t count;
};

void probe_add(struct probe *p, pid_t pid);
// CPU time of all threads, user and system, past threads included, to the
// nanosecond: the processes' own CPU clocks (clock_getcpuclockid(3)). The kernel
// charges network work to whoever runs while it is done: on loopback, the sender.
int64_t probe_cpu_ns(const struct probe *p);
// Proportional set size in bytes (/proc/PID/smaps_rollup); 0 where it cannot be read.
int64_t probe_pss(const struct probe *p);

int64_t clock_ns(void);          // monotonic, the same for all processes
void sleep_until(int64_t at_ns); // on that clock
void sleep_exactly(void);        // this thread's sleeps end on time, not 50 us later
void stay_on_cpu(int cpu);       // below 0: anywhere
