#define ZLIB_CONST // zlib takes its input as const
#include "clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h> // tcp_info with data_segs_in, which the C library does not have
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "stamp.h"
#include "wire/token.h"
#include "wire/ws.h"

#define READ_MAX (256 * KIB) // at once: one call takes what a storm has piled up
#define FRAME_MAX (1 * MIB)
#define HEAD_MAX (8 * KIB)
#define EVENTS_PER_TURN 512
#define TOKEN_TTL_S 86400

// The key is the same each time, so that the answer to it is known.
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct client {
    int fd;
    enum { UNBORN, HANDSHAKE, OPEN, STALLED, GONE } state;
    bool deflated;         // the handshake agreed on it
    bool message_deflated; // the message whose frames are being read is
    uint32_t stream;
    uint64_t due;             // the number of the event that comes next
    uint64_t segments_before; // those of the handshake
    struct buffer rest;       // the beginning of a frame, or of the handshake's answer
};

struct crowd {
    const struct options *o;
    struct board *board;
    struct tally *tally;
    struct client *clients;
    size_t first, count;
    size_t begun, in_handshake;
    int epoll_fd;
    z_stream inflater;
    char *input;    // FRAME_MAX + READ_MAX
    char *inflated; // FRAME_MAX
};

// Each write of the server's arrives as one segment: on loopback a segment holds 64 KiB.
// How often we read says nothing of its writes, since two of them may be there by then.
static uint64_t segments_of(const struct client *c)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof(info);
    getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info.tcpi_data_segs_in;
}

// ---- connecting -------------------------------------------------------------------

static void add_filled(struct buffer *out, const char *pattern, struct view stream,
                       struct view token)
{
    for (const char *at = pattern; *at;) {
        if (strncmp(at, "{stream}", 8) == 0) {
            buffer_add_view(out, stream);
            at += 8;
        } else if (strncmp(at, "{token}", 7) == 0) {
            buffer_add_view(out, token);
            at += 7;
        } else {
            buffer_add(out, at++, 1);
        }
    }
}

static void write_request(const struct options *o, uint32_t stream, struct buffer *out)
{
    char name[128], token[TOKEN_MAX + 1];
    snprintf(name, sizeof(name), "%s%u", o->stream_name, stream);
    token_mint(view_of(name), view_of(o->secret), time(NULL) + TOKEN_TTL_S, false, token);

    buffer_add_view(out, VIEW("GET "));
    add_filled(out, o->path, view_of(name), view_of(token));
    if (*o->query)
        buffer_printf(out, "%c%s", strchr(o->path, '?') ? '&' : '?', o->query);
    buffer_printf(out,
                  " HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n",
                  o->host, o->port);
    if (o->compress)
        buffer_printf(out, "Sec-WebSocket-Extensions: permessage-deflate; "
                           "server_no_context_takeover; client_no_context_takeover\r\n");
    buffer_printf(out, "\r\n");
}

// Each loopback address has ports of its own, so many clients want several.
static void choose_source(const struct options *o, int fd, size_t index)
{
    if (o->sources < 2 || strncmp(o->host, "127.", 4) != 0)
        return;
    struct sockaddr_in from = { .sin_family = AF_INET };
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(index % o->sources));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &(int){ 1 }, sizeof(int));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0)
        fprintf(stderr, "bond-bench: bind: %s\n", strerror(errno));
}

static void set_receive_buffer(const struct crowd *crowd, const struct client *c, size_t index)
{
    int bytes = index < crowd->o->stalled ? 4096 : crowd->o->rcvbuf;
    if (bytes)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static void end(struct crowd *crowd, struct client *c)
{
    if (c->state == HANDSHAKE)
        crowd->in_handshake--;
    c->state = GONE;
    close(c->fd);
    buffer_free(&c->rest);
}

static void refuse(struct crowd *crowd, struct client *c, int status)
{
    tally_add(&crowd->tally->refused, 1);
    atomic_store(&crowd->tally->status, status);
    end(crowd, c);
}

// The socket blocks: on loopback connect(2) returns at once, and so few are under
// way at a time that the listener's queue has room. Reads say MSG_DONTWAIT.
static void begin(struct crowd *crowd, size_t i)
{
    struct client *c = &crowd->clients[i];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)crowd->o->port) };
    inet_pton(AF_INET, crowd->o->host, &to.sin_addr);

    *c = (struct client){
        .state = HANDSHAKE,
        .stream = (uint32_t)((crowd->first + i) % crowd->o->streams),
        .due = crowd->o->replay ? 0 : crowd->o->prefill,
    };
    crowd->in_handshake++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fprintf(stderr, "bond-bench: socket: %s\n", strerror(errno));
        refuse(crowd, c, 0);
        return;
    }
    choose_source(crowd->o, c->fd, crowd->first + i);
    set_receive_buffer(crowd, c, crowd->first + i);
    // Our closing must leave no TIME_WAIT behind, which would take the ports.
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));

    struct buffer request = { 0 };
    write_request(crowd->o, c->stream, &request);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
        send(c->fd, request.at, request.len, MSG_NOSIGNAL) != (ssize_t)request.len ||
        epoll_ctl(crowd->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        refuse(crowd, c, 0);
    buffer_free(&request);
}

