#include "redis/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/resp.h"

#define NAME "bond-broker" // as CLIENT LIST shows it
#define INPUT_ROOM (16 * KIB)
#define INPUT_ROOM_MAX (256 * KIB) // of one read, while reads keep filling the room
#define KEEP_MAX MIB               // an empty buffer that grew beyond this gives its memory back
#define WHY_MAX 320
#define NOT_REDIS "what answers there is no Redis"

enum state { CLOSED, CONNECTING, SECURING, GREETING, UP };

// What was asked, and so what a reply answers. All but ASK_CALLER are ours.
enum ask_kind {
    ASK_HELLO,
    ASK_AUTH, // the RESP2 greeting only
    ASK_SELECT,
    ASK_NAME, // the RESP2 greeting only
    ASK_TRACKING,
    ASK_READY, // a PING that ends the greeting
    ASK_PING,
    ASK_CALLER,
};

// Commands of one kind that were queued in the same millisecond and are
// unanswered: a turn's thousand commands are one of these.
struct ask {
    struct list node;
    enum ask_kind kind;
    size_t count;
    int64_t since_ms;
};

struct link {
    struct loop *loop;
    const struct redis_url *url;
    struct link_options options;
    struct link_events events;
    void *ctx;
    SSL_CTX *tls; // NULL: plain

    enum state state;
    int fd;
    struct watch watch;
    uint32_t interest;                    // what the loop watches for
    struct addrinfo *addresses, *address; // all, and the one that is tried
    SSL *ssl;
    bool tls_wants_write;

    struct buffer input; // begins with the first reply that is not whole
    struct resp_scan scan;
    struct buffer output;
    size_t written;   // bytes of output that have left
    struct list asks; // oldest first

    // One deadline does for all: what it is for follows from the state.
    struct deadline alarm;
    struct deadline_queue alarms;
    int64_t backoff_ms; // the last delay was drawn from at most this
    int64_t heard_ms;
    bool tracks;
    struct buffer server;

    // An event handler may call link_cut, or link_flush and have it fail: the
    // connection then ends after the handler, for we are in the midst of its input.
    bool in_event, cut_due;
    char why[WHY_MAX];
};

static void fail(struct link *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// ---- the alarm --------------------------------------------------------------

static void set_alarm(struct link *l, int64_t now_ms, int64_t after_ms)
{
    l->alarms.after_ms = after_ms > 0 ? after_ms : 1;
    deadline_arm(&l->alarms, &l->alarm, now_ms);
}

static const struct ask *oldest_ask(const struct link *l)
{
    return list_empty(&l->asks) ? NULL : LIST_ITEM(l->asks.next, struct ask, node);
}

// When UP: until the oldest command has waited too long or, while none is
// unanswered, until the line has been silent for so long that we ask.
static int64_t patience_ms(const struct link *l)
{
    const struct ask *oldest = oldest_ask(l);
    int64_t since = oldest ? oldest->since_ms : l->heard_ms;
    int64_t allowed = oldest ? l->options.reply_timeout_ms : l->options.ping_ms;
    return since + allowed - l->loop->now_ms;
}

// Replies do not move the alarm, but the last one: it may go off early, and is then
// set anew.
static void set_alarm_while_up(struct link *l)
{
    set_alarm(l, l->loop->now_ms, patience_ms(l));
}

// Full jitter, so that brokers which lost the same Redis do not come back as one.
static int64_t next_backoff_ms(struct link *l)
{
    int64_t least = l->options.backoff_min_ms, most = l->options.backoff_max_ms;
    uint64_t random;
    CHECK(getrandom(&random, sizeof(random), 0) == sizeof(random));

    l->backoff_ms = l->backoff_ms ? l->backoff_ms : least;
    l->backoff_ms = l->backoff_ms < most / 2 ? l->backoff_ms * 2 : most;
    int64_t spread = l->backoff_ms - least;
    return spread > 0 ? least + (int64_t)(random % ((uint64_t)spread + 1)) : least;
}

// ---- the end of a connection ------------------------------------------------

static void empty_buffer(struct buffer *b)
{
    if (b->cap > KEEP_MAX)
        buffer_free(b);
    b->len = 0;
}

static void close_socket(struct link *l)
{
    SSL_free(l->ssl);
    l->ssl = NULL;
    l->tls_wants_write = false;
    if (l->fd >= 0) {
        loop_unwatch(l->loop, l->fd);
        close(l->fd);
    }
    l->fd = -1;
}

static void drop_addresses(struct link *l)
{
    if (l->addresses)
        freeaddrinfo(l->addresses);
    l->addresses = l->address = NULL;
}

static void close_connection(struct link *l)
{
    close_socket(l);
    drop_addresses(l);
    empty_buffer(&l->input);
    empty_buffer(&l->output);
    l->written = 0;
    l->scan = (struct resp_scan){ 0 };
    for (struct list *node; (node = list_pop(&l->asks));)
        free(LIST_ITEM(node, struct ask, node));
    l->tracks = l->cut_due = false;
    l->state = CLOSED;
}

// The one way out of every state but CLOSED. It connects again after the backoff,
// never in the same turn, in which events of the old socket may be in hand still.
static void end_connection(struct link *l)
{
    close_connection(l);
    set_alarm(l, l->loop->now_ms, next_backoff_ms(l));
    l->events.down(l->ctx, l->why);
}

static void fail(struct link *l, const char *fmt, ...)
{
    if (l->state == CLOSED || l->cut_due)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->why, sizeof(l->why), fmt, args);
    va_end(args);
    if (l->in_event)
        l->cut_due = true;
    else
        end_connection(l);
}

