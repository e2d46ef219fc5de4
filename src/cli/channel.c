#include "cli/channel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "redis/dial.h"
#include "wire/response.h"
#include "wire/ws.h"

#define OPEN_MS (10 * MS_PER_S)    // from the first try to the answered handshake
#define SILENCE_MS (30 * MS_PER_S) // then the server is asked whether it is there
#define PONG_MS (15 * MS_PER_S)    // and has so long to say so
#define RETRY_AFTER_S_MAX 60
#define READ_ROOM (64 * KIB)
#define READS_PER_TURN 16
#define REFUSAL_MAX (4 * KIB) // bytes of a refusal's body that are waited for
#define KEY_LEN HASH_BASE64_LEN(16)

enum state { CLOSED, DIALLING, SECURING, ASKING, REFUSED, OPEN };

struct channel {
    struct channel_options options;
    struct channel_events events;
    void *ctx;
    enum state state;
    struct dial dial;
    int fd; // once it is dialled; -1 before
    struct watch watch;
    struct tls *tls;
    struct buffer input, output;
    char key[KEY_LEN];
    struct ws_reader reader;
    struct buffer message; // the open message, if it did not come in one piece
    int refusal; // the handshake's status, if it is not 101, and what the head says besides
    uint64_t refusal_len;
    int64_t retry_after_ms;
    size_t refusal_at; // where the refusal's body begins in the input

    // One deadline does for all: what it is for follows from the state.
    struct deadline alarm;
    struct deadline_queue alarms;
    int64_t begun_ms, heard_ms;
    bool is_asked; // a ping is out
    char why[320];
};

static void end(struct channel *ch, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void set_alarm(struct channel *ch, int64_t due_ms)
{
    deadline_arm_at(&ch->alarms, &ch->alarm, due_ms);
}

// ---- the end of a connection ----------------------------------------------------

static void close_connection(struct channel *ch)
{
    dial_stop(&ch->dial);
    tls_free(ch->tls);
    ch->tls = NULL;
    if (ch->fd >= 0) {
        loop_unwatch(ch->options.loop, ch->fd);
        close(ch->fd);
    }
    ch->fd = -1;
    buffer_free(&ch->input);
    buffer_free(&ch->output);
    buffer_free(&ch->message);
    ch->reader = (struct ws_reader){ 0 };
    ch->is_asked = false;
    ch->state = CLOSED;
    deadline_cancel(&ch->alarm);
}

static void tell_end(struct channel *ch, const struct channel_end *what)
{
    close_connection(ch);
    ch->events.ended(ch->ctx, what);
}

static void end(struct channel *ch, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ch->why, sizeof(ch->why), fmt, args);
    va_end(args);
    const struct channel_end what = { .why = ch->why, .code = code, .retry_after_ms = -1 };
    tell_end(ch, &what);
}

static void end_refused(struct channel *ch);

// A refusal's body may end with its connection.
static void hung_up(struct channel *ch)
{
    if (ch->state == REFUSED)
        end_refused(ch);
    else
        end(ch, 0, "the server closed the connection");
}

// ---- bytes in and out -----------------------------------------------------------

// As recv(2) and send(2), but 0 means "not now", and -1 that the channel has ended.
static ssize_t tls_io(struct channel *ch, bool writing, char *at, size_t len)
{
    size_t done = 0;
    switch (writing ? tls_write(ch->tls, at, len, &done) : tls_read(ch->tls, at, len, &done)) {
    case TLS_DONE: return (ssize_t)done;
    case TLS_WAIT: return 0;
    case TLS_CLOSED: hung_up(ch); return -1;
    case TLS_FAILED: end(ch, 0, "TLS: %s", tls_why(ch->tls));
    }
    return -1;
}

static ssize_t plain_io(struct channel *ch, bool writing, char *at, size_t len)
{
    ssize_t n;
    do
        n = writing ? send(ch->fd, at, len, MSG_NOSIGNAL) : recv(ch->fd, at, len, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n == 0)
        hung_up(ch);
    else
        end(ch, 0, "the connection broke: %s", strerror(errno));
    return -1;
}

