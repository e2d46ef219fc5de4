#include "redis/dial.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static void close_socket(struct dial *d)
{
    if (d->fd >= 0) {
        loop_unwatch(d->options.loop, d->fd);
        close(d->fd);
    }
    d->fd = -1;
}

void dial_stop(struct dial *d)
{
    close_socket(d);
    if (d->addresses)
        freeaddrinfo(d->addresses);
    d->addresses = d->address = NULL;
}

static enum dial_result fail(struct dial *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static enum dial_result fail(struct dial *d, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->why, sizeof(d->why), fmt, args);
    va_end(args);
    dial_stop(d);
    return DIAL_FAILED;
}

// A socket that tells us soon when the other end is gone without a word.
static void set_tcp_options(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); // both are improvements,
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); // and all works without
}

// False: errno says why. The time of one address begins here.
static bool connect_to(struct dial *d, const struct sockaddr *to, socklen_t len, int64_t now_ms)
{
    d->due_ms = now_ms + d->options.timeout_ms;
    d->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return false;
    if (to->sa_family != AF_UNIX)
        set_tcp_options(d->fd);
    if (connect(d->fd, to, len) < 0 && errno != EINPROGRESS)
        return false;
    return loop_watch(d->options.loop, d->fd, d->options.watch, EPOLLIN | EPOLLOUT);
}

static enum dial_result cannot_connect(struct dial *d, int error)
{
    if (error == ETIMEDOUT)
        return fail(d, "cannot connect: no answer in %" PRId64 " ms", d->options.timeout_ms);
    return fail(d, "cannot connect: %s", strerror(error));
}

// Name resolution may have blocked for long, so that the loop's time is stale: a
// slow resolver must not eat the time that a connection is allowed.
static enum dial_result try_address(struct dial *d)
{
    int error = ETIMEDOUT;
    for (; d->address; d->address = d->address->ai_next) {
        if (connect_to(d, d->address->ai_addr, d->address->ai_addrlen, clock_mono_ms()))
            return DIAL_MORE;
        error = errno;
        close_socket(d);
    }
    return cannot_connect(d, error);
}

static enum dial_result try_next_address(struct dial *d, int error)
{
    if (!d->address || !d->address->ai_next)
        return cannot_connect(d, error);
    close_socket(d);
    d->address = d->address->ai_next;
    return try_address(d);
}

enum dial_result dial_host(struct dial *d, const char *host, int port)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    char service[8];
    snprintf(service, sizeof(service), "%d", port);

    int error = getaddrinfo(host, service, &hints, &d->addresses);
    if (error)
        return fail(d, "cannot resolve the host name: %s",
                    error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    d->address = d->addresses;
    return try_address(d);
}

enum dial_result dial_address(struct dial *d, const struct sockaddr *to, socklen_t len)
{
    if (connect_to(d, to, len, d->options.loop->now_ms))
        return DIAL_MORE;
    return cannot_connect(d, errno);
}

enum dial_result dial_unix(struct dial *d, const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(to.sun_path))
        return cannot_connect(d, ENAMETOOLONG);
    strcpy(to.sun_path, path);
    return dial_address(d, (const struct sockaddr *)&to, sizeof(to));
}

enum dial_result dial_ready(struct dial *d, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return DIAL_MORE;
    CHECK(getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    return error ? try_next_address(d, error) : DIAL_UP;
}

enum dial_result dial_late(struct dial *d)
{
    return try_next_address(d, ETIMEDOUT);
}

int dial_take(struct dial *d)
{
    int fd = d->fd;
    d->fd = -1;
    dial_stop(d); // the other addresses are not needed
    return fd;
}

void dial_init(struct dial *d, const struct dial_options *options)
{
    *d = (struct dial){ .options = *options, .fd = -1 };
}
