// The rest of what the broker asks of its system, answered by the world: threads and locks,
// signals, clocks, chance, limits, the environment, and zlib's memory.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <zlib.h>

#include "process.h"

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_sigwait(const sigset_t *set, int *number);
int __wrap_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
ssize_t __wrap_getrandom(void *at, size_t len, unsigned flags);
int __wrap_getrlimit(int resource, struct rlimit *limit);
int __wrap_setrlimit(int resource, const struct rlimit *limit);
char *__wrap_getenv(const char *name);
int __wrap_prctl(int option, ...);
int __wrap_deflateInit2_(z_streamp z, int level, int method, int bits, int memory, int strategy,
                         const char *version, int size);
int __wrap_inflateInit2_(z_streamp z, int bits, const char *version, int size);
int __real_deflateInit2_(z_streamp z, int level, int method, int bits, int memory, int strategy,
                         const char *version, int size);
int __real_inflateInit2_(z_streamp z, int bits, const char *version, int size);
int __real_clock_gettime(clockid_t id, struct timespec *t);
char *__real_getenv(const char *name);

// ---- threads ------------------------------------------------------------------------------

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    (void)attr;
    *thread = (pthread_t)(uintptr_t)thread_begin(process_now(), run, arg);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    struct thread *t = thread_now();
    (void)result;
    t->joined = (struct thread *)(uintptr_t)thread; // NOLINT: a handle is what we say it is
    t->state = THREAD_JOINS;
    fiber_leave();
    t->state = THREAD_RUNS;
    return 0;
}

// A lock is never held where a thread waits, so that who comes finds it free. Just before
// is where another thread may come first.
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    (void)m;
    if (rng_chance(&world->rng, world->preempt))
        fiber_leave();
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    (void)m;
    return 0;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
    (void)m, (void)attr;
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *m)
{
    (void)m;
    return 0;
}

// ---- signals ------------------------------------------------------------------------------

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how, (void)set, (void)old;
    return 0;
}

static int take_signal(void)
{
    struct process *p = process_now();
    for (int number = 1; number < 31; number++) {
        if (p->signals & (1 << number)) {
            p->signals &= ~(1 << number);
            return number;
        }
    }
    return 0;
}

static int await_signal(int64_t until_us)
{
    struct thread *t = thread_now();
    t->state = THREAD_AWAITS_SIGNAL;
    t->wake_us = until_us;
    fiber_leave();
    t->state = THREAD_RUNS;
    return take_signal();
}

int __wrap_sigwait(const sigset_t *set, int *number)
{
    (void)set;
    *number = await_signal(INT64_MAX);
    return 0;
}

int __wrap_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    (void)set, (void)info;
    int64_t us = (int64_t)timeout->tv_sec * 1000000 + timeout->tv_nsec / 1000;
    int number = await_signal(world->now_us + us);
    if (number > 0)
        return number;
    errno = EAGAIN;
    return -1;
}

// ---- clocks and chance --------------------------------------------------------------------

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    if (world == NULL)
        return __real_clock_gettime(id, t);
    int64_t us = id == CLOCK_REALTIME ? world_wall_us() : world->now_us;
    *t = (struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    return 0;
}

ssize_t __wrap_getrandom(void *at, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)at)[i] = (uint8_t)rng_next(&world->rng);
    return (ssize_t)len;
}

// ---- limits and settings ------------------------------------------------------------------

int __wrap_getrlimit(int resource, struct rlimit *limit)
{
    (void)resource;
    limit->rlim_cur = limit->rlim_max = (rlim_t)process_now()->fd_limit;
    return 0;
}

int __wrap_setrlimit(int resource, const struct rlimit *limit)
{
    (void)resource, (void)limit;
    return 0;
}

char *__wrap_getenv(const char *name)
{
    if (world == NULL)
        return __real_getenv(name);
    const char *value = process_setting(process_now(), name);
    return (char *)(uintptr_t)value;
}

int __wrap_prctl(int option, ...)
{
    (void)option; // a thread's name
    return 0;
}

// ---- zlib's memory ------------------------------------------------------------------------
//
// Else it would come from the library's own malloc, and a broker that is killed would leave it.

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return calloc(count, size);
}

static void zlib_free(void *opaque, void *at)
{
    (void)opaque;
    free(at);
}

int __wrap_deflateInit2_(z_streamp z, int level, int method, int bits, int memory, int strategy,
                         const char *version, int size)
{
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    return __real_deflateInit2_(z, level, method, bits, memory, strategy, version, size);
}

int __wrap_inflateInit2_(z_streamp z, int bits, const char *version, int size)
{
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    return __real_inflateInit2_(z, bits, version, size);
}
