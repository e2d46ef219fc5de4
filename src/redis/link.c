#include "redis/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/tls.h"
#include "redis/dial.h"
#include "redis/greeting.h"
#include "redis/unanswered.h"
#include "wire/resp.h"

#define INPUT_ROOM (16 * KIB)
#define INPUT_ROOM_MAX (256 * KIB) // of one read, while reads keep filling the room
#define INPUT_PER_TURN (4 * MIB)   // then other work of the thread has its turn
#define KEEP_MAX MIB               // an empty buffer that grew beyond this gives its memory back
#define WHY_MAX 320

enum state { CLOSED, DIALLING, SECURING, GREETING, UP };

struct link {
    struct loop *loop;
    const struct redis_url *url;
    struct link_options options;
    struct link_events events;
    void *ctx;
    struct tls_context *tls_context; // NULL: plain
    struct greeting_options greeting_options;

    enum state state;
    struct dial dial;
    int fd; // the socket, once it is dialled; -1 before
    struct watch watch;
    uint32_t interest; // what the loop watches fd for
    struct tls *tls;
    struct greeting greeting;

    struct buffer input; // begins with the first reply that is not whole
    struct resp_scan scan;
    struct buffer output;
    size_t written; // bytes of output that have left
    struct unanswered unanswered;

    // One deadline does for all: what it is for follows from the state.
    struct deadline alarm;
    struct deadline_queue alarms;
    bool was_up;        // ever
    int64_t backoff_ms; // the last delay was drawn from at most this
    int64_t heard_ms;   // when the last byte came
    size_t unfinished;  // bytes of the answer that is not whole yet

    // An event handler may call link_cut, or link_flush and have it fail: the
    // connection then ends after the handler, for we are in the midst of its input.
    bool in_event, cut_due;
    char why[WHY_MAX];
};