// Around each call of the owner's handlers but down, after which nothing is left
// to be protected. False when the handler ended the connection.
static void enter_event(struct link *l)
{
    CHECK(!l->in_event);
    l->in_event = true;
}

static bool leave_event(struct link *l)
{
    l->in_event = false;
    if (!l->cut_due)
        return true;
    end_connection(l);
    return false;
}

// ---- bytes in and out -------------------------------------------------------

static void update_interest(struct link *l)
{
    bool writes = l->output.len > l->written || l->tls_wants_write || l->state == CONNECTING;
    uint32_t interest = EPOLLIN | (writes ? EPOLLOUT : 0);
    if (interest == l->interest)
        return;
    l->interest = interest;
    CHECK(loop_rewatch(l->loop, l->fd, &l->watch, interest));
}

// Why OpenSSL failed, as a sentence without its file names and numbers.
static const char *tls_reason(struct link *l, int error)
{
    long verdict = SSL_get_verify_result(l->ssl);
    unsigned long code = ERR_peek_last_error();
    if (verdict != X509_V_OK && l->url->verify_cert)
        return X509_verify_cert_error_string(verdict);
    if (code && ERR_reason_error_string(code))
        return ERR_reason_error_string(code);
    return error == SSL_ERROR_SYSCALL && errno ? strerror(errno) : "the other end hung up";
}

// What came of an OpenSSL call: true when there is nothing to do but wait.
static bool tls_waits(struct link *l, int result, int *error)
{
    *error = SSL_get_error(l->ssl, result);
    l->tls_wants_write = *error == SSL_ERROR_WANT_WRITE;
    return l->tls_wants_write || *error == SSL_ERROR_WANT_READ;
}

// Like read(2) and write(2), but 0 means "not now", and -1 that the link has failed.
static ssize_t tls_io(struct link *l, bool writing, char *at, size_t len)
{
    size_t done = 0;
    int error;
    ERR_clear_error();
    errno = 0;
    int result =
        writing ? SSL_write_ex(l->ssl, at, len, &done) : SSL_read_ex(l->ssl, at, len, &done);
    if (result == 1) {
        l->tls_wants_write = false;
        return (ssize_t)done;
    }
    if (tls_waits(l, result, &error))
        return 0;
    if (error == SSL_ERROR_ZERO_RETURN)
        fail(l, "Redis closed the connection");
    else
        fail(l, "TLS: %s", tls_reason(l, error));
    return -1;
}

static ssize_t plain_io(struct link *l, bool writing, char *at, size_t len)
{
    ssize_t n;
    do
        n = writing ? send(l->fd, at, len, MSG_NOSIGNAL) : recv(l->fd, at, len, 0);
    while (n < 0 && errno == EINTR);

    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n == 0)
        fail(l, "Redis closed the connection");
    else
        fail(l, "the connection broke: %s", strerror(errno));
    return -1;
}

static ssize_t wire_io(struct link *l, bool writing, char *at, size_t len)
{
    return l->ssl ? tls_io(l, writing, at, len) : plain_io(l, writing, at, len);
}

