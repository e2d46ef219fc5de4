#include "cli/fetch.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/response.h"

static const char *reachable(const char *host)
{
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
    return any ? "127.0.0.1" : host;
}

const char *fetch_host(const struct config *c)
{
    return reachable(c->host);
}

static void fail(struct fetched *to, const char *why)
{
    snprintf(to->why, sizeof(to->why), "%s", why);
    to->status = 0;
}

// Waits until the socket can be read or written. False: the time is over.
static bool wait_for(int fd, short events, int64_t until_ms)
{
    for (;;) {
        int64_t left_ms = until_ms - clock_mono_ms();
        struct pollfd p = { .fd = fd, .events = events };
        int ready = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
        if (ready > 0)
            return true;
        if (ready == 0 || errno != EINTR)
            return false;
    }
}

static bool is_connected(int fd, const struct addrinfo *to, int64_t until_ms)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    if (!wait_for(fd, POLLOUT, until_ms)) {
        errno = ETIMEDOUT;
        return false;
    }
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    errno = error;
    return error == 0;
}

static int connect_to(const char *host, int port, int64_t until_ms, struct fetched *to)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *found;
    char service[16];
    snprintf(service, sizeof(service), "%d", port);
    int error = getaddrinfo(host, service, &hints, &found);
    if (error) {
        fail(to, gai_strerror(error));
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !is_connected(fd, found, until_ms)) {
        fail(to, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

// HTTP/1.0: the body ends with the connection, or after its length, and is never in chunks.
static bool send_request(int fd, const char *host, const char *path, const char *header,
                         int64_t until_ms)
{
    struct buffer request = { 0 };
    buffer_printf(&request, "GET %s HTTP/1.0\r\nHost: %s\r\n%s\r\n", path,
                  strchr(host, ':') ? "localhost" : host, header);
    while (request.len) {
        ssize_t n = send(fd, request.at, request.len, MSG_NOSIGNAL);
        if (n < 0 && (errno != EAGAIN || !wait_for(fd, POLLOUT, until_ms)))
            break;
        if (n > 0)
            buffer_drop(&request, (size_t)n);
    }
    bool is_sent = request.len == 0;
    buffer_free(&request);
    return is_sent;
}

// True when there is nothing more to be read; to->status is set, or to->why.
static bool take(struct buffer *input, bool is_end, struct fetched *to)
{
    size_t used;
    struct response r;
    switch (response_parse(&r, buffer_view(input), &used)) {
    case RESPONSE_MORE:
        if (is_end)
            fail(to, "it closed the connection without an answer");
        return is_end;
    case RESPONSE_BAD: fail(to, r.why); return true;
    case RESPONSE_DONE: break;
    }
    size_t body_len = input->len - used;
    if (body_len > FETCH_BODY_MAX)
        fail(to, "its answer is too long");
    else if (!is_end && body_len < r.body_len)
        return false;
    else if (r.body_len != UINT64_MAX && body_len < r.body_len)
        fail(to, "its answer was cut off");
    else
        to->status = r.status;
    buffer_drop(input, used);
    return true;
}

static void read_answer(int fd, int64_t until_ms, struct fetched *to)
{
    for (bool is_end = false; !take(&to->body, is_end, to);) {
        buffer_reserve(&to->body, 64 * KIB);
        ssize_t n = recv(fd, to->body.at + to->body.len, 64 * KIB, 0);
        if (n > 0)
            to->body.len += (size_t)n;
        else if (n == 0)
            is_end = true;
        else if (errno != EAGAIN && errno != EINTR) {
            fail(to, strerror(errno));
            return;
        } else if (!wait_for(fd, POLLIN, until_ms)) {
            fail(to, "it does not answer");
            return;
        }
    }
}

void fetch(const char *host, int port, const char *path, const char *header, struct fetched *to)
{
    int64_t until_ms = clock_mono_ms() + FETCH_TIMEOUT_MS;
    *to = (struct fetched){ 0 };
    int fd = connect_to(host, port, until_ms, to);
    if (fd < 0)
        return;
    if (send_request(fd, host, path, header, until_ms))
        read_answer(fd, until_ms, to);
    else
        fail(to, "it takes no request");
    close(fd);
}

void fetch_from_config(const struct config *c, const char *path, struct fetched *to)
{
    fetch(fetch_host(c), (int)c->port, path, "", to);
}

void fetched_done(struct fetched *f)
{
    buffer_free(&f->body);
}

void fetch_for_operators(const struct config *c, const char *path, struct fetched *to)
{
    bool is_apart = c->admin_port != 0;
    struct buffer header = { 0 };
    if (c->admin_token[0] != '\0')
        buffer_printf(&header, "Authorization: Bearer %s\r\n", c->admin_token);
    buffer_add(&header, "", 1);
    fetch(reachable(is_apart ? c->admin_host : c->host), (int)(is_apart ? c->admin_port : c->port),
          path, header.at, to);
    buffer_free(&header);
}