static bool head_has(struct view head, const char *what)
{
    return memmem(head.at, head.len, what, strlen(what)) != NULL;
}

// Returns how many bytes the answer takes; 0: it is not whole, or the client is gone.
static size_t take_answer(struct crowd *crowd, struct client *c, struct view bytes)
{
    const char *end_of_head = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end_of_head == NULL) {
        if (bytes.len > HEAD_MAX)
            refuse(crowd, c, 0);
        return 0;
    }
    struct view head = { bytes.at, (size_t)(end_of_head - bytes.at) + 4 };
    if (!view_starts(head, VIEW("HTTP/1.1 101 ")) || !head_has(head, ACCEPT)) {
        refuse(crowd, c, head.len > 12 ? atoi(head.at + 9) : 0);
        return 0;
    }
    // Only a server without context can send one deflated message to all.
    c->deflated =
        head_has(head, "permessage-deflate") && head_has(head, "server_no_context_takeover");
    if (c->deflated)
        tally_add(&crowd->tally->deflated, 1);

    crowd->in_handshake--;
    c->state = OPEN;
    c->segments_before = segments_of(c);
    if (crowd->first + (size_t)(c - crowd->clients) < crowd->o->stalled) {
        c->state = STALLED;
        epoll_ctl(crowd->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    }
    tally_add(&crowd->tally->connected, 1);
    return head.len;
}

// ---- reading ----------------------------------------------------------------------

struct frame {
    bool fin, deflated;
    int opcode;
    struct view payload;
};

// Servers do not mask (RFC 6455 s. 5.1). Returns the frame's size; 0: more is
// needed; -1: not a frame.
static ssize_t read_frame(struct view bytes, struct frame *f)
{
    const uint8_t *at = (const uint8_t *)bytes.at;
    if (bytes.len < 2)
        return 0;
    uint64_t len = at[1];
    size_t header = 2;
    if ((at[0] & 0x30) || len > 127)
        return -1;
    if (len >= 126) {
        size_t width = len == 126 ? 2 : 8;
        header += width;
        if (bytes.len < header)
            return 0;
        len = 0;
        for (size_t i = 0; i < width; i++)
            len = len << 8 | at[2 + i];
    }
    if (len > FRAME_MAX - header)
        return -1;
    if (bytes.len < header + len)
        return 0;
    *f = (struct frame){ at[0] & 0x80, at[0] & 0x40, at[0] & 0x0f, { bytes.at + header, len } };
    return (ssize_t)(header + len);
}

// RFC 7692 s. 7.2.2: the last four bytes of an empty block were cut off. Each message
// is whole without those before it, so the inflater begins anew.
static bool inflate_message(struct crowd *crowd, struct view *message)
{
    z_stream *z = &crowd->inflater;
    static const Bytef tail[] = { 0, 0, 0xff, 0xff };
    inflateReset(z);
    z->next_in = (const Bytef *)message->at;
    z->avail_in = (uInt)message->len;
    z->next_out = (Bytef *)crowd->inflated;
    z->avail_out = FRAME_MAX;
    int result = inflate(z, Z_SYNC_FLUSH);
    if (result == Z_OK) {
        z->next_in = tail;
        z->avail_in = sizeof(tail);
        result = inflate(z, Z_SYNC_FLUSH);
    }
    *message = (struct view){ crowd->inflated, FRAME_MAX - z->avail_out };
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR;
}

static void take_message(struct crowd *crowd, struct client *c, struct view message, int64_t now_ns)
{
    struct tally *t = crowd->tally;
    struct stamp stamp;
    if ((c->message_deflated && !inflate_message(crowd, &message)) ||
        !stamp_read(message, &stamp)) {
        tally_add(&t->malformed, 1);
        return;
    }
    if (stamp.number < c->due) {
        tally_add(&t->late, 1);
        return;
    }
    tally_add(&t->lost, stamp.number - c->due);
    tally_add(&t->delivered, 1);
    c->due = stamp.number + 1;
    if (stamp.due_ns >= atomic_load_explicit(&crowd->board->measure_from_ns, memory_order_relaxed))
        histogram_add(&t->latency, now_ns - stamp.due_ns);
}