static void write_output(struct link *l)
{
    while (l->written < l->output.len) {
        ssize_t n = wire_io(l, true, l->output.at + l->written, l->output.len - l->written);
        if (n < 0)
            return;
        if (n == 0)
            break;
        l->written += (size_t)n;
    }
    if (l->written == l->output.len) {
        empty_buffer(&l->output);
        l->written = 0;
    }
    update_interest(l);
}

static void ask(struct link *l, enum ask_kind kind, size_t argc, const struct view *argv)
{
    resp_command(&l->output, argc, argv);

    struct ask *last = list_empty(&l->asks) ? NULL : LIST_ITEM(l->asks.prev, struct ask, node);
    if (last && last->kind == kind && last->since_ms == l->loop->now_ms) {
        last->count++;
        return;
    }
    struct ask *a = must_alloc(sizeof(*a));
    *a = (struct ask){ .kind = kind, .count = 1, .since_ms = l->loop->now_ms };
    list_push(&l->asks, &a->node);
}

// Which question does the next reply answer? False: none was asked.
static bool take_ask(struct link *l, enum ask_kind *kind)
{
    if (list_empty(&l->asks))
        return false;
    struct ask *oldest = LIST_ITEM(l->asks.next, struct ask, node);
    *kind = oldest->kind;
    if (--oldest->count == 0) {
        list_remove(&oldest->node);
        free(oldest);
    }
    return true;
}

// ---- the greeting -----------------------------------------------------------
//
//   HELLO 3 [AUTH user password] SETNAME bond-broker
//     ├─ granted: [SELECT db] [CLIENT TRACKING ON] PING              RESP3
//     └─ unknown: [AUTH password] [SELECT db] CLIENT SETNAME … PING  RESP2
//
// The PING is there because a Redis that is loading its data, or a replica without
// its master, answers everything before it as if all were well.

static bool has_credentials(const struct link *l)
{
    return l->url->user || l->url->password;
}

static struct view password(const struct link *l)
{
    return view_of(l->url->password ? l->url->password : "");
}

static void greet(struct link *l)
{
    struct view argv[7];
    size_t argc = 0;

    l->state = GREETING;
    argv[argc++] = VIEW("HELLO");
    argv[argc++] = VIEW("3");
    if (has_credentials(l)) {
        argv[argc++] = VIEW("AUTH");
        argv[argc++] = view_of(l->url->user ? l->url->user : "default");
        argv[argc++] = password(l);
    }
    argv[argc++] = VIEW("SETNAME");
    argv[argc++] = VIEW(NAME);
    ask(l, ASK_HELLO, argc, argv);
    write_output(l);
}

static void ask_auth(struct link *l)
{
    if (l->url->user)
        ask(l, ASK_AUTH, 3, (struct view[]){ VIEW("AUTH"), view_of(l->url->user), password(l) });
    else
        ask(l, ASK_AUTH, 2, (struct view[]){ VIEW("AUTH"), password(l) });
}

static void ask_select(struct link *l)
{
    char db[16];
    snprintf(db, sizeof(db), "%d", l->url->db);
    if (l->url->db)
        ask(l, ASK_SELECT, 2, (struct view[]){ VIEW("SELECT"), view_of(db) });
}

static void ask_ready(struct link *l)
{
    ask(l, ASK_READY, 1, (struct view[]){ VIEW("PING") });
    write_output(l);
}

static void greet_on(struct link *l)
{
    ask_select(l);
    if (l->options.tracking)
        ask(l, ASK_TRACKING, 3, (struct view[]){ VIEW("CLIENT"), VIEW("TRACKING"), VIEW("ON") });
    ask_ready(l);
}

static void greet_in_resp2(struct link *l)
{
    if (has_credentials(l))
        ask_auth(l);
    ask_select(l);
    ask(l, ASK_NAME, 3, (struct view[]){ VIEW("CLIENT"), VIEW("SETNAME"), VIEW(NAME) });
    ask_ready(l);
}

