// bond-broker health: what a container's health check runs.
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"

#define HEALTH_TIMEOUT_S 3

static int connect_to_self(const struct config *c)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    char port[16];
    bool any = strcmp(c->host, "0.0.0.0") == 0 || strcmp(c->host, "::") == 0;
    snprintf(port, sizeof(port), "%lld", (long long)c->port);
    if (getaddrinfo(any ? "127.0.0.1" : c->host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval timeout = { .tv_sec = HEALTH_TIMEOUT_S };
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
                    connect(fd, found->ai_addr, found->ai_addrlen) != 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static int health(struct cli *c)
{
    static const char request[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char reply[64] = "";
    int fd = connect_to_self(&c->config);
    bool ok = fd >= 0 && send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
              recv(fd, reply, sizeof(reply) - 1, 0) > 0 && strncmp(reply, "HTTP/1.1 200", 12) == 0;
    if (!ok)
        fprintf(stderr, "bond-broker: no healthy answer from %s port %lld\n", c->config.host,
                (long long)c->config.port);
    if (fd >= 0)
        close(fd);
    return ok ? 0 : 1;
}

const struct cli_command cli_health = {
    .name = "health",
    .synopsis = "",
    .about = "ask the broker at BOND_HOST:BOND_PORT whether it answers (/health)",
    .more = "For a container's health check. It waits 3 s at most. `status` says more to people.",
    .examples = "bond-broker health\n"
                "bond-broker health --port 9000\n",
    .exits = "0 if it answers, 1 if not, 2 for a setting that makes no sense",
    .run = health,
};
