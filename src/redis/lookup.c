#include "redis/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SERVICE_MAX 8

struct lookup {
    atomic_int holders; // the owner and the thread
    atomic_bool ended;  // the thread has written what follows `event_fd`, and only reads now
    lookup_resolver *resolver;
    char *host;
    char service[SERVICE_MAX];
    int event_fd;
    int error, error_number; // getaddrinfo's, and errno where that is EAI_SYSTEM
    struct addrinfo *found;
};

static void let_go(struct lookup *k)
{
    if (atomic_fetch_sub(&k->holders, 1) > 1)
        return;
    if (k->found)
        freeaddrinfo(k->found);
    close(k->event_fd);
    free(k->host);
    free(k);
}

static int resolve(lookup_resolver *resolver, const char *host, const char *service, int flags,
                   struct addrinfo **found)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV | flags };
    *found = NULL;
    return resolver(host, service, &hints, found);
}

static void *run(void *arg)
{
    struct lookup *k = arg;
    const uint64_t one = 1;
    prctl(PR_SET_NAME, "bond-lookup");
    k->error = resolve(k->resolver, k->host, k->service, 0, &k->found);
    k->error_number = errno;
    atomic_store(&k->ended, true);
    CHECK(write(k->event_fd, &one, sizeof(one)) == sizeof(one));
    let_go(k);
    return NULL;
}

// Nobody waits for the thread's end. It inherits the mask of signals, as all threads do.
static bool start_thread(struct lookup *k)
{
    pthread_attr_t attr;
    pthread_t thread;
    CHECK(pthread_attr_init(&attr) == 0);
    CHECK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0);
    int error = pthread_create(&thread, &attr, run, k);
    pthread_attr_destroy(&attr);
    errno = error;
    return error == 0;
}

struct lookup *lookup_start(lookup_resolver *resolver, const char *host, int port)
{
    int event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_fd < 0)
        return NULL;
    struct lookup *k = must_alloc(sizeof(*k));
    *k = (struct lookup){ .holders = 2, .resolver = resolver, .event_fd = event_fd };
    snprintf(k->service, sizeof(k->service), "%d", port);
    k->host = strdup(host);
    CHECK(k->host != NULL);
    if (start_thread(k))
        return k;
    int error = errno;
    k->holders = 1;
    let_go(k);
    errno = error;
    return NULL;
}

int lookup_fd(const struct lookup *k)
{
    return k->event_fd;
}

bool lookup_ended(const struct lookup *k)
{
    return atomic_load(&k->ended);
}

const char *lookup_take(struct lookup *k, struct addrinfo **found)
{
    CHECK(lookup_ended(k));
    if (k->error)
        return k->error == EAI_SYSTEM ? strerror(k->error_number) : gai_strerror(k->error);
    *found = k->found;
    k->found = NULL;
    return NULL;
}

void lookup_drop(struct lookup *k)
{
    let_go(k);
}

bool lookup_numeric(const char *host, int port, struct addrinfo **found)
{
    char service[SERVICE_MAX];
    snprintf(service, sizeof(service), "%d", port);
    return resolve(getaddrinfo, host, service, AI_NUMERICHOST, found) == 0;
}
