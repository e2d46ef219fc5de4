// The system calls that the broker makes, answered by the world (-Wl,--wrap=…; the list is in
// the Makefile): descriptors, epoll, sockets. Threads, clocks and the like are in system.c.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "file.h"
#include "process.h"

#define TURN_BYTES_MAX (6 * MIB) // that one turn may move in one direction of one connection

int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms);
int __wrap_eventfd(unsigned count, int flags);
ssize_t __wrap_read(int fd, void *at, size_t len);
ssize_t __wrap_write(int fd, const void *at, size_t len);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_socket(int family, int type, int protocol);
int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_listen(int fd, int backlog);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
ssize_t __wrap_recv(int fd, void *at, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *at, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_getsockopt(int fd, int level, int name, void *at, socklen_t *len);
int __wrap_setsockopt(int fd, int level, int name, const void *at, socklen_t len);
int __wrap_getsockname(int fd, struct sockaddr *at, socklen_t *len);
int __wrap_getpeername(int fd, struct sockaddr *at, socklen_t *len);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
void __wrap_freeaddrinfo(struct addrinfo *a);
ssize_t __real_write(int fd, const void *at, size_t len);

static struct file *file_used(int fd)
{
    world->calls++;
    thread_now()->turn_calls++;
    return file_of(fd);
}

// ---- epoll and eventfd ------------------------------------------------------------------

static int new_file(enum file_kind kind)
{
    struct file *f = file_new(process_now(), kind);
    return f ? f->fd : -1;
}

int __wrap_epoll_create1(int flags)
{
    (void)flags;
    return new_file(FILE_EPOLL);
}

int __wrap_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    struct file *epoll = file_used(epoll_fd), *f = file_of(fd);
    if (epoll == NULL || f == NULL)
        return -1;
    if ((op == EPOLL_CTL_ADD) == (f->epoll != NULL)) {
        errno = op == EPOLL_CTL_ADD ? EEXIST : ENOENT;
        return -1;
    }
    if (op == EPOLL_CTL_DEL) {
        f->epoll = NULL;
        list_remove(&f->in_ready);
        return 0;
    }
    f->epoll = epoll;
    f->interest = event->events;
    f->data = event->data.ptr;
    file_changed(f);
    return 0;
}

int __wrap_epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms)
{
    struct thread *t = thread_now();
    struct file *epoll = file_used(epoll_fd);
    CHECK(epoll != NULL);
    t->state = THREAD_POLLS;
    t->epoll = epoll;
    t->wake_us = timeout_ms < 0 ? INT64_MAX : world->now_us + (int64_t)timeout_ms * 1000;
    fiber_leave();
    t->state = THREAD_RUNS;
    if (rng_chance(&world->rng, world->eintr)) {
        errno = EINTR;
        return -1;
    }
    return epoll_collect(epoll, events, most);
}

int __wrap_eventfd(unsigned count, int flags)
{
    (void)count, (void)flags;
    return new_file(FILE_EVENT);
}

ssize_t __wrap_read(int fd, void *at, size_t len)
{
    struct file *f = file_used(fd);
    if (f == NULL)
        return -1;
    CHECK(f->kind == FILE_EVENT && len == sizeof(f->count));
    if (f->count == 0) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(at, &f->count, len);
    f->count = 0;
    return (ssize_t)len;
}

ssize_t __wrap_write(int fd, const void *at, size_t len)
{
    if (fd == STDERR_FILENO) {
        if (world && process_now() && world->tracing)
            trace_line("%s: %.*s", process_now()->name, (int)len - 1, (const char *)at);
        return world ? (ssize_t)len : __real_write(fd, at, len);
    }
    struct file *f = file_used(fd);
    if (f == NULL)
        return -1;
    CHECK(f->kind == FILE_EVENT && len == sizeof(f->count));
    f->count++;
    file_changed(f);
    return (ssize_t)len;
}

int __wrap_open(const char *path, int flags, ...)
{
    (void)flags;
    CHECK(strcmp(path, "/dev/null") == 0);
    return new_file(FILE_NULL);
}

int __wrap_close(int fd)
{
    struct file *f = file_used(fd);
    if (f == NULL) {
        world_fail("descriptor: %s closes %d, which is not open", process_now()->name, fd);
        return -1;
    }
    file_close(f);
    return 0;
}

// ---- sockets: making them -----------------------------------------------------------------

int __wrap_socket(int family, int type, int protocol)
{
    (void)family, (void)type, (void)protocol;
    return new_file(FILE_SOCKET);
}

static int port_of(const struct sockaddr *a)
{
    struct sockaddr_in in;
    memcpy(&in, a, sizeof(in));
    CHECK(in.sin_family == AF_INET);
    return ntohs(in.sin_port);
}

static void set_address(struct sockaddr *at, socklen_t *len, uint32_t host, int port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(host) };
    memcpy(at, &in, *len < sizeof(in) ? *len : sizeof(in));
    *len = sizeof(in);
}

int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len)
{
    struct file *f = file_used(fd);
    (void)len;
    if (f == NULL)
        return -1;
    f->port = port_of(to);
    return 0;
}

int __wrap_listen(int fd, int backlog)
{
    struct file *f = file_used(fd);
    (void)backlog;
    return f && file_listen(f) ? 0 : -1;
}

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    struct file *f = file_used(fd);
    (void)from, (void)len, (void)flags;
    return f ? file_accept(f) : -1;
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    struct file *f = file_used(fd);
    (void)len;
    if (f == NULL)
        return -1;
    file_attach(f, net_connect(port_of(to), NULL, NULL));
    errno = EINPROGRESS;
    return -1;
}