// "redis 7.0.15" from the map that answers HELLO
static void note_server(struct link *l, struct resp_reader r, size_t fields)
{
    struct view name = VIEW("redis"), version = { 0 };
    struct resp_node key, value;
    for (size_t i = 0; i + 1 < fields && resp_next(&r, &key) && resp_next(&r, &value); i += 2) {
        if (view_eq(key.text, VIEW("server")))
            name = value.text;
        else if (view_eq(key.text, VIEW("version")))
            version = value.text;
        resp_skip(&r, &value);
    }
    l->server.len = 0;
    buffer_add_view(&l->server, name);
    if (version.len)
        buffer_printf(&l->server, " " VIEW_FMT, VIEW_ARG(version));
}

static bool mentions(struct view text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++)
        if (view_eq_nocase((struct view){ text.at + i, len }, view_of(word)))
            return true;
    return false;
}

static bool is_about_password(struct view error)
{
    return view_starts(error, VIEW("WRONGPASS")) || view_starts(error, VIEW("NOAUTH")) ||
           view_starts(error, VIEW("NOPERM"));
}

// A PING is refused for reasons, too, that hinder no reading: an ACL, a renamed
// command, a snapshot that could not be saved (MISCONF).
static bool hinders_reading(struct view error)
{
    return view_starts(error, VIEW("LOADING")) || view_starts(error, VIEW("MASTERDOWN")) ||
           view_starts(error, VIEW("NOAUTH"));
}

// A server that knows no HELLO (Redis 5, some proxies), or not this protocol.
static bool wants_resp2(struct view error)
{
    return view_starts(error, VIEW("NOPROTO")) || mentions(error, "unknown") ||
           mentions(error, "unsupported") || mentions(error, "syntax error");
}

// Old servers repeat a command that they do not know, its arguments included.
static struct view without_secret(const struct link *l, struct view error)
{
    struct view secret = password(l);
    if (secret.len && error.len && memmem(error.at, error.len, secret.at, secret.len))
        return VIEW("(its answer is not shown, for it repeats the password)");
    return (struct view){ error.at, error.len < 200 ? error.len : 200 };
}

static void refused(struct link *l, enum ask_kind kind, struct view error)
{
    struct view text = without_secret(l, error);
    if (view_starts(error, VIEW("LOADING")))
        fail(l, "Redis is loading its data set");
    else if (view_starts(error, VIEW("MASTERDOWN")))
        fail(l, "Redis is a replica that has lost its master and serves no data meanwhile");
    else if (view_starts(error, VIEW("NOAUTH")) && !has_credentials(l))
        fail(l, "Redis wants a password: set one in REDIS_URL");
    else if (kind == ASK_AUTH || is_about_password(error))
        fail(l, "Redis refused the password: " VIEW_FMT, VIEW_ARG(text));
    else if (kind == ASK_SELECT)
        fail(l, "Redis refused database %d: " VIEW_FMT, l->url->db, VIEW_ARG(text));
    else
        fail(l, "Redis refused the greeting: " VIEW_FMT, VIEW_ARG(text));
}

static void hello_answered(struct link *l, const struct resp_node *node, struct resp_reader rest)
{
    if (node->type == RESP_MAP) {
        note_server(l, rest, node->count);
        greet_on(l);
    } else if (node->type != RESP_ERROR) {
        fail(l, NOT_REDIS);
    } else if (wants_resp2(node->text)) {
        note_server(l, rest, 0);
        greet_in_resp2(l);
    } else {
        refused(l, ASK_HELLO, node->text);
    }
}

static void greeting_answered(struct link *l, enum ask_kind kind, struct view reply)
{
    struct resp_reader rest = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&rest, &node));
    bool is_error = node.type == RESP_ERROR;

    if (kind == ASK_HELLO)
        hello_answered(l, &node, rest);
    else if (kind == ASK_TRACKING)
        l->tracks = !is_error;
    else if (is_error && kind != ASK_NAME && (kind != ASK_READY || hinders_reading(node.text)))
        refused(l, kind, node.text);
}

static bool come_up(struct link *l)
{
    l->state = UP;
    l->backoff_ms = 0;
    drop_addresses(l);
    set_alarm_while_up(l);
    enter_event(l);
    l->events.up(l->ctx);
    return leave_event(l);
}

// ---- replies ----------------------------------------------------------------

// These two are false when the connection has ended.
static bool hand_to_owner(struct link *l, void (*handler)(void *, struct view), struct view reply)
{
    enter_event(l);
    handler(l->ctx, reply);
    return leave_event(l);
}