static ssize_t channel_io(struct channel *ch, bool writing, char *at, size_t len)
{
    return ch->tls ? tls_io(ch, writing, at, len) : plain_io(ch, writing, at, len);
}

static void update_interest(struct channel *ch)
{
    bool writes = ch->output.len > 0 || (ch->tls && tls_wants_write(ch->tls));
    CHECK(loop_rewatch(ch->options.loop, ch->fd, &ch->watch, EPOLLIN | (writes ? EPOLLOUT : 0)));
}

static void write_output(struct channel *ch)
{
    while (ch->output.len) {
        ssize_t n = channel_io(ch, true, ch->output.at, ch->output.len);
        if (n < 0)
            return;
        if (n == 0)
            break;
        buffer_drop(&ch->output, (size_t)n);
    }
    update_interest(ch);
}

static void add_frame(struct channel *ch, enum ws_opcode opcode, struct view payload)
{
    uint8_t mask[WS_MASK_LEN];
    CHECK(getrandom(mask, sizeof(mask), 0) == sizeof(mask));
    ws_add_masked(&ch->output, opcode, payload, mask);
}

// ---- the handshake --------------------------------------------------------------

static void ask(struct channel *ch)
{
    uint8_t random[16];
    struct buffer target = { 0 };
    CHECK(getrandom(random, sizeof(random), 0) == sizeof(random));
    hash_base64(random, sizeof(random), ch->key);
    ch->events.request(ch->ctx, &target);
    buffer_printf(&ch->output,
                  "GET " VIEW_FMT " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Protocol: bond.v1\r\n"
                  "User-Agent: bond-broker/" BOND_VERSION "\r\n\r\n",
                  VIEW_ARG(buffer_view(&target)), ch->options.host_header, KEY_LEN, ch->key);
    buffer_free(&target);
    ch->state = ASKING;
    write_output(ch);
}

static bool is_our_upgrade(const struct channel *ch, const struct response *r)
{
    char accept[WS_ACCEPT_LEN];
    CHECK(ws_accept_key((struct view){ ch->key, KEY_LEN }, accept));
    return view_eq(response_header(r, "Sec-WebSocket-Accept"),
                   (struct view){ accept, WS_ACCEPT_LEN }) &&
           view_eq(response_header(r, "Sec-WebSocket-Protocol"), VIEW("bond.v1"));
}

static void come_up(struct channel *ch, const struct response *r)
{
    if (!is_our_upgrade(ch, r)) {
        end(ch, 0, "what answers is no Bond Broker: it does not speak bond.v1");
        return;
    }
    ch->state = OPEN;
    set_alarm(ch, ch->heard_ms + SILENCE_MS);
    ch->events.opened(ch->ctx);
}

// {"error":"token_expired","detail":"…"}, or whatever a proxy says.
static void end_refused(struct channel *ch)
{
    struct view body = { ch->input.at + ch->refusal_at, ch->input.len - ch->refusal_at };
    struct view raw;
    struct buffer error = { 0 }, detail = { 0 };
    bool is_ours = json_valid(body) && json_member(body, VIEW("error"), &raw) &&
                   json_unescape(raw, &error) && json_member(body, VIEW("detail"), &raw) &&
                   json_unescape(raw, &detail);
    if (is_ours)
        snprintf(ch->why, sizeof(ch->why), "refused with %d, %.*s: %.*s", ch->refusal,
                 (int)error.len, error.at, (int)detail.len, detail.at);
    else
        snprintf(ch->why, sizeof(ch->why), "refused with %d", ch->refusal);
    for (char *p = ch->why; *p; p++) // a stranger's words, for a terminal
        *p = *p >= ' ' && *p <= '~' ? *p : '?';
    buffer_free(&error);
    buffer_free(&detail);
    const struct channel_end what = { .why = ch->why,
                                      .status = ch->refusal,
                                      .retry_after_ms = ch->retry_after_ms };
    tell_end(ch, &what);
}

static void wait_for_refusal(struct channel *ch)
{
    size_t have = ch->input.len - ch->refusal_at;
    if (have >= ch->refusal_len || have >= REFUSAL_MAX)
        end_refused(ch);
}