// ---- bytes -----------------------------------------------------------------------------------

// Nothing that one connection has may keep a thread busy for long.
static void count_bytes(struct end *e, size_t read, size_t written)
{
    struct thread *t = thread_now();
    if (e->turn != t->turn) {
        e->turn = t->turn;
        e->turn_read = e->turn_written = 0;
    }
    e->turn_read += read;
    e->turn_written += written;
    if (e->turn_read > TURN_BYTES_MAX || e->turn_written > TURN_BYTES_MAX)
        world_fail("work: %s moved %zu and %zu bytes of one connection in one turn",
                   process_now()->name, e->turn_read, e->turn_written);
}

// The end of a connected socket; NULL: errno says what a call answers.
static struct end *end_used(int fd)
{
    struct file *f = file_used(fd);
    if (f == NULL)
        return NULL;
    CHECK(f->kind == FILE_SOCKET);
    if (f->end == NULL || f->end->connecting) {
        errno = ENOTCONN;
        return NULL;
    }
    return f->end;
}

static size_t some_of(size_t len)
{
    return len > 1 && rng_chance(&world->rng, world->short_io) ? 1 + rng_below(&world->rng, len)
                                                               : len;
}

ssize_t __wrap_recv(int fd, void *at, size_t len, int flags)
{
    struct end *e = end_used(fd);
    (void)flags;
    if (e == NULL)
        return -1;
    size_t n = end_read(e, at, some_of(len));
    count_bytes(e, n, 0);
    if (n > 0)
        return (ssize_t)n;
    if (e->broken) {
        errno = e->error;
        e->error = 0; // it is told once; then there is only the end
        return errno ? -1 : 0;
    }
    if (end_at_end(e) || len == 0)
        return 0;
    errno = EAGAIN;
    return -1;
}

// False: it cannot be written, and errno says why.
static bool may_write(struct end *e)
{
    if (e->broken || end_other(e)->in.ends) {
        errno = e->broken && e->error ? e->error : EPIPE;
        e->error = 0;
        return false;
    }
    if (end_room(e) == 0) {
        errno = EAGAIN;
        return false;
    }
    return true;
}

ssize_t __wrap_send(int fd, const void *at, size_t len, int flags)
{
    struct end *e = end_used(fd);
    CHECK(flags & MSG_NOSIGNAL);
    if (e == NULL || !may_write(e))
        return -1;
    size_t n = end_write(e, at, some_of(len));
    count_bytes(e, 0, n);
    return (ssize_t)n;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct end *e = end_used(fd);
    size_t len = 0, done = 0;
    CHECK(flags & MSG_NOSIGNAL);
    if (e == NULL || !may_write(e))
        return -1;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        len += message->msg_iov[i].iov_len;
    len = some_of(len);
    for (size_t i = 0; i < message->msg_iovlen && done < len; i++) {
        size_t want = message->msg_iov[i].iov_len;
        want = want < len - done ? want : len - done;
        size_t n = end_write(e, message->msg_iov[i].iov_base, want);
        done += n;
        if (n < want)
            break;
    }
    count_bytes(e, 0, done);
    return (ssize_t)done;
}

int __wrap_shutdown(int fd, int how)
{
    struct end *e = end_used(fd);
    CHECK(how == SHUT_WR);
    if (e == NULL)
        return -1;
    end_shut(e);
    return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    struct end *e = end_used(fd);
    va_list args;
    va_start(args, request);
    int *queued = va_arg(args, int *);
    va_end(args);
    CHECK(request == TIOCOUTQ); // SIOCOUTQ
    if (e == NULL)
        return -1;
    *queued = (int)end_unsent(e);
    return 0;
}

// ---- options and names --------------------------------------------------------------------

int __wrap_getsockopt(int fd, int level, int name, void *at, socklen_t *len)
{
    struct file *f = file_used(fd);
    CHECK(level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int));
    if (f == NULL || f->end == NULL)
        return -1;
    memcpy(at, &f->end->error, sizeof(int));
    f->end->error = 0;
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *at, socklen_t len)
{
    struct file *f = file_used(fd);
    int value = 0;
    if (f == NULL)
        return -1;
    memcpy(&value, at, len < sizeof(value) ? len : sizeof(value));
    if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT)
        f->user_timeout_us = (int64_t)value * 1000;
    return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *at, socklen_t *len)
{
    struct file *f = file_used(fd);
    if (f == NULL)
        return -1;
    set_address(at, len, INADDR_LOOPBACK, f->port);
    return 0;
}

int __wrap_getpeername(int fd, struct sockaddr *at, socklen_t *len)
{
    struct end *e = end_used(fd);
    if (e == NULL)
        return -1;
    set_address(at, len, INADDR_LOOPBACK, e->port);
    return 0;
}

// Addresses only: a resolver would block, and has no place here yet.
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in in;
    } *a = calloc(1, sizeof(*a));
    (void)host, (void)hints;
    CHECK(a != NULL);
    a->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };
    a->info = (struct addrinfo){ .ai_family = AF_INET,
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_addrlen = sizeof(a->in),
                                 .ai_addr = (struct sockaddr *)&a->in };
    *found = &a->info;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *a)
{
    free(a);
}
