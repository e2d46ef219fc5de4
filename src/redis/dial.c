#include "redis/dial.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

static void close_socket(struct dial *d)
{
    if (d->fd >= 0) {
        loop_unwatch(d->options.loop, d->fd);
        close(d->fd);
    }
    d->fd = -1;
}

static void stop_resolving(struct dial *d)
{
    if (d->is_resolving)
        loop_unwatch(d->options.loop, lookup_fd(d->lookup));
    d->is_resolving = false;
}

static void drop_lookup(struct dial *d)
{
    if (d->lookup)
        lookup_drop(d->lookup);
    d->lookup = NULL;
}

void dial_stop(struct dial *d)
{
    stop_resolving(d);
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
static bool connect_to(struct dial *d, const struct sockaddr *to, socklen_t len)
{
    d->due_ms = d->options.loop->now_ms + d->options.timeout_ms;
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

static enum dial_result try_address(struct dial *d)
{
    int error = ETIMEDOUT;
    for (; d->address; d->address = d->address->ai_next) {
        if (connect_to(d, d->address->ai_addr, d->address->ai_addrlen))
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

// ---- the host's name --------------------------------------------------------

static enum dial_result resolved(struct dial *d)
{
    const char *why = lookup_take(d->lookup, &d->addresses);
    stop_resolving(d);
    drop_lookup(d);
    if (why)
        return fail(d, "cannot resolve the host name: %s", why);
    d->address = d->addresses;
    return try_address(d);
}

static enum dial_result resolve(struct dial *d, const char *host, int port)
{
    lookup_resolver *resolver = d->options.resolver ? d->options.resolver : getaddrinfo;
    if (!d->lookup)
        d->lookup = lookup_start(resolver, host, port);
    if (!d->lookup || !loop_watch(d->options.loop, lookup_fd(d->lookup), d->options.watch, EPOLLIN))
        return fail(d, "cannot resolve the host name: %s", strerror(errno));
    d->is_resolving = true;
    d->due_ms = d->options.loop->now_ms + d->options.timeout_ms;
    return DIAL_MORE;
}

// Of a lookup that came too late for the last attempt, a good answer is taken: a resolver
// that is slower than our patience must not keep us away for ever. A bad one is not.
static bool late_answer(struct dial *d)
{
    if (!d->lookup || !lookup_ended(d->lookup))
        return false;
    bool is_good = lookup_take(d->lookup, &d->addresses) == NULL;
    drop_lookup(d);
    return is_good;
}

enum dial_result dial_host(struct dial *d, const char *host, int port)
{
    if (!lookup_numeric(host, port, &d->addresses) && !late_answer(d))
        return resolve(d, host, port);
    d->address = d->addresses;
    return try_address(d);
}

// ---- the steps --------------------------------------------------------------

enum dial_result dial_address(struct dial *d, const struct sockaddr *to, socklen_t len)
{
    if (connect_to(d, to, len))
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
    if (d->is_resolving)
        return lookup_ended(d->lookup) ? resolved(d) : DIAL_MORE;
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return DIAL_MORE;
    CHECK(getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    return error ? try_next_address(d, error) : DIAL_UP;
}

enum dial_result dial_late(struct dial *d)
{
    if (d->is_resolving)
        return fail(d, "cannot resolve the host name: no answer in %" PRId64 " ms",
                    d->options.timeout_ms);
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

void dial_done(struct dial *d)
{
    dial_stop(d);
    drop_lookup(d);
}