static void take_response(struct channel *ch)
{
    size_t used;
    struct response r;
    switch (response_parse(&r, buffer_view(&ch->input), &used)) {
    case RESPONSE_MORE: return;
    case RESPONSE_BAD: end(ch, 0, "cannot be spoken to: %s", r.why); return;
    case RESPONSE_DONE: break;
    }
    if (r.status != 101) {
        int64_t after_s = response_retry_after_s(&r, RETRY_AFTER_S_MAX);
        ch->refusal = r.status;
        ch->refusal_len = r.body_len;
        ch->retry_after_ms = after_s < 0 ? -1 : after_s * MS_PER_S;
        ch->refusal_at = used;
        ch->state = REFUSED;
        return;
    }
    come_up(ch, &r);
    if (ch->state == OPEN)
        buffer_drop(&ch->input, used);
}

// ---- frames ---------------------------------------------------------------------

static void take_data(struct channel *ch, const struct ws_item *item)
{
    struct view piece = { item->at, item->len };
    if (item->message_start && item->message_end) {
        ch->events.message(ch->ctx, piece);
        return;
    }
    buffer_add_view(&ch->message, piece);
    if (!item->message_end)
        return;
    ch->events.message(ch->ctx, buffer_view(&ch->message));
    buffer_free(&ch->message);
}

static void take_close(struct channel *ch, const struct ws_item *item)
{
    char reason[WS_REASON_MAX + 1];
    snprintf(reason, sizeof(reason), "%.*s", (int)item->len, item->at);
    for (char *p = reason; *p; p++)
        *p = *p >= ' ' && *p <= '~' ? *p : '?';
    int code = item->code;
    if (code == WS_CLOSE_NONE) {
        end(ch, code, "closed by the server");
        return;
    }
    const char echo[] = { (char)(code >> 8), (char)code };
    add_frame(ch, WS_CLOSE, (struct view){ echo, sizeof(echo) });
    write_output(ch);
    if (ch->state == OPEN)
        end(ch, code, "closed with %d%s%s", code, *reason ? ", " : "", reason);
}

static void take_item(struct channel *ch, enum ws_got got, const struct ws_item *item)
{
    switch (got) {
    case WS_GOT_MORE:
    case WS_GOT_PONG: break;
    case WS_GOT_DATA: take_data(ch, item); break;
    case WS_GOT_PING:
        add_frame(ch, WS_PONG, (struct view){ item->at, item->len });
        write_output(ch);
        break;
    case WS_GOT_CLOSE: take_close(ch, item); break;
    case WS_GOT_BAD: end(ch, 0, "the server broke the protocol: %s", item->why); break;
    }
}

static void take_frames(struct channel *ch)
{
    static const struct ws_limits limits = { .message_max = CHANNEL_MESSAGE_MAX,
                                             .from_server = true };
    enum ws_got got = WS_GOT_DATA;
    size_t done = 0, used;
    struct ws_item item;
    while (ch->state == OPEN && got != WS_GOT_MORE && ch->input.len) {
        got =
            ws_read(&ch->reader, &limits, ch->input.at + done, ch->input.len - done, &used, &item);
        done += used;
        take_item(ch, got, &item);
    }
    if (ch->state == OPEN)
        ch->input.len = 0; // all is used
}

static void take_input(struct channel *ch)
{
    if (ch->state == ASKING)
        take_response(ch);
    if (ch->state == REFUSED)
        wait_for_refusal(ch);
    if (ch->state == OPEN)
        take_frames(ch);
}

static void read_input(struct channel *ch)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        buffer_reserve(&ch->input, READ_ROOM);
        ssize_t n = channel_io(ch, false, ch->input.at + ch->input.len, READ_ROOM);
        if (n <= 0)
            break;
        ch->input.len += (size_t)n;
        ch->heard_ms = ch->options.loop->now_ms;
        ch->is_asked = false;
        take_input(ch);
        if (ch->state == CLOSED)
            return;
    }
}

// ---- the steps ------------------------------------------------------------------

static void handshake_tls(struct channel *ch)
{
    switch (tls_handshake(ch->tls)) {
    case TLS_DONE: ask(ch); break;
    case TLS_WAIT: update_interest(ch); break;
    case TLS_CLOSED:
    case TLS_FAILED: end(ch, 0, "TLS: %s", tls_why(ch->tls)); break;
    }
}

