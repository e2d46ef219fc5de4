#include "bare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stamp.h"
#include "wire/ws.h"

#define BACKLOG 4096
#define ACCEPTS_AT_ONCE 64
#define STORM_WRITE_MAX (256 * KIB)
#define STORM_ACTIVE_MAX 256
#define NOTSENT_LOWAT (128 * 1024) // as the broker's: a storm must meet the same kernel

static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct order {
    uint64_t first, count;
    int64_t start_ns;
};

// The child's.
struct loop_of_sends {
    const struct options *o;
    enum fault fault;
    int listen_fd, orders, answers;
    int *fds;
    size_t *sent; // of the storm, bytes
    size_t count, unsent;
    char *frames; // one round
    size_t frame_size;
};

// ---- accepting --------------------------------------------------------------------

static void wait_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
}

// Accept, read, write; a batch at a time, so that requests are there when they are read.
static size_t accept_batch(struct loop_of_sends *l)
{
    size_t from = l->count;
    char request[4096];
    while (l->count < l->o->clients && l->count - from < ACCEPTS_AT_ONCE) {
        int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        l->fds[l->count++] = fd;
    }
    for (size_t i = from; i < l->count; i++)
        if (recv(l->fds[i], request, sizeof(request), 0) <= 0 ||
            send(l->fds[i], answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
            fprintf(stderr, "bond-bench: the floor lost a client: %s\n", strerror(errno));
    return l->count - from;
}

static void accept_all(struct loop_of_sends *l)
{
    while (l->count < l->o->clients)
        if (accept_batch(l) == 0)
            wait_readable(l->listen_fd);
}

// ---- rounds -----------------------------------------------------------------------

static void write_frame(struct loop_of_sends *l, char *at, uint64_t number, int64_t due_ns)
{
    uint8_t header[WS_HEADER_MAX];
    size_t len = ws_header(header, WS_TEXT, false, l->o->size);
    memcpy(at, header, len);
    stamp_write((struct stamp){ number, due_ns }, at + len, l->o->size);
}

// What does not go out at once is lost: the reader will say so.
static void send_bytes(struct loop_of_sends *l, int fd, const char *at, size_t len)
{
    if (send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len && l->unsent++ == 0 &&
        l->fault == FAULT_NONE)
        fprintf(stderr, "bond-bench: the floor could not send: %s\n", strerror(errno));
}

static void send_faulty(struct loop_of_sends *l, int fd, char *frame)
{
    char *event = frame + l->frame_size - l->o->size;
    char copy[4096], next[4096];
    CHECK(l->frame_size <= sizeof(copy));
    memcpy(copy, frame, l->frame_size);
    switch (l->fault) {
    case FAULT_NONE:
    case FAULT_DROP: break;
    case FAULT_TWICE:
        send_bytes(l, fd, frame, l->frame_size);
        send_bytes(l, fd, frame, l->frame_size);
        break;
    case FAULT_SWAP: // the next one early; then it comes once more in its own turn
        write_frame(l, next, FAULT_NUMBER + 1, clock_ns());
        send_bytes(l, fd, next, l->frame_size);
        send_bytes(l, fd, frame, l->frame_size);
        break;
    case FAULT_GARBLE:
        copy[event - frame + 2] = 'm';
        send_bytes(l, fd, copy, l->frame_size);
        break;
    case FAULT_REFRAME:
        copy[0] |= 0x20;
        send_bytes(l, fd, copy, l->frame_size);
        break;
    case FAULT_CLOSE: shutdown(fd, SHUT_RDWR); break;
    }
}

// The thing itself: as little as there can be around send().
static void send_round(struct loop_of_sends *l, size_t len)
{
    for (size_t i = 0; i < l->count; i++)
        send_bytes(l, l->fds[i], l->frames, len);
}

static void send_round_with_fault(struct loop_of_sends *l, uint64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (i == FAULT_CLIENT && number == FAULT_NUMBER)
            send_faulty(l, l->fds[i], l->frames);
        else if (i != FAULT_CLIENT || l->fault != FAULT_CLOSE || number < FAULT_NUMBER)
            send_bytes(l, l->fds[i], l->frames, l->frame_size);
}

static void run_order(struct loop_of_sends *l, const struct order *order)
{
    for (uint64_t done = 0; done < order->count;) {
        int64_t due_ns = due_of(l->o, order->start_ns, done);
        size_t len = 0;
        for (size_t i = 0; i < l->o->burst && done < order->count; i++, done++) {
            write_frame(l, l->frames + len, order->first + done, due_ns);
            len += l->frame_size;
        }
        sleep_until(due_ns);
        if (l->fault == FAULT_NONE)
            send_round(l, len);
        else
            send_round_with_fault(l, order->first + done - 1);
    }
}

// ---- the storm --------------------------------------------------------------------

static bool storm_write(struct loop_of_sends *l, size_t i, size_t total)
{
    size_t left = total - l->sent[i];
    size_t len = left < STORM_WRITE_MAX ? left : STORM_WRITE_MAX;
    ssize_t n = send(l->fds[i], l->frames + l->sent[i], len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        l->sent[i] += (size_t)n;
    return l->sent[i] == total;
}

static void storm_watch(int epoll_fd, int op, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event e = { .events = events, .data.u64 = what };
    epoll_ctl(epoll_fd, op, fd, &e);
}

// Every client gets all the frames. A few at a time are under way, and whoever of
// them has room gets one piece: thousands at once would only fill the kernel's
// memory for sockets, which slows all of them.
static void run_storm(struct loop_of_sends *l, size_t total)
{
    const uint64_t listener = UINT64_MAX;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[STORM_ACTIVE_MAX + 1];
    size_t begun = 0, done = 0;
    storm_watch(epoll_fd, EPOLL_CTL_ADD, l->listen_fd, EPOLLIN, listener);
    for (;;) {
        while (begun < l->count && begun - done < STORM_ACTIVE_MAX) {
            storm_watch(epoll_fd, EPOLL_CTL_ADD, l->fds[begun], EPOLLOUT, begun);
            begun++;
        }
        int n = epoll_wait(epoll_fd, events, ARRAY_LEN(events), -1);
        for (int k = 0; k < n; k++) {
            if (events[k].data.u64 == listener) {
                accept_batch(l);
            } else if (storm_write(l, (size_t)events[k].data.u64, total)) {
                storm_watch(epoll_fd, EPOLL_CTL_DEL, l->fds[events[k].data.u64], 0, 0);
                done++;
            }
        }
    }
}

// ---- the process ------------------------------------------------------------------

static void child(struct loop_of_sends *l)
{
    const struct options *o = l->o;
    struct order order;
    size_t frames = o->replay ? o->prefill : o->burst;
    l->frame_size = ws_header((uint8_t[WS_HEADER_MAX]){ 0 }, WS_TEXT, false, o->size) + o->size;
    l->frames = must_alloc(frames * l->frame_size);
    l->fds = must_alloc((o->clients + 1) * sizeof(*l->fds));
    l->sent = calloc(o->clients + 1, sizeof(*l->sent));
    CHECK(l->sent != NULL);
    if (o->replay) {
        for (size_t i = 0; i < frames; i++)
            write_frame(l, l->frames + i * l->frame_size, i, clock_ns());
        run_storm(l, frames * l->frame_size);
    }
    accept_all(l);
    while (read(l->orders, &order, sizeof(order)) == sizeof(order)) {
        run_order(l, &order);
        CHECK(write(l->answers, "", 1) == 1);
    }
}

static int listen_anywhere(int *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &(int){ NOTSENT_LOWAT }, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    *port = ntohs(a.sin_port);
    return fd;
}

bool bare_start(struct bare *b, const struct options *o, enum fault fault)
{
    int orders[2], answers[2];
    int listen_fd = listen_anywhere(&b->port);
    if (listen_fd < 0 || pipe(orders) != 0 || pipe(answers) != 0) {
        fprintf(stderr, "bond-bench: the floor cannot start: %s\n", strerror(errno));
        return false;
    }
    b->pid = fork();
    CHECK(b->pid >= 0);
    if (b->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        stay_on_cpu(o->floor_cpu);
        sleep_exactly();
        close(orders[1]);
        close(answers[0]);
        child(&(struct loop_of_sends){ .o = o,
                                       .fault = fault,
                                       .listen_fd = listen_fd,
                                       .orders = orders[0],
                                       .answers = answers[1] });
        _exit(0);
    }
    close(listen_fd);
    close(orders[0]);
    close(answers[1]);
    b->orders = orders[1];
    b->answers = answers[0];
    return true;
}

bool bare_run(struct bare *b, uint64_t first, uint64_t count, int64_t start_ns)
{
    const struct order order = { first, count, start_ns };
    char done;
    return write(b->orders, &order, sizeof(order)) == sizeof(order) &&
           read(b->answers, &done, 1) == 1;
}

void bare_stop(struct bare *b)
{
    kill(b->pid, SIGKILL);
    waitpid(b->pid, NULL, 0);
    close(b->orders);
    close(b->answers);
}