static bool take_reply(struct link *l, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    enum ask_kind kind;

    CHECK(resp_next(&r, &node));
    if (node.type == RESP_PUSH) // before UP no key is followed, so none of ours
        return l->state != UP || hand_to_owner(l, l->events.push, reply);

    if (!take_ask(l, &kind)) {
        fail(l, "Redis answered what nobody had asked");
        return false;
    }
    if (kind == ASK_CALLER)
        return hand_to_owner(l, l->events.reply, reply);
    if (kind == ASK_PING)
        return true;
    greeting_answered(l, kind, reply);
    if (l->state == GREETING && list_empty(&l->asks))
        return come_up(l);
    return l->state != CLOSED;
}

// Hands out each whole reply; what is left of the batch moves to the front once.
static bool take_replies(struct link *l)
{
    size_t done = 0, size;
    enum resp_result result;
    struct view rest = buffer_view(&l->input);

    while ((result = resp_scan(&l->scan, rest, &size)) == RESP_DONE) {
        l->scan = (struct resp_scan){ 0 };
        if (!take_reply(l, (struct view){ rest.at, size }))
            return false;
        done += size;
        rest.at += size, rest.len -= size;
    }
    if (result == RESP_BAD)
        fail(l, "%s", l->state == UP ? "Redis sent what is not its protocol" : NOT_REDIS);
    else if (rest.len > l->options.input_max)
        fail(l, "a reply is longer than %zu bytes", l->options.input_max);
    if (l->state == CLOSED)
        return false;

    buffer_drop(&l->input, done);
    if (l->input.len == 0)
        empty_buffer(&l->input);
    return true;
}

// OpenSSL may hold bytes that epoll knows nothing of, so TLS is read until it has
// none. A plain socket that gave less than there was room for has no more now.
static void read_input(struct link *l)
{
    size_t room, want = INPUT_ROOM;
    ssize_t n;
    do {
        buffer_reserve(&l->input, want);
        room = l->input.cap - l->input.len;
        n = wire_io(l, false, l->input.at + l->input.len, room);
        if (n <= 0)
            break;
        l->input.len += (size_t)n;
        l->heard_ms = l->loop->now_ms;
        if (!take_replies(l))
            return;
        if ((size_t)n == room && want < INPUT_ROOM_MAX)
            want *= 2;
    } while ((size_t)n == room || l->ssl);

    if (l->state == UP && !oldest_ask(l))
        set_alarm_while_up(l); // the next PING may be due before the alarm is
    if (l->state != CLOSED)
        update_interest(l);
}

// ---- connecting -------------------------------------------------------------

static void shake_hands(struct link *l)
{
    int error;
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(l->ssl);
    if (result == 1) {
        l->tls_wants_write = false;
        greet(l);
    } else if (tls_waits(l, result, &error)) {
        update_interest(l);
    } else {
        fail(l, "TLS: %s", tls_reason(l, error));
    }
}

// The name that the certificate must have is the one in the URL. An address is
// compared as an address, and is no server name (RFC 6066 s. 3).
static bool name_peer(struct link *l)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(l->ssl);
    unsigned char address[sizeof(struct in6_addr)];
    char *host = l->url->host;
    bool is_address =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;

    if (!is_address && !SSL_set_tlsext_host_name(l->ssl, host))
        return false;
    if (!l->url->verify_host)
        return true;
    return is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1
                      : X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

static void secure(struct link *l)
{
    l->state = SECURING;
    l->ssl = SSL_new(l->tls);
    CHECK(l->ssl != NULL);
    if (SSL_set_fd(l->ssl, l->fd) != 1 || !name_peer(l)) {
        fail(l, "TLS: the host name cannot be used");
        return;
    }
    SSL_set_connect_state(l->ssl);
    shake_hands(l);
}

static void connected(struct link *l)
{
    if (l->tls)
        secure(l);
    else
        greet(l);
}

// A socket that tells us soon when the other end is gone without a word.
static void set_tcp_options(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); // both are improvements,
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); // and the link works without
}

// False: errno says why.
static bool connect_to(struct link *l, const struct sockaddr *to, socklen_t len)
{
    l->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return false;
    if (to->sa_family != AF_UNIX)
        set_tcp_options(l->fd);
    if (connect(l->fd, to, len) < 0 && errno != EINPROGRESS)
        return false;
    l->state = CONNECTING;
    l->interest = EPOLLIN | EPOLLOUT;
    return loop_watch(l->loop, l->fd, &l->watch, l->interest);
}

