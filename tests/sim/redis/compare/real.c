#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 10000
#define ANSWER_MS 20000

struct real {
    char dir[64], socket[96];
    pid_t pid;
    struct real_conn *control;
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "redis-server: %s: %s\n", what, strerror(errno));
    exit(2);
}

static struct real_conn *try_to_connect(const struct real *r)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", r->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0) {
        close(fd);
        return NULL;
    }
    struct real_conn *c = must_alloc(sizeof(*c));
    *c = (struct real_conn){ .fd = fd };
    return c;
}

struct real *real_start(void)
{
    struct real *r = must_alloc(sizeof(*r));
    *r = (struct real){ 0 };
    snprintf(r->dir, sizeof(r->dir), "/tmp/sim-redis-XXXXXX");
    if (mkdtemp(r->dir) == NULL)
        die("mkdtemp");
    snprintf(r->socket, sizeof(r->socket), "%s/socket", r->dir);
    r->pid = fork();
    if (r->pid < 0)
        die("fork");
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // a busy one would not heed SIGTERM
        dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDOUT_FILENO);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->socket, "--dir",
               r->dir, "--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
               "--logfile", "log", "--busy-reply-threshold", "1", "--hz", "100", (char *)NULL);
        die("cannot be run");
    }
    for (int i = 0; (r->control = try_to_connect(r)) == NULL; i++) {
        if (i == START_MS || waitpid(r->pid, NULL, WNOHANG) == r->pid)
            die("does not come up");
        usleep(1000);
    }
    return r;
}

void real_stop(struct real *r)
{
    static const char *const files[] = { "socket", "log", "dump.rdb" };
    char path[128];
    real_close(r->control);
    kill(r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", r->dir, files[i]);
        unlink(path);
    }
    rmdir(r->dir);
    free(r);
}

struct real_conn *real_connect(struct real *r)
{
    struct real_conn *c = try_to_connect(r);
    if (c == NULL)
        die("connect");
    return c;
}

void real_close(struct real_conn *c)
{
    close(c->fd);
    buffer_free(&c->heard);
    free(c);
}

void real_send(struct real_conn *c, struct view bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(c->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; // hung up: hearing will tell
        if (n < 0)
            die("send");
        bytes.at += n, bytes.len -= (size_t)n;
    }
}

void real_hear(struct real_conn *c)
{
    while (!c->is_closed) {
        buffer_reserve(&c->heard, 16 * KIB);
        size_t room = c->heard.cap - c->heard.len;
        ssize_t n = recv(c->fd, c->heard.at + c->heard.len, room, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        c->is_closed = n <= 0;
        c->heard.len += n > 0 ? (size_t)n : 0;
        if (n > 0 && (size_t)n < room)
            return;
    }
}

bool real_hear_within(struct real_conn *c, int ms)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    size_t before = c->heard.len;
    if (!c->is_closed && poll(&p, 1, ms) > 0)
        real_hear(c);
    return c->heard.len > before;
}

static void hear_line(struct real *r)
{
    struct real_conn *c = r->control;
    while (c->heard.len == 0 || !memchr(c->heard.at, '\n', c->heard.len))
        if (!real_hear_within(c, ANSWER_MS))
            die("does not answer");
}

const char *real_control(struct real *r, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text) - 2, fmt, args);
    va_end(args);
    strcat(text, "\r\n");
    r->control->heard.len = 0;
    real_send(r->control, view_of(text));
    hear_line(r);
    *strchr(r->control->heard.at, '\r') = '\0';
    return r->control->heard.at;
}

void real_settle(struct real *r)
{
    real_control(r, "PING");
    real_control(r, "PING");
}

#define HOLD "DEBUG SLEEP 0.004\r\n"

void real_hold(struct real *r)
{
    r->control->heard.len = 0;
    real_send(r->control, VIEW(HOLD));
    usleep(1000); // until it sleeps
}

void real_go_on(struct real *r)
{
    hear_line(r);
}
