#include "probe.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

void probe_add(struct probe *p, pid_t pid)
{
    CHECK(p->count < PROBE_PIDS_MAX);
    p->pids[p->count++] = pid;
}

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        return 0;
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t probe_cpu_ns(const struct probe *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->count; i++) {
        clockid_t id;
        if (clock_getcpuclockid(p->pids[i], &id) == 0)
            sum += read_clock(id);
    }
    return sum;
}

int64_t probe_pss(const struct probe *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->count; i++) {
        char path[64], line[256];
        long long kib;
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)p->pids[i]);
        FILE *f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
            if (sscanf(line, "Pss: %lld kB", &kib) == 1)
                sum += kib * (int64_t)KIB;
        if (f)
            fclose(f);
    }
    return sum;
}

int64_t clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

void sleep_until(int64_t at_ns)
{
    const struct timespec t = { .tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

void sleep_exactly(void)
{
    prctl(PR_SET_TIMERSLACK, 1);
}

void stay_on_cpu(int cpu)
{
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fprintf(stderr, "bond-bench: cannot stay on processor %d: %s\n", cpu, strerror(errno));
}