static void fail(struct link *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// ---- the alarm --------------------------------------------------------------

static void set_alarm(struct link *l, int64_t after_ms)
{
    int64_t due_ms = l->loop->now_ms + (after_ms > 0 ? after_ms : 1);
    deadline_arm_at(&l->alarms, &l->alarm, due_ms);
}

// When UP: until the oldest command has been without progress for too long or, while none
// is unanswered, until the line has been silent for so long that we ask.
static int64_t patience_ms(const struct link *l)
{
    int64_t due_ms = unanswered_any(&l->unanswered)
                         ? unanswered_stuck_since_ms(&l->unanswered) + l->options.reply_timeout_ms
                         : l->heard_ms + l->options.ping_ms;
    return due_ms - l->loop->now_ms;
}

// Progress does not move the alarm, but the last reply: it may go off early, and is then
// set anew.
static void set_alarm_while_up(struct link *l)
{
    set_alarm(l, patience_ms(l));
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

static void close_connection(struct link *l)
{
    dial_stop(&l->dial);
    tls_free(l->tls);
    l->tls = NULL;
    if (l->fd >= 0) {
        loop_unwatch(l->loop, l->fd);
        close(l->fd);
    }
    l->fd = -1;
    l->greeting = (struct greeting){ 0 };
    empty_buffer(&l->input);
    empty_buffer(&l->output);
    l->written = 0;
    l->scan = (struct resp_scan){ 0 };
    unanswered_clear(&l->unanswered);
    l->cut_due = false;
    l->state = CLOSED;
}

// The one way out of every state but CLOSED. It connects again after the backoff,
// never in the same turn, in which events of the old socket may be in hand still.
static void end_connection(struct link *l)
{
    close_connection(l);
    set_alarm(l, next_backoff_ms(l));
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

// What is likely when the first words are not answered, or not in the same language. Not
// of a server that has served us before: that one is restarting, behind a proxy maybe.
static const char *scheme_hint(const struct link *l)
{
    if (l->was_up)
        return "";
    if (l->state == SECURING && !tls_is_spoken(l->tls))
        return ": redis:// instead of rediss://?";
    bool is_unanswered = l->state == GREETING && l->greeting.answered == 0 && l->input.len == 0;
    return is_unanswered && !l->tls && !l->url->unix_socket ? ": rediss:// instead of redis://?"
                                                            : "";
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
    bool writes = l->output.len > l->written || (l->tls && tls_wants_write(l->tls));
    uint32_t interest = EPOLLIN | (writes ? EPOLLOUT : 0);
    if (interest == l->interest)
        return;
    l->interest = interest;
    CHECK(loop_rewatch(l->loop, l->fd, &l->watch, interest));
}

// Like read(2) and write(2), but 0 means "not now", and -1 that the link has failed.
static ssize_t tls_io(struct link *l, bool writing, char *at, size_t len)
{
    size_t done = 0;
    switch (writing ? tls_write(l->tls, at, len, &done) : tls_read(l->tls, at, len, &done)) {
    case TLS_DONE: return (ssize_t)done;
    case TLS_WAIT: return 0;
    case TLS_CLOSED: fail(l, "Redis closed the connection"); return -1;
    case TLS_FAILED: fail(l, "TLS: %s", tls_why(l->tls));
    }
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
        fail(l, "Redis closed the connection%s", scheme_hint(l));
    else
        fail(l, "the connection broke: %s%s", strerror(errno), scheme_hint(l));
    return -1;
}

static ssize_t wire_io(struct link *l, bool writing, char *at, size_t len)
{
    return l->tls ? tls_io(l, writing, at, len) : plain_io(l, writing, at, len);
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
        unanswered_left(&l->unanswered, (size_t)n, l->loop->now_ms);
    }
    if (l->written == l->output.len) {
        empty_buffer(&l->output);
        l->written = 0;
    }
    update_interest(l);
}

static void ask(struct link *l, bool is_ping, size_t argc, const struct view *argv)
{
    resp_command(&l->output, argc, argv);
    unanswered_add(&l->unanswered, is_ping, l->output.len - l->written, l->loop->now_ms);
}

// ---- replies ----------------------------------------------------------------

static bool come_up(struct link *l)
{
    l->state = UP;
    l->was_up = true;
    l->backoff_ms = 0;
    set_alarm_while_up(l);
    enter_event(l);
    l->events.up(l->ctx);
    return leave_event(l);
}

// The next three are false when the connection has ended.
static bool hand_to_owner(struct link *l, void (*handler)(void *, struct view), struct view reply)
{
    enter_event(l);
    handler(l->ctx, reply);
    return leave_event(l);
}

static bool take_greeting(struct link *l, struct view reply)
{
    switch (greeting_reply(&l->greeting, reply, &l->output)) {
    case GREETING_MORE: write_output(l); break;
    case GREETING_UP: return come_up(l);
    case GREETING_FAILED: fail(l, "%s", l->greeting.why);
    }
    return l->state != CLOSED;
}

static bool take_reply(struct link *l, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    bool is_ping;

    CHECK(resp_next(&r, &node));
    if (node.type == RESP_PUSH) // before UP no key is followed, so none of ours
        return l->state != UP || hand_to_owner(l, l->events.push, reply);

    unanswered_heard(&l->unanswered, l->loop->now_ms);
    if (l->state == GREETING)
        return take_greeting(l, reply);
    if (!unanswered_take(&l->unanswered, &is_ping)) {
        fail(l, "Redis answered what nobody had asked");
        return false;
    }
    return is_ping || hand_to_owner(l, l->events.reply, reply);
}

// What is left behind the last whole reply. Pushes answer nothing: a server that sends
// them only is stuck all the same.
static void note_unfinished(struct link *l, struct view rest)
{
    l->unfinished = rest.len;
    if (rest.len && rest.at[0] != '>')
        unanswered_heard(&l->unanswered, l->loop->now_ms);
    if (rest.len > l->options.input_max)
        fail(l, "a reply is longer than %zu bytes", l->options.input_max);
}

static const char *not_redis(const struct link *l, struct view bytes)
{
    if (l->state == UP)
        return "Redis sent what is not its protocol";
    bool is_tls_alert = bytes.at[0] == 0x15; // RFC 8446 s. 5.1: to what is no TLS
    return is_tls_alert ? "the server speaks TLS: rediss:// instead of redis://?"
                        : GREETING_NOT_REDIS;
}

// Hands out each whole reply; what is left of the batch moves to the front once.
static bool take_replies(struct link *l)
{
    size_t done = 0, size;
    enum resp_result result;
    struct view rest = buffer_view(&l->input);

    l->unfinished = 0;
    while ((result = resp_scan(&l->scan, rest, &size)) == RESP_DONE) {
        l->scan = (struct resp_scan){ 0 };
        if (!take_reply(l, (struct view){ rest.at, size }))
            return false;
        done += size;
        rest.at += size, rest.len -= size;
    }
    if (result == RESP_BAD)
        fail(l, "%s", not_redis(l, rest));
    else
        note_unfinished(l, rest);
    if (l->state == CLOSED)
        return false;

    buffer_drop(&l->input, done);
    if (l->input.len == 0)
        empty_buffer(&l->input);
    return true;
}

// A plain socket that gave less than there was room for has no more now. TLS is read until
// it has none: a record or two at a time, however much there is room for. When the turn has
// had its share epoll tells of the rest in the next one, but for bytes that OpenSSL holds.
static bool may_have_more(const struct link *l, bool is_room_filled, size_t taken)
{
    if (taken >= INPUT_PER_TURN)
        return l->tls && tls_holds_bytes(l->tls);
    return is_room_filled || l->tls;
}

static void read_input(struct link *l)
{
    size_t room, want = INPUT_ROOM, taken = 0;
    ssize_t n;
    do {
        buffer_reserve(&l->input, want);
        room = l->input.cap - l->input.len;
        n = wire_io(l, false, l->input.at + l->input.len, room);
        if (n <= 0)
            break;
        l->input.len += (size_t)n;
        taken += (size_t)n;
        l->heard_ms = l->loop->now_ms;
        if (!take_replies(l))
            return;
        if ((size_t)n == room && want < INPUT_ROOM_MAX)
            want *= 2;
    } while (may_have_more(l, (size_t)n == room, taken));

    if (l->state == UP && !unanswered_any(&l->unanswered))
        set_alarm_while_up(l); // the next PING may be due before the alarm is
    if (l->state != CLOSED)
        update_interest(l);
}

// ---- connecting -------------------------------------------------------------

static void greet(struct link *l)
{
    l->state = GREETING;
    greeting_begin(&l->greeting, &l->greeting_options, &l->output);
    write_output(l);
}

static void shake_hands(struct link *l)
{
    switch (tls_handshake(l->tls)) {
    case TLS_DONE: greet(l); return;
    case TLS_WAIT: update_interest(l); return;
    case TLS_CLOSED:
    case TLS_FAILED: fail(l, "TLS: %s%s", tls_why(l->tls), scheme_hint(l));
    }
}

static void secure(struct link *l)
{
    l->state = SECURING;
    l->tls = tls_connect(l->tls_context, l->fd, l->url->host, l->url->verify_host);
    if (l->tls)
        shake_hands(l);
    else
        fail(l, "TLS: the host name cannot be used");
}

static void connected(struct link *l)
{
    l->fd = dial_take(&l->dial);
    l->interest = EPOLLIN | EPOLLOUT;
    if (l->tls_context)
        secure(l);
    else
        greet(l);
}

// The alarm that is set for the last address stays until the link is UP.
static void dialled(struct link *l, enum dial_result result)
{
    switch (result) {
    case DIAL_MORE: set_alarm(l, l->dial.due_ms - l->loop->now_ms); return;
    case DIAL_UP: connected(l); return;
    case DIAL_FAILED: fail(l, "%s", l->dial.why);
    }
}

static void dial_beside(struct link *l)
{
    struct sockaddr_storage to = { 0 };
    socklen_t len = sizeof(to);
    const struct link *other = l->options.beside;
    if (other->state != UP || getpeername(other->fd, (struct sockaddr *)&to, &len) < 0)
        fail(l, "cannot connect: the other connection is down");
    else
        dialled(l, dial_address(&l->dial, (const struct sockaddr *)&to, len));
}

static void dial(struct link *l)
{
    l->state = DIALLING;
    l->unfinished = 0;
    if (l->url->unix_socket)
        dialled(l, dial_unix(&l->dial, l->url->host));
    else if (l->options.beside)
        dial_beside(l);
    else
        dialled(l, dial_host(&l->dial, l->url->host, l->url->port));
}

// ---- what the loop calls ----------------------------------------------------

static void link_ready(struct watch *w, uint32_t events)
{
    struct link *l = CONTAINER_OF(w, struct link, watch);
    switch (l->state) {
    case CLOSED: // a stale event of a socket that is gone
        return;
    case DIALLING: dialled(l, dial_ready(&l->dial, events)); return;
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
        if (unanswered_any(&l->unanswered)) {
            fail(l, "Redis has not answered for %" PRId64 " ms", l->options.reply_timeout_ms);
            return;
        }
        ask(l, true, 1, (struct view[]){ VIEW("PING") });
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
    case CLOSED: dial(l); return;
    case DIALLING: dialled(l, dial_late(&l->dial)); return;
    case SECURING:
        fail(l, "TLS: not agreed in %" PRId64 " ms%s", l->options.connect_timeout_ms,
             scheme_hint(l));
        return;
    case GREETING:
        fail(l, "Redis has not answered the greeting in %" PRId64 " ms",
             l->options.connect_timeout_ms);
        return;
    case UP: check_patience(l);
    }
}

// ---- what the owner calls ---------------------------------------------------

// NULL, or why not. What the URL says nothing of is OpenSSL's own affair.
static const char *set_up_tls(const struct redis_url *url, struct tls_context **context)
{
    const struct tls_options options = { .ca_file = url->ca_file,
                                         .cert_file = url->cert_file,
                                         .key_file = url->key_file,
                                         .verify_cert = url->verify_cert };
    switch (tls_context_new(&options, context)) {
    case TLS_SET_UP: return NULL;
    case TLS_NO_OPENSSL: break;
    case TLS_BAD_CA: return "the CA certificates (ssl_ca_certs) cannot be read";
    case TLS_BAD_CERT: return "the client certificate (ssl_certfile) cannot be read";
    case TLS_BAD_KEY:
        return "the client key (ssl_keyfile) cannot be read, or is not the certificate's";
    }
    return "OpenSSL cannot be set up";
}

struct link *link_new(struct loop *loop, const struct redis_url *url,
                      const struct link_options *options, const struct link_events *events,
                      void *ctx, const char **why)
{
    struct tls_context *tls_context = NULL;
    const char *wrong = url->tls ? set_up_tls(url, &tls_context) : NULL;
    if (wrong) {
        *why = wrong;
        return NULL;
    }

    struct link *l = must_alloc(sizeof(*l));
    *l = (struct link){ .loop = loop,
                        .url = url,
                        .options = *options,
                        .events = *events,
                        .ctx = ctx,
                        .tls_context = tls_context,
                        .fd = -1,
                        .watch.ready = link_ready };
    l->greeting_options = (struct greeting_options){
        .user = url->user, .password = url->password, .db = url->db, .tracking = options->tracking
    };
    const struct dial_options dial_options = { .loop = loop,
                                               .watch = &l->watch,
                                               .timeout_ms = options->connect_timeout_ms };
    dial_init(&l->dial, &dial_options);
    unanswered_init(&l->unanswered);
    deadline_init(&l->alarm);
    deadline_queue_init(&l->alarms, 1, link_alarm);
    loop_add_queue(loop, &l->alarms);
    return l;
}

void link_free(struct link *l)
{
    CHECK(!l->in_event);
    close_connection(l);
    dial_done(&l->dial);
    deadline_cancel(&l->alarm);
    list_remove(&l->alarms.of_loop);
    buffer_free(&l->input);
    buffer_free(&l->output);
    tls_context_free(l->tls_context);
    free(l);
}

// By way of the alarm, so that no event comes before the caller has returned.
void link_start(struct link *l)
{
    CHECK(l->state == CLOSED);
    set_alarm(l, 0);
}

void link_command(struct link *l, size_t argc, const struct view *argv)
{
    CHECK(l->state == UP);
    ask(l, false, argc, argv);
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
    return l->greeting.tracks;
}

const char *link_why_not_tracking(const struct link *l)
{
    return l->greeting.why_not_tracking;
}

int64_t link_heard_ms(const struct link *l)
{
    return l->heard_ms;
}

size_t link_unfinished_bytes(const struct link *l)
{
    return l->unfinished;
}

struct view link_server(const struct link *l)
{
    return view_of(l->greeting.server);
}
