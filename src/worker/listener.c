#include "worker/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096 // the kernel caps it at net.core.somaxconn

// What a client has not had should wait in our log, where it is shared, and not in
// the kernel, once for each client. More than this is refused by send().
#define NOTSENT_LOWAT (128 * 1024)

static char *failed(const char *what, const struct listener_options *o, const char *why)
{
    char *text = NULL;
    const char *hint = errno == EADDRINUSE ? "another program has it: stop that, or set"
                       : errno == EACCES   ? "ports below 1024 need root: set"
                                           : "an address of this machine is needed in";
    const char *name = errno == EADDRINUSE || errno == EACCES ? "PORT" : "HOST";
    CHECK(asprintf(&text, "cannot %s %s port %d: %s; %s %s%s", what, o->host, o->port, why, hint,
                   o->setting, name) >= 0);
    return text;
}

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

// SO_REUSEPORT would let a second broker of the same user take half of the first
// one's clients. A bind without it tells.
static bool is_free(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return false;
    bool is = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
              bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return is;
}

static int open_listener(const struct addrinfo *a, const struct listener_options *o)
{
    if (o->sole && !is_free(a))
        return -1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
        (a->ai_family != AF_INET6 || set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) &&
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
        set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT) &&
        set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)o->user_timeout_ms) &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int listener_open(const struct listener_options *o, char **why)
{
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char port[16];
    snprintf(port, sizeof(port), "%d", o->port);
    int error = getaddrinfo(o->host, port, &hints, &found);
    if (error) {
        errno = 0;
        *why = failed("listen on", o, gai_strerror(error));
        return -1;
    }
    int fd = open_listener(found, o);
    if (fd < 0)
        *why = failed("listen on", o, strerror(errno));
    freeaddrinfo(found);
    return fd;
}

int listener_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = { .in6 = { 0 } };
    socklen_t len = sizeof(a);
    CHECK(getsockname(fd, &a.any, &len) == 0);
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

bool listener_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}