static void dialled(struct channel *ch, enum dial_result result)
{
    if (result == DIAL_FAILED) {
        end(ch, 0, "%s", ch->dial.why);
        return;
    }
    set_alarm(ch, ch->dial.due_ms);
    if (result == DIAL_MORE)
        return;
    ch->fd = dial_take(&ch->dial);
    set_alarm(ch, ch->begun_ms + OPEN_MS);
    if (!ch->options.tls) {
        ask(ch);
        return;
    }
    ch->tls = tls_connect(ch->options.tls, ch->fd, ch->options.host, ch->options.verify_host);
    ch->state = SECURING;
    if (ch->tls)
        handshake_tls(ch);
    else
        end(ch, 0, "the host's name cannot be used with TLS");
}

static void channel_ready(struct watch *w, uint32_t events)
{
    struct channel *ch = CONTAINER_OF(w, struct channel, watch);
    if (ch->state == DIALLING)
        dialled(ch, dial_ready(&ch->dial, events));
    else if (ch->state == SECURING)
        handshake_tls(ch);
    else if (ch->state != CLOSED) {
        if (ch->output.len)
            write_output(ch);
        if (ch->state != CLOSED)
            read_input(ch);
    }
}

static void check_silence(struct channel *ch)
{
    int64_t now_ms = ch->options.loop->now_ms;
    if (now_ms - ch->heard_ms >= SILENCE_MS + PONG_MS) {
        end(ch, 0, "no word in %" PRId64 " s", (SILENCE_MS + PONG_MS) / MS_PER_S);
        return;
    }
    if (now_ms - ch->heard_ms >= SILENCE_MS && !ch->is_asked) {
        add_frame(ch, WS_PING, VIEW(""));
        ch->is_asked = true;
        write_output(ch);
    }
    if (ch->state == OPEN)
        set_alarm(ch, ch->heard_ms + SILENCE_MS + (ch->is_asked ? PONG_MS : 0));
}

static void begin(struct channel *ch)
{
    ch->state = DIALLING;
    ch->begun_ms = ch->heard_ms = ch->options.loop->now_ms;
    dialled(ch, dial_host(&ch->dial, ch->options.host, ch->options.port));
}

static void alarm_due(struct deadline *d)
{
    struct channel *ch = CONTAINER_OF(d, struct channel, alarm);
    switch (ch->state) {
    case CLOSED: begin(ch); break;
    case DIALLING: dialled(ch, dial_late(&ch->dial)); break;
    case REFUSED: end_refused(ch); break;
    case OPEN: check_silence(ch); break;
    default: end(ch, 0, "no answer to the handshake in %" PRId64 " s", OPEN_MS / MS_PER_S);
    }
}

// ---- the owner's ----------------------------------------------------------------

struct channel *channel_new(const struct channel_options *options,
                            const struct channel_events *events, void *ctx)
{
    struct channel *ch = must_alloc(sizeof(*ch));
    *ch = (struct channel){
        .options = *options, .events = *events, .ctx = ctx, .fd = -1, .watch.ready = channel_ready
    };
    const struct dial_options dial_options = { .loop = options->loop,
                                               .watch = &ch->watch,
                                               .timeout_ms = OPEN_MS };
    dial_init(&ch->dial, &dial_options);
    deadline_init(&ch->alarm);
    deadline_queue_init(&ch->alarms, 0, alarm_due);
    loop_add_queue(options->loop, &ch->alarms);
    return ch;
}

void channel_free(struct channel *ch)
{
    close_connection(ch);
    dial_done(&ch->dial);
    list_remove(&ch->alarms.of_loop);
    free(ch);
}

void channel_connect(struct channel *ch, int64_t after_ms)
{
    CHECK(ch->state == CLOSED);
    set_alarm(ch, ch->options.loop->now_ms + (after_ms > 0 ? after_ms : 1));
}

bool channel_is_open(const struct channel *ch)
{
    return ch->state == OPEN;
}

void channel_send(struct channel *ch, struct view text)
{
    CHECK(ch->state == OPEN);
    add_frame(ch, WS_TEXT, text);
    write_output(ch);
}