static void connect_failed(struct link *l, int error);

// Name resolution may have blocked for long, so that the loop's time is stale: a
// slow resolver must not eat the time that a connection is allowed.
static void connect_address(struct link *l)
{
    set_alarm(l, clock_mono_ms(), l->options.connect_timeout_ms);
    if (!connect_to(l, l->address->ai_addr, l->address->ai_addrlen))
        connect_failed(l, errno);
}

// On to the next address; the last one's error is the attempt's.
static void connect_failed(struct link *l, int error)
{
    if (l->address && l->address->ai_next) {
        l->address = l->address->ai_next;
        close_socket(l);
        connect_address(l);
        return;
    }
    l->state = CONNECTING; // there may have been no socket yet
    if (error == ETIMEDOUT)
        fail(l, "cannot connect: no answer in %" PRId64 " ms", l->options.connect_timeout_ms);
    else
        fail(l, "cannot connect: %s", strerror(error));
}

static void connect_tcp(struct link *l)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    char port[8];
    snprintf(port, sizeof(port), "%d", l->url->port);

    int error = getaddrinfo(l->url->host, port, &hints, &l->addresses);
    if (error) {
        l->state = CONNECTING;
        fail(l, "cannot resolve the host name: %s",
             error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
        return;
    }
    l->address = l->addresses;
    connect_address(l);
}

static void connect_beside(struct link *l)
{
    struct sockaddr_storage to = { 0 };
    socklen_t len = sizeof(to);
    const struct link *other = l->options.beside;
    l->state = CONNECTING;
    if (other->state != UP || getpeername(other->fd, (struct sockaddr *)&to, &len) < 0) {
        fail(l, "cannot connect: the other connection is down");
        return;
    }
    set_alarm(l, l->loop->now_ms, l->options.connect_timeout_ms);
    if (!connect_to(l, (const struct sockaddr *)&to, len))
        connect_failed(l, errno);
}

static void connect_unix(struct link *l)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    if (strlen(l->url->host) >= sizeof(to.sun_path)) {
        connect_failed(l, ENAMETOOLONG);
        return;
    }
    strcpy(to.sun_path, l->url->host);
    set_alarm(l, l->loop->now_ms, l->options.connect_timeout_ms);
    if (!connect_to(l, (const struct sockaddr *)&to, sizeof(to)))
        connect_failed(l, errno);
}

static void connect_begin(struct link *l)
{
    if (l->url->unix_socket)
        connect_unix(l);
    else if (l->options.beside)
        connect_beside(l);
    else
        connect_tcp(l);
}