static void answer_ping(const struct client *c, struct view payload)
{
    uint8_t pong[2 + 4 + WS_CONTROL_MAX] = { 0x8a, (uint8_t)(0x80 | payload.len) }; // mask 0
    memcpy(pong + 6, payload.at, payload.len);
    send(c->fd, pong, 6 + payload.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void take_frame(struct crowd *crowd, struct client *c, const struct frame *f, int64_t now_ns)
{
    switch (f->opcode) {
    case WS_TEXT:
    case WS_BINARY:
        c->message_deflated = f->deflated;
        take_message(crowd, c, f->payload, now_ns);
        break;
    case WS_CONT: // the stamp stood in the first frame
        break;
    case WS_PING:
        if (f->payload.len <= WS_CONTROL_MAX)
            answer_ping(c, f->payload);
        break;
    case WS_PONG: break;
    case WS_CLOSE:
        if (f->payload.len >= 2)
            atomic_store(&crowd->tally->close_code,
                         (uint8_t)f->payload.at[0] << 8 | (uint8_t)f->payload.at[1]);
        break;
    default: tally_add(&crowd->tally->malformed, 1);
    }
}

static size_t take_frames(struct crowd *crowd, struct client *c, struct view bytes, int64_t now_ns)
{
    size_t used = 0;
    for (;;) {
        struct frame f;
        ssize_t size = read_frame((struct view){ bytes.at + used, bytes.len - used }, &f);
        if (size == 0)
            return used;
        if (size < 0) {
            tally_add(&crowd->tally->malformed, 1);
            tally_add(&crowd->tally->closed, 1);
            end(crowd, c);
            return bytes.len;
        }
        take_frame(crowd, c, &f, now_ns);
        used += (size_t)size;
    }
}

static void ready(struct crowd *crowd, struct client *c)
{
    size_t kept = c->rest.len;
    memcpy(crowd->input, c->rest.at ? c->rest.at : "", kept);
    ssize_t n = recv(c->fd, crowd->input + kept, READ_MAX, MSG_DONTWAIT);
    int64_t now_ns = clock_ns();
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        if (c->state == HANDSHAKE)
            refuse(crowd, c, 0);
        else {
            tally_add(&crowd->tally->closed, 1);
            end(crowd, c);
        }
        return;
    }
    tally_add(&crowd->tally->bytes, (uint64_t)n);
    tally_add(&crowd->tally->reads, 1);

    struct view bytes = { crowd->input, kept + (size_t)n };
    size_t used = 0;
    if (c->state == HANDSHAKE)
        used = take_answer(crowd, c, bytes);
    if (c->state == OPEN)
        used += take_frames(crowd, c, (struct view){ bytes.at + used, bytes.len - used }, now_ns);
    if (c->state == GONE)
        return;
    c->rest.len = 0;
    if (used < bytes.len)
        buffer_add(&c->rest, bytes.at + used, bytes.len - used);
}

// ---- the run ----------------------------------------------------------------------

// What had not come when all was over is lost as well. A stalled client is not asked.
static void count_missing(struct crowd *crowd)
{
    uint64_t events = atomic_load(&crowd->board->events);
    for (size_t i = 0; i < crowd->count; i++) {
        const struct client *c = &crowd->clients[i];
        uint64_t last = events_of(crowd->o, c->stream, events);
        if (crowd->first + i >= crowd->o->stalled && c->due < last)
            tally_add(&crowd->tally->lost, last - c->due);
    }
}

static void count_segments(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++) {
        const struct client *c = &crowd->clients[i];
        if (c->state == OPEN)
            tally_add(&crowd->tally->segments, segments_of(c) - c->segments_before);
    }
}

// Sleeping in epoll_wait, we are woken by the server's send(), and it pays for that
// (an interrupt to our processor, dear on a virtual machine). A client elsewhere
// costs no server this. So where CPU is what is measured, we look by the clock.
static int wait_for_events(const struct crowd *crowd, struct epoll_event *events)
{
    bool by_clock = crowd->o->read_every_us && crowd->begun == crowd->count && !crowd->in_handshake;
    int n = epoll_wait(crowd->epoll_fd, events, EVENTS_PER_TURN, by_clock ? 0 : -1);
    if (by_clock && n < EVENTS_PER_TURN)
        sleep_until(clock_ns() + (int64_t)crowd->o->read_every_us * 1000);
    return n;
}

// One turn. False: the coordinator has closed its end.
static bool turn(struct crowd *crowd)
{
    struct epoll_event events[EVENTS_PER_TURN];
    while (crowd->begun < crowd->count && crowd->in_handshake < crowd->o->in_flight)
        begin(crowd, crowd->begun++);

    int n = wait_for_events(crowd, events);
    for (int i = 0; i < n; i++) {
        struct client *c = events[i].data.ptr;
        if (c == NULL)
            return false;
        if (c->state != GONE)
            ready(crowd, c);
    }
    return true;
}

void clients_run(const struct options *o, struct board *board, struct tally *tally, size_t first,
                 size_t count, int control_fd)
{
    struct crowd crowd = {
        .o = o,
        .board = board,
        .tally = tally,
        .clients = calloc(count + 1, sizeof(struct client)),
        .first = first,
        .count = count,
        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
        .input = must_alloc(FRAME_MAX + READ_MAX),
        .inflated = must_alloc(FRAME_MAX),
    };
    struct epoll_event control = { .events = EPOLLIN, .data.ptr = NULL };
    CHECK(crowd.clients && crowd.epoll_fd >= 0 && inflateInit2(&crowd.inflater, -15) == Z_OK);
    CHECK(epoll_ctl(crowd.epoll_fd, EPOLL_CTL_ADD, control_fd, &control) == 0);
    while (turn(&crowd))
        ;
    count_missing(&crowd);
    count_segments(&crowd);
}
