#include "shared/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static int64_t started_ms;
static size_t fds_at_start;

void process_begin(void)
{
    started_ms = clock_wall_ms();
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return;
    fds_at_start = 0;
    for (const struct dirent *e; (e = readdir(d));)
        fds_at_start += e->d_name[0] != '.';
    closedir(d);
}

static int64_t cpu_us(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// "size resident shared …", in pages.
static void look_at_memory(struct process_figures *p)
{
    char text[128];
    unsigned long long size, resident;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = '\0';
    if (sscanf(text, "%llu %llu", &size, &resident) != 2)
        return;
    p->virtual_bytes = (size_t)size * (size_t)sysconf(_SC_PAGESIZE);
    p->resident_bytes = (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

// Since Linux 6.2 the size of that directory is how many descriptors are open.
static size_t open_fds(size_t connections)
{
    struct stat s;
    if (stat("/proc/self/fd", &s) == 0 && s.st_size > 0)
        return (size_t)s.st_size;
    return fds_at_start + connections;
}

struct process_figures process_look(size_t connections)
{
    struct rlimit limit = { 0 };
    struct process_figures p = { .cpu_us = cpu_us(), .started_ms = started_ms };
    look_at_memory(&p);
    p.open_fds = open_fds(connections);
    getrlimit(RLIMIT_NOFILE, &limit);
    p.max_fds = (size_t)limit.rlim_cur;
    return p;
}