static void connect_ended(struct link *l)
{
    int error = 0;
    socklen_t len = sizeof(error);
    CHECK(getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    if (error)
        connect_failed(l, error);
    else
        connected(l);
}

// ---- what the loop calls ----------------------------------------------------

static void link_ready(struct watch *w, uint32_t events)
{
    struct link *l = CONTAINER_OF(w, struct link, watch);
    switch (l->state) {
    case CLOSED: // a stale event of a socket that is gone
        return;
    case CONNECTING:
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            connect_ended(l);
        return;
    case SECURING: shake_hands(l); return;
    case GREETING:
    case UP:
        read_input(l);
        if (l->state != CLOSED)
            write_output(l);
    }
}

static void check_patience(struct link *l)
{
    if (patience_ms(l) <= 0) {
        if (oldest_ask(l)) {
            fail(l, "Redis has not answered for %" PRId64 " ms", l->options.reply_timeout_ms);
            return;
        }
        ask(l, ASK_PING, 1, (struct view[]){ VIEW("PING") });
        write_output(l);
        if (l->state == CLOSED)
            return;
    }
    set_alarm_while_up(l);
}

static void link_alarm(struct deadline *d)
{
    struct link *l = CONTAINER_OF(d, struct link, alarm);
    switch (l->state) {
    case CLOSED: connect_begin(l); return;
    case CONNECTING: connect_failed(l, ETIMEDOUT); return;
    case SECURING:
        fail(l, "TLS: not agreed in %" PRId64 " ms", l->options.connect_timeout_ms);
        return;
    case GREETING:
        fail(l, "Redis has not answered the greeting in %" PRId64 " ms",
             l->options.connect_timeout_ms);
        return;
    case UP: check_patience(l);
    }
}

// ---- what the owner calls ---------------------------------------------------

static const char *load_certificates(SSL_CTX *tls, const struct redis_url *url)
{
    if (url->ca_file ? SSL_CTX_load_verify_locations(tls, url->ca_file, NULL) != 1
                     : SSL_CTX_set_default_verify_paths(tls) != 1)
        return "the CA certificates (ssl_ca_certs) cannot be read";
    if (!url->cert_file)
        return NULL;
    const char *key_file = url->key_file ? url->key_file : url->cert_file;
    if (SSL_CTX_use_certificate_chain_file(tls, url->cert_file) != 1)
        return "the client certificate (ssl_certfile) cannot be read";
    if (SSL_CTX_use_PrivateKey_file(tls, key_file, SSL_FILETYPE_PEM) != 1)
        return "the client key (ssl_keyfile) cannot be read, or is not the certificate's";
    return NULL;
}

// Writes may be partial, as everywhere, and the output buffer may have moved
// before a write is tried again. Redis hangs up without TLS's own goodbye; a reply
// says itself where it ends, so that nothing can be cut off unseen.
static const char *set_up_tls(SSL_CTX *tls, const struct redis_url *url)
{
    if (!tls || SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1)
        return "OpenSSL cannot be set up";
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(tls, url->verify_cert ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return load_certificates(tls, url);
}

struct link *link_new(struct loop *loop, const struct redis_url *url,
                      const struct link_options *options, const struct link_events *events,
                      void *ctx, const char **why)
{
    SSL_CTX *tls = url->tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    const char *wrong = url->tls ? set_up_tls(tls, url) : NULL;
    if (wrong) {
        SSL_CTX_free(tls);
        *why = wrong;
        return NULL;
    }

    struct link *l = must_alloc(sizeof(*l));
    *l = (struct link){ .loop = loop,
                        .url = url,
                        .options = *options,
                        .events = *events,
                        .ctx = ctx,
                        .tls = tls,
                        .fd = -1,
                        .watch.ready = link_ready };
    list_init(&l->asks);
    deadline_init(&l->alarm);
    deadline_queue_init(&l->alarms, 1, link_alarm);
    loop_add_queue(loop, &l->alarms);
    return l;
}

void link_free(struct link *l)
{
    CHECK(!l->in_event);
    close_connection(l);
    deadline_cancel(&l->alarm);
    list_remove(&l->alarms.of_loop);
    buffer_free(&l->input);
    buffer_free(&l->output);
    buffer_free(&l->server);
    SSL_CTX_free(l->tls);
    free(l);
}

// By way of the alarm, so that no event comes before the caller has returned.
void link_start(struct link *l)
{
    CHECK(l->state == CLOSED);
    set_alarm(l, l->loop->now_ms, 0);
}

void link_command(struct link *l, size_t argc, const struct view *argv)
{
    CHECK(l->state == UP);
    ask(l, ASK_CALLER, argc, argv);
}

void link_xrange(struct link *l, struct view key, struct eventid from, size_t count)
{
    char start[EVENTID_MAX + 1], most[24];
    size_t start_len = eventid_format(from, start);
    size_t most_len = (size_t)snprintf(most, sizeof(most), "%zu", count);
    const struct view argv[] = { VIEW("XRANGE"), key,           { start, start_len },
                                 VIEW("+"),      VIEW("COUNT"), { most, most_len } };
    link_command(l, ARRAY_LEN(argv), argv);
}

void link_flush(struct link *l)
{
    if (l->state != UP || l->cut_due || l->written == l->output.len)
        return;
    set_alarm_while_up(l);
    write_output(l);
}

void link_cut(struct link *l, const char *why)
{
    fail(l, "%s", why);
}

bool link_is_up(const struct link *l)
{
    return l->state == UP && !l->cut_due;
}

bool link_tracks(const struct link *l)
{
    return l->tracks;
}

int64_t link_heard_ms(const struct link *l)
{
    return l->heard_ms;
}

int64_t link_waiting_ms(const struct link *l)
{
    const struct ask *oldest = oldest_ask(l);
    int64_t ms = oldest ? l->loop->now_ms - oldest->since_ms : 0;
    return oldest && ms < 1 ? 1 : ms;
}

struct view link_server(const struct link *l)
{
    return buffer_view(&l->server);
}
