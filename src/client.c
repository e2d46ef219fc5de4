#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "http.h"
#include "page.h"
#include "token.h"
#include "utf8.h"
#include "ws.h"

#define INPUT_MAX (16 * KIB)        // read at once
#define FLUSH_BYTES_MAX (256 * KIB) // written at once to one client: the others' turn comes
#define FLUSH_PIECES 16
#define OUTPUT_MAX (64 * KIB)       // replies that pile up before we stop reading requests
#define MESSAGE_MAX (64 * KIB)      // of a client's message
#define JOIN_MS 1000
#define SAY_EVERY_MS 1000

// What most clients do not need most of the time; made when needed, dropped when
// all of it is empty.
struct extra {
    struct buffer in;   // a request head that is not whole; early bytes while JOINING
    struct buffer out;  // bytes that must leave before anything else, whole frames
    struct buffer pong; // the newest pong's frame, not in `out` yet
    struct buffer handshake; // the 101 reply, until the client is let in
    struct ws_reader reader;
    struct start start; // where a waiting client wants to begin
    bool starting;      // `start` is still needed
    bool ping;          // a ping is to be sent
    bool confirmed;     // the stream was read again for an `after` ahead of what we knew
};

static struct extra *need_extra(struct client *c)
{
    if (c->extra == NULL) {
        c->extra = must_alloc(sizeof(*c->extra));
        *c->extra = (struct extra){ 0 };
    }
    return c->extra;
}

static void free_extra(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL)
        return;
    buffer_free(&x->in);
    buffer_free(&x->out);
    buffer_free(&x->pong);
    buffer_free(&x->handshake);
    free(x);
    c->extra = NULL;
}

static void drop_extra_if_idle(struct client *c)
{
    struct extra *x = c->extra;
    if (x && !x->in.len && !x->out.len && !x->pong.len && !x->handshake.len && !x->ping &&
        !x->starting && ws_reader_idle(&x->reader))
        free_extra(c);
}

static void flush(struct client *c);
static void take_frames(struct client *c, char *at, size_t len);

// ---- states ---------------------------------------------------------------------

static void leave_stream(struct client *c)
{
    if (c->stream == NULL)
        return;
    list_remove(&c->node);
    stream_leave(c->stream);
    c->stream = NULL;
    c->waiting = false;
}

// The one place where a client's state changes; `why` is for the log.
static void enter(struct client *c, enum client_state state, const char *why)
{
    static const char *const names[] = { "head", "joining", "open", "closing", "dead" };
    struct clients *all = c->all;
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "client", SAY_I("fd", c->fd), SAY_S("state", names[state]), SAY_S("why", why));
    c->state = state;
    switch (state) {
    case CLIENT_HEAD:
        list_move(&all->lobby, &c->node);
        deadline_arm(&all->heads, &c->deadline, all->loop->now_ms);
        break;
    case CLIENT_JOINING:
        deadline_arm(&all->joins, &c->deadline, all->loop->now_ms);
        break;
    case CLIENT_OPEN:
        deadline_arm(&all->pings, &c->deadline, all->loop->now_ms);
        break;
    case CLIENT_CLOSING:
        leave_stream(c);
        list_move(&all->leaving, &c->node);
        deadline_arm(&all->closings, &c->deadline, all->loop->now_ms);
        break;
    case CLIENT_DEAD:
        leave_stream(c);
        deadline_cancel(&c->deadline);
        list_move(&all->dead, &c->node);
        break;
    }
}

// Ends the connection now. The struct lives until the turn's end: events for it
// may be in hand.
static void die(struct client *c, const char *why)
{
    if (c->state == CLIENT_DEAD)
        return;
    enter(c, CLIENT_DEAD, why);
    close(c->fd); // leaves epoll by itself
    c->fd = -1;
    free_extra(c);
    c->all->count--;
    atomic_fetch_sub_explicit(c->all->total, 1, memory_order_relaxed);
    stats_add(&c->all->stats->closed, 1);
}

static void reap(struct clients *all)
{
    for (struct list *node; (node = list_pop(&all->dead));)
        free(LIST_ITEM(node, struct client, node));
}

static void set_interest(struct client *c, uint32_t events)
{
    if (c->interest == events)
        return;
    c->interest = (uint8_t)events;
    if (!loop_rewatch(c->all->loop, c->fd, &c->watch, events))
        die(c, "epoll refused");
}

// ---- closing --------------------------------------------------------------------

// The rest of the frame that the client is in the middle of goes to `out`, so that
// something else may follow it, or the log may drop it.
static void finish_frame(struct client *c)
{
    if (c->cursor.skip == 0)
        return;
    buffer_add_view(&need_extra(c)->out, log_rest_of_item(&c->stream->log, c->cursor));
    c->cursor = (struct cursor){ .seq = c->cursor.seq + 1 };
}

// Sends a close frame behind whatever frame is under way, then no more. The peer
// answers, or is cut when its deadline is due.
static void close_with(struct client *c, int code, struct view reason, const char *why)
{
    if (c->state != CLIENT_OPEN)
        return;
    uint8_t frame[2 + WS_CONTROL_MAX];
    if (!c->waiting)
        finish_frame(c);
    struct extra *x = need_extra(c);
    if (x->pong.len)
        buffer_add_view(&x->out, buffer_view(&x->pong));
    x->pong.len = 0;
    x->ping = false;
    buffer_add(&x->out, frame, ws_close(frame, code, reason));
    enter(c, CLIENT_CLOSING, why);
    flush(c);
}

// Ids and numbers of a client that has not had what is leaving the ring.
static void fall_behind(struct client *c, uint64_t first_seq)
{
    struct stats *stats = c->all->stats;
    uint64_t missed = first_seq - c->cursor.seq - (c->cursor.skip ? 1 : 0);
    char last[EVENTID_MAX + 1] = "none";
    if (c->cursor.skip || c->cursor.seq > c->stream->log.first_seq)
        eventid_format(log_item(&c->stream->log, c->cursor.seq - (c->cursor.skip ? 0 : 1))->id, last);
    finish_frame(c);
    if (c->slow_skip) {
        stats_add(&stats->skipped_behind, missed);
        c->cursor = (struct cursor){ .seq = first_seq };
        return;
    }
    char reason[WS_REASON_MAX + 1];
    snprintf(reason, sizeof(reason), "fell behind: last id %s, %llu events missed", last,
             (unsigned long long)missed);
    stats_add(&stats->fell_behind, 1);
    close_with(c, WS_CLOSE_BEHIND, view_of(reason), "fell behind");
}

// ---- sending --------------------------------------------------------------------

// Pings and pongs go between frames; a frame under way is finished first, so they
// are never lost behind a backlog.
static void queue_control(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL || c->state != CLIENT_OPEN || (!x->ping && !x->pong.len))
        return;
    if (!c->waiting)
        finish_frame(c);
    if (x->ping) {
        uint8_t frame[2 + WS_CONTROL_MAX];
        buffer_add(&x->out, frame, ws_control(frame, WS_PING, VIEW("")));
        x->ping = false;
        c->pinged = true;
        deadline_arm(&c->all->pongs, &c->deadline, c->all->loop->now_ms);
    }
    buffer_add_view(&x->out, buffer_view(&x->pong));
    x->pong.len = 0;
}

static bool has_log(const struct client *c)
{
    return c->state == CLIENT_OPEN && !c->waiting;
}

static bool is_even(const struct client *c) // it has had all of the log
{
    return c->cursor.seq == c->stream->log.end_seq;
}

static ssize_t write_pieces(int fd, struct iovec *pieces, size_t count)
{
    if (count == 1)
        return send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
    const struct msghdr message = { .msg_iov = pieces, .msg_iovlen = count };
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void account(struct client *c, size_t sent)
{
    struct extra *x = c->extra;
    struct stats *stats = c->all->stats;
    stats_add(&stats->sends, 1);
    stats_add(&stats->bytes_sent, sent);
    if (x && x->out.len) {
        size_t control = sent < x->out.len ? sent : x->out.len;
        buffer_drop(&x->out, control);
        sent -= control;
    }
    if (sent > 0) {
        uint64_t before = c->cursor.seq;
        c->cursor = log_advance(&c->stream->log, c->cursor, sent);
        stats_add(&stats->events_sent, c->cursor.seq - before);
    }
}

// Writes what is due, at most FLUSH_BYTES_MAX: control bytes, then what the cursor
// has not seen. Leaves the client in the list that says what it waits for. It
// never frees the client.
static void flush(struct client *c)
{
    struct iovec pieces[FLUSH_PIECES];
    size_t count = 0, total = 0;

    queue_control(c);
    if (c->extra && c->extra->out.len) {
        total = c->extra->out.len;
        pieces[count++] = (struct iovec){ c->extra->out.at, total };
    }
    if (has_log(c)) {
        size_t more = FLUSH_PIECES - count;
        size_t bytes = log_gather(&c->stream->log, c->cursor, FLUSH_BYTES_MAX, pieces + count, &more);
        if (bytes == 0) // what cannot be told in this format
            c->cursor = log_advance(&c->stream->log, c->cursor, 0);
        total += bytes;
        count += more;
    }

    bool blocked = false;
    if (total > 0) {
        ssize_t n = write_pieces(c->fd, pieces, count);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            die(c, strerror(errno));
            return;
        }
        blocked = n < (ssize_t)total;
        if (n > 0)
            account(c, (size_t)n);
    }

    if (has_log(c)) {
        struct stream *s = c->stream;
        list_move(blocked ? &s->blocked : is_even(c) ? &s->idle : &s->ready, &c->node);
        if (!blocked && !is_even(c))
            stream_mark_changed(s);
    }
    if (c->state == CLIENT_HEAD && blocked)
        set_interest(c, EPOLLOUT); // no more requests before the replies have left
    else
        set_interest(c, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);

    if (c->state == CLIENT_CLOSING && !blocked)
        shutdown(c->fd, SHUT_WR); // the peer reads to the end, then closes
    if (c->going_away && has_log(c) && !blocked && is_even(c))
        close_with(c, WS_CLOSE_GOING_AWAY, VIEW("the broker is going away"), "drain");
}

static void queue_ping(struct client *c)
{
    need_extra(c)->ping = true;
    flush(c);
}

static void queue_pong(struct client *c, struct view payload)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    struct buffer *pong = &need_extra(c)->pong;
    pong->len = 0; // the newest will do (RFC 6455 s. 5.5.3)
    buffer_add(pong, frame, ws_control(frame, WS_PONG, payload));
}

// ---- joining a stream -----------------------------------------------------------

static int64_t redis_now_ms(const struct clients *all)
{
    return clock_wall_ms() + pulse_skew_ms(all->pulse);
}

static uint64_t newest_event(const struct log *l)
{
    for (uint64_t seq = l->end_seq; seq > l->first_seq; seq--)
        if (log_item(l, seq - 1)->kind == ITEM_EVENT)
            return seq - 1;
    return l->end_seq;
}

// Where the client begins; never before the window, whatever memory still holds.
static uint64_t start_seq(const struct clients *all, const struct stream *s, const struct start *start)
{
    const struct log *l = &s->log;
    int64_t window_ms = redis_now_ms(all) - all->config->ring_seconds * MS_PER_S;
    uint64_t first = log_seek_time(l, window_ms);
    uint64_t seq = l->end_seq;
    switch (start->kind) {
    case START_LIVE: return l->end_seq;
    case START_LAST: return newest_event(l);
    case START_FIRST: return first;
    case START_TIME: seq = log_seek_time(l, start->at_ms); break;
    case START_ID: seq = log_seek_id(l, start->id); break;
    case START_AFTER:
        // Ahead of all that the stream ever had: it is not the stream that the
        // client knew. All of this one is new to it.
        seq = eventid_cmp(start->id, s->last) > 0 ? first : log_seek_after(l, start->id);
        break;
    }
    return seq > first ? seq : first;
}

static void let_in(struct client *c)
{
    struct extra *x = c->extra;
    CHECK(c->state == CLIENT_JOINING);
    buffer_add_view(&x->out, buffer_view(&x->handshake));
    buffer_free(&x->handshake);
    stats_add(&c->all->stats->upgraded, 1);
    enter(c, CLIENT_OPEN, "let in");
}

// The stream is primed: set the cursor. An `after` that is ahead of what we know
// may be news that another broker had before us: Redis is asked before we doubt it.
static void begin(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->stream;
    CHECK(c->waiting && x->starting && s->primed);
    if (x->start.kind == START_AFTER && !x->confirmed && eventid_cmp(x->start.id, s->last) > 0) {
        x->confirmed = true; // by the next `refreshed`
        stream_refresh(s);
        return;
    }
    c->cursor = (struct cursor){ .seq = start_seq(c->all, s, &x->start) };
    x->starting = false;
    c->waiting = false;
    if (c->state == CLIENT_JOINING)
        let_in(c);

    struct buffer early = x->in;
    x->in = (struct buffer){ 0 };
    flush(c);
    if (early.len && c->state == CLIENT_OPEN)
        take_frames(c, early.at, early.len);
    buffer_free(&early);
    if (c->state != CLIENT_DEAD)
        drop_extra_if_idle(c);
}

static void join(struct client *c, struct view stream_id)
{
    struct stream *s = streams_find(c->all->streams, stream_id);
    stream_join(s);
    c->stream = s;
    c->waiting = true;
    c->extra->starting = true;
    list_move(&s->waiting, &c->node);
    enter(c, CLIENT_JOINING, "request");
    if (s->primed)
        begin(c);
}

// Redis did not answer in time. The client comes in and waits inside; what is
// published from now on it will get, by the time of the events.
static void join_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    struct start *start = &c->extra->start;
    if (start->kind == START_LIVE)
        *start = (struct start){ .kind = START_TIME, .at_ms = redis_now_ms(c->all) };
    let_in(c);
    flush(c);
}

// ---- requests -------------------------------------------------------------------

struct upgrade {
    struct client *c;
    const struct http_request *req;
    struct buffer id;    // the stream id, decoded
    struct buffer token; // decoded
    char accept[WS_ACCEPT_LEN];
    bool bond_v1; // offered
};

// Every refusal of a request for a stream goes through here: a reply with its
// code, a counter, a log line (rate-limited; a bad client comes back).
static bool refuse(struct upgrade *u, int status, const char *code, const char *detail,
                   const char *extra)
{
    static struct say_limit limit;
    struct clients *all = u->c->all;
    uint64_t missed;
    http_refuse(&need_extra(u->c)->out, status, code, detail, view_of(extra), u->req->keep_alive);
    stats_add(&all->stats->refused, 1);
    if (say_limited(&limit, all->loop->now_ms, SAY_EVERY_MS, &missed))
        say(status == 503 ? SAY_WARN : SAY_INFO, "refused", SAY_I("status", status), SAY_S("code", code),
            SAY_V("stream", buffer_view(&u->id)), SAY_S("detail", detail),
            SAY_I("not_said", (int64_t)missed));
    return false;
}

static void decode(struct buffer *out, struct view raw, bool plus_is_space, bool *ok)
{
    buffer_reserve(out, raw.len + 1);
    ptrdiff_t len = http_unescape(raw, plus_is_space, out->at);
    *ok = len >= 0;
    out->len = len < 0 ? 0 : (size_t)len;
}

// The decoded parameter; an absent one is empty.
static bool query_value(const struct http_request *req, const char *name, struct buffer *out)
{
    struct view raw;
    bool ok = true;
    out->len = 0;
    if (http_query(req->query, name, &raw))
        decode(out, raw, true, &ok);
    return ok;
}

static bool check_handshake(struct upgrade *u)
{
    const struct http_request *req = u->req;
    if (!http_header_has(req, "Connection", "upgrade") || !http_header_has(req, "Upgrade", "websocket"))
        return refuse(u, 426, "upgrade_required", "this is a WebSocket address: connect with ws:// or wss://",
                      "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    if (!view_eq(http_header(req, "Sec-WebSocket-Version"), VIEW("13")))
        return refuse(u, 426, "upgrade_required", "only version 13 of the WebSocket protocol is spoken here",
                      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    if (req->minor < 1 || req->has_body || !ws_accept_key(http_header(req, "Sec-WebSocket-Key"), u->accept))
        return refuse(u, 400, "bad_request",
                      "a WebSocket handshake is an HTTP/1.1 GET with a Sec-WebSocket-Key of 16 bytes in base64", "");
    return true;
}

static bool check_capacity(struct upgrade *u)
{
    struct clients *all = u->c->all;
    if (all->draining)
        return refuse(u, 503, "unavailable", "the broker is shutting down", "Retry-After: 1\r\n");
    if (atomic_load_explicit(all->total, memory_order_relaxed) > all->max)
        return refuse(u, 503, "unavailable", "the broker has as many clients as it can serve",
                      "Retry-After: 5\r\n");
    return true;
}

// The token, from the first place that has one: ?token=, Authorization: Bearer,
// the sub-protocol offer bond.token.<token>.
static bool find_token(struct upgrade *u)
{
    const struct http_request *req = u->req;
    struct view element, bearer = http_header(req, "Authorization");
    struct http_list cursor = { 0 };
    bool ok = query_value(req, "token", &u->token);
    if (ok && u->token.len == 0 && bearer.len > 7 &&
        view_eq_nocase((struct view){ bearer.at, 7 }, VIEW("Bearer ")))
        buffer_add_view(&u->token, view_trim((struct view){ bearer.at + 7, bearer.len - 7 }));
    while (http_header_next(req, "Sec-WebSocket-Protocol", &cursor, &element)) {
        const struct view prefix = VIEW("bond.token.");
        if (view_eq(element, VIEW("bond.v1")))
            u->bond_v1 = true;
        else if (ok && u->token.len == 0 && view_starts(element, prefix))
            buffer_add(&u->token, element.at + prefix.len, element.len - prefix.len);
    }
    return ok;
}

static bool check_token(struct upgrade *u)
{
    const struct view secrets[] = { view_of(u->c->all->config->secret) };
    int64_t expiry_s;
    enum token_verdict verdict = TOKEN_MALFORMED;
    if (find_token(u))
        verdict = token_verify(buffer_view(&u->token), buffer_view(&u->id), secrets,
                               ARRAY_LEN(secrets), clock_wall_ms(), &expiry_s);
    if (verdict != TOKEN_OK)
        return refuse(u, 403, token_verdict_name(verdict), token_verdict_sentence(verdict), "");
    return true;
}

static bool check_parameters(struct upgrade *u)
{
    struct client *c = u->c;
    struct buffer from = { 0 }, after = { 0 }, slow = { 0 }, format = { 0 };
    const char *wrong = NULL;
    if (!query_value(u->req, "from", &from) || !query_value(u->req, "after", &after) ||
        !query_value(u->req, "slow", &slow) || !query_value(u->req, "format", &format))
        wrong = "a query parameter has a percent sign without two hex digits behind it";
    if (!wrong)
        wrong = start_parse(buffer_view(&from), buffer_view(&after), redis_now_ms(c->all),
                            &need_extra(c)->start);
    if (!wrong && slow.len && !view_eq(buffer_view(&slow), VIEW("close")) &&
        !view_eq(buffer_view(&slow), VIEW("skip")))
        wrong = "slow must be close or skip";
    if (!wrong && format.len && !view_eq(buffer_view(&format), VIEW("raw")))
        wrong = "format must be raw";
    c->slow_skip = view_eq(buffer_view(&slow), VIEW("skip"));
    buffer_free(&from);
    buffer_free(&after);
    buffer_free(&slow);
    buffer_free(&format);
    return wrong ? refuse(u, 400, "bad_request", wrong, "") : true;
}

static void write_handshake(struct upgrade *u)
{
    buffer_printf(&need_extra(u->c)->handshake,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: %.*s\r\n%s\r\n",
                  WS_ACCEPT_LEN, u->accept,
                  u->bond_v1 ? "Sec-WebSocket-Protocol: bond.v1\r\n" : "");
}

// GET /ws/{stream_id}. `raw_id` is one path segment, not empty.
static void answer_ws(struct client *c, const struct http_request *req, struct view raw_id)
{
    struct upgrade u = { .c = c, .req = req };
    bool ok;
    decode(&u.id, raw_id, false, &ok);
    if (!ok || !utf8_valid(buffer_view(&u.id)))
        refuse(&u, 400, "bad_request", "the stream id is not percent-encoded UTF-8", "");
    else if (check_handshake(&u) && check_capacity(&u) && check_token(&u) && check_parameters(&u)) {
        write_handshake(&u);
        join(c, buffer_view(&u.id));
    }
    buffer_free(&u.id);
    buffer_free(&u.token);
}

static bool ws_path(struct view path, struct view *raw_id)
{
    const struct view prefix = VIEW("/ws/");
    if (!view_starts(path, prefix))
        return false;
    *raw_id = (struct view){ path.at + prefix.len, path.len - prefix.len };
    return raw_id->len > 0 && memchr(raw_id->at, '/', raw_id->len) == NULL;
}

// An answer to HEAD has no body (RFC 9110 s. 9.3.2); `reply` is where it begins.
static void drop_body(struct buffer *out, size_t reply)
{
    const char *end = memmem(out->at + reply, out->len - reply, "\r\n\r\n", 4);
    CHECK(end != NULL);
    out->len = (size_t)(end + 4 - out->at);
}

static void answer(struct client *c, const struct http_request *req)
{
    struct clients *all = c->all;
    const struct page_state state = {
        .readable = pulse_readable(all->pulse, clock_mono_ms()),
        .draining = all->draining,
    };
    struct buffer *out = &need_extra(c)->out;
    size_t reply = out->len;
    struct view raw_id;
    if (ws_path(req->path, &raw_id)) {
        if (view_eq(req->method, VIEW("GET")))
            answer_ws(c, req, raw_id);
        else
            page_method_not_allowed(out, req->keep_alive);
    } else if (!page_answer(req, state, out)) {
        struct upgrade u = { .c = c, .req = req };
        if (http_header_has(req, "Upgrade", "websocket"))
            refuse(&u, 404, "not_found", "no such path: streams are at /ws/{stream_id}", "");
        else
            page_not_found(out, req->keep_alive);
    }
    if (view_eq(req->method, VIEW("HEAD")))
        drop_body(out, reply);
}

static void close_reply(struct client *c, const char *why) // the reply is in `out`
{
    enter(c, CLIENT_CLOSING, why);
    flush(c);
}

static void refuse_head(struct client *c, int status, const char *why)
{
    const char *code = status == 431   ? "head_too_large"
                       : status == 408 ? "timeout"
                                       : "bad_request";
    stats_add(&c->all->stats->refused, 1);
    http_refuse(&need_extra(c)->out, status, code, why, VIEW(""), false);
    close_reply(c, why);
}

// Answers the requests in x->in, one after another, as long as replies leave.
static void take_requests(struct client *c)
{
    struct http_request req;
    size_t used = 0;
    while (c->state == CLIENT_HEAD && c->extra && c->extra->in.len &&
           c->extra->out.len < OUTPUT_MAX) {
        switch (http_parse(&req, buffer_view(&c->extra->in), &used)) {
        case HTTP_MORE:
            return;
        case HTTP_BAD:
            refuse_head(c, req.status, req.why);
            return;
        case HTTP_DONE:
            break;
        }
        // The request's views point into `in`: it is put aside until it is answered.
        struct buffer in = c->extra->in;
        c->extra->in = (struct buffer){ 0 };
        buffer_add(&c->extra->in, in.at + used, in.len - used);
        req.keep_alive = req.keep_alive && !req.has_body; // we would read it as a request
        deadline_arm(&c->all->heads, &c->deadline, c->all->loop->now_ms);
        answer(c, &req);
        buffer_free(&in);
        if (c->state == CLIENT_HEAD && !req.keep_alive)
            close_reply(c, "replied");
        else if (c->state == CLIENT_HEAD)
            flush(c);
    }
    if (c->state == CLIENT_HEAD)
        drop_extra_if_idle(c);
}

static void head_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    if (c->extra && c->extra->in.len)
        refuse_head(c, 408, "the request did not come in time");
    else
        die(c, "sent no request");
}

// ---- frames ---------------------------------------------------------------------

static void take_pong(struct client *c)
{
    if (!c->pinged)
        return;
    c->pinged = false;
    if (!c->all->draining) // its deadline says when it is sent away
        deadline_arm(&c->all->pings, &c->deadline, c->all->loop->now_ms);
}

static void ping_due(struct deadline *d)
{
    queue_ping(CONTAINER_OF(d, struct client, deadline));
}

static void pong_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    stats_add(&c->all->stats->ping_timeouts, 1);
    close_with(c, WS_CLOSE_FAILURE, VIEW("keepalive ping timeout"), "ping timeout");
}

static void closing_due(struct deadline *d)
{
    die(CONTAINER_OF(d, struct client, deadline), "the peer did not finish the close");
}

static void take_item(struct client *c, enum ws_got got, const struct ws_item *item)
{
    struct view payload = { item->at, item->len };
    switch (got) {
    case WS_GOT_PING:
        queue_pong(c, payload);
        break;
    case WS_GOT_PONG:
        take_pong(c);
        break;
    case WS_GOT_CLOSE:
        close_with(c, item->code, VIEW(""), "the peer closed");
        break;
    case WS_GOT_BAD:
        close_with(c, item->code, view_of(item->why), item->why);
        break;
    case WS_GOT_DATA: // no message from a client means anything
    case WS_GOT_MORE:
        break;
    }
}

static void take_frames(struct client *c, char *at, size_t len)
{
    const struct ws_limits limits = { .message_max = MESSAGE_MAX };
    struct ws_reader reader = { 0 };
    if (c->extra)
        reader = c->extra->reader;

    enum ws_got got;
    do {
        struct ws_item item;
        size_t used = 0;
        got = ws_read(&reader, &limits, at, len, &used, &item);
        at += used;
        len -= used;
        take_item(c, got, &item);
    } while (got != WS_GOT_MORE && c->state == CLIENT_OPEN);

    if (c->state != CLIENT_OPEN)
        return;
    if (!ws_reader_idle(&reader))
        need_extra(c)->reader = reader;
    else if (c->extra)
        c->extra->reader = (struct ws_reader){ 0 };
    if (c->extra && c->extra->pong.len)
        flush(c);
    if (c->state == CLIENT_OPEN)
        drop_extra_if_idle(c);
}

// ---- what epoll says ------------------------------------------------------------

static void take_input(struct client *c, char *at, size_t len)
{
    switch (c->state) {
    case CLIENT_HEAD:
        buffer_add(&need_extra(c)->in, at, len);
        take_requests(c);
        break;
    case CLIENT_JOINING: // it may not send yet; what it sends is kept within a bound
        buffer_add(&need_extra(c)->in, at, len);
        if (c->extra->in.len > INPUT_MAX)
            die(c, "sent too much before the handshake was over");
        break;
    case CLIENT_OPEN:
        take_frames(c, at, len);
        break;
    case CLIENT_CLOSING: // too late
    case CLIENT_DEAD:
        break;
    }
}

static void readable(struct client *c)
{
    char input[INPUT_MAX];
    ssize_t n = recv(c->fd, input, sizeof(input), 0);
    if (n > 0)
        take_input(c, input, (size_t)n);
    else if (n == 0)
        die(c, "the peer closed the connection");
    else if (errno != EAGAIN && errno != EINTR)
        die(c, strerror(errno));
}

static void writable(struct client *c)
{
    flush(c);
    if (c->state == CLIENT_HEAD)
        take_requests(c);
    else if (c->state == CLIENT_OPEN)
        drop_extra_if_idle(c);
}

static void client_ready(struct watch *w, uint32_t events)
{
    struct client *c = CONTAINER_OF(w, struct client, watch);
    if (c->state != CLIENT_DEAD && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        readable(c);
    if (c->state != CLIENT_DEAD && (events & EPOLLOUT))
        writable(c);
}

// ---- all of them ----------------------------------------------------------------

static void init_queue(struct clients *all, struct deadline_queue *q, int64_t after_ms,
                       void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(all->loop, q);
}

static void drain_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    c->going_away = true;
    if (c->waiting)
        close_with(c, WS_CLOSE_GOING_AWAY, VIEW("the broker is going away"), "drain");
    else
        flush(c); // closes it if it has had all
}

void clients_init(struct clients *all, struct loop *loop, const struct config *config,
                  const struct pulse *pulse, struct stats *stats, struct streams *streams,
                  atomic_size_t *total, size_t max)
{
    *all = (struct clients){
        .loop = loop,
        .config = config,
        .pulse = pulse,
        .stats = stats,
        .streams = streams,
        .total = total,
        .max = max,
    };
    list_init(&all->lobby);
    list_init(&all->leaving);
    list_init(&all->dead);
    init_queue(all, &all->heads, config->handshake_seconds * MS_PER_S, head_due);
    init_queue(all, &all->joins, JOIN_MS, join_due);
    init_queue(all, &all->pings, config->ping_seconds * MS_PER_S, ping_due);
    init_queue(all, &all->pongs, config->pong_seconds * MS_PER_S, pong_due);
    init_queue(all, &all->closings, config->pong_seconds * MS_PER_S, closing_due);
    init_queue(all, &all->drains, 0, drain_due);
}

bool clients_add(struct clients *all, int fd)
{
    struct client *c = malloc(sizeof(*c));
    if (c == NULL)
        return false;
    *c = (struct client){ .watch.ready = client_ready, .all = all, .fd = fd, .interest = EPOLLIN };
    if (!loop_watch(all->loop, fd, &c->watch, EPOLLIN)) {
        free(c);
        return false;
    }
    list_init(&c->node);
    deadline_init(&c->deadline);
    all->count++;
    atomic_fetch_add_explicit(all->total, 1, memory_order_relaxed);
    stats_add(&all->stats->accepted, 1);
    enter(c, CLIENT_HEAD, "accepted");
    return true;
}

// Those who stand before first_seq lose events: they are told, or sent away.
static void look_after_lagging(struct list *clients, uint64_t first_seq)
{
    LIST_EACH (node, clients) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->cursor.seq < first_seq)
            fall_behind(c, first_seq);
    }
}

static void begin_waiting(struct stream *s, bool refreshed)
{
    LIST_EACH (node, &s->waiting) {
        struct client *c = LIST_ITEM(node, struct client, node);
        if (!c->extra->confirmed || refreshed)
            begin(c);
    }
}

void clients_news(struct clients *all, struct news *news)
{
    struct stream *s = news->stream;
    (void)all;
    if (s->clients == 0) { // they have left, and the tail was told
        for (size_t i = 0; i < news->extent_count; i++)
            segment_unref(news->extents[i].segment);
        free(news);
        return;
    }
    // A client that falls behind may be the last one to leave.
    stream_join(s);
    if (news->first_seq > s->log.first_seq) {
        look_after_lagging(&s->blocked, news->first_seq);
        look_after_lagging(&s->ready, news->first_seq);
        look_after_lagging(&s->idle, news->first_seq);
    }
    stream_trim(s, news->first_seq);
    stream_learn(s, news);
    if (s->primed)
        begin_waiting(s, news->refreshed);
    stream_leave(s);
    free(news);
}

void clients_failure(struct clients *all, struct failure *failure)
{
    struct stream *s = failure->stream;
    (void)all;
    if (s->clients > 0) {
        stream_join(s);
        struct list *const lists[] = { &s->waiting, &s->idle, &s->ready, &s->blocked };
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
            LIST_EACH (node, lists[i]) {
                struct client *c = LIST_ITEM(node, struct client, node);
                if (c->state == CLIENT_JOINING)
                    let_in(c); // a close frame has a reason that a client sees
                close_with(c, failure->close_code, view_of(failure->reason), failure->reason);
            }
        stream_leave(s);
    }
    free(failure);
}

static void flush_stream(struct stream *s)
{
    struct list due; // flushing moves each on, to the list that says what it waits for
    list_init(&due);
    list_take_all(&due, &s->ready);
    list_take_all(&due, &s->idle);
    while (!list_empty(&due))
        flush(LIST_ITEM(due.next, struct client, node));
}

bool clients_flush(struct clients *all)
{
    struct list changed;
    list_init(&changed);
    list_take_all(&changed, &all->streams->changed);
    while (!list_empty(&changed)) {
        struct stream *s = LIST_ITEM(changed.next, struct stream, in_changed);
        list_remove(&s->in_changed);
        stream_join(s); // its last client may die of this
        flush_stream(s);
        stream_leave(s);
    }
    reap(all);
    return !list_empty(&all->streams->changed);
}

static void drain_client(struct clients *all, struct client *c, int64_t after_ms)
{
    if (c->state == CLIENT_JOINING)
        let_in(c);
    all->drains.after_ms = after_ms;
    deadline_arm(&all->drains, &c->deadline, all->loop->now_ms);
}

void clients_drain(struct clients *all, int64_t drain_ms)
{
    all->draining = true;
    size_t total = all->count, i = 0;
    struct table *streams = &all->streams->by_id;
    for (size_t slot = 0; slot < streams->slot_count; slot++)
        for (struct table_node *n = streams->slots[slot]; n; n = n->next) {
            struct stream *s = TABLE_ITEM(n, struct stream, by_id);
            struct list *const lists[] = { &s->waiting, &s->idle, &s->ready, &s->blocked };
            for (size_t l = 0; l < ARRAY_LEN(lists); l++)
                LIST_EACH (node, lists[l])
                    drain_client(all, LIST_ITEM(node, struct client, node),
                                 drain_ms * (int64_t)i++ / (int64_t)total);
        }
}

size_t clients_left(const struct clients *all)
{
    size_t lobby = 0;
    LIST_EACH (node, &all->lobby)
        lobby++;
    return all->count - lobby;
}

void clients_done(struct clients *all)
{
    struct table *streams = &all->streams->by_id;
    for (struct table_node *n; (n = table_any(streams));) {
        struct stream *s = TABLE_ITEM(n, struct stream, by_id);
        stream_join(s);
        struct list *const lists[] = { &s->waiting, &s->idle, &s->ready, &s->blocked };
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
            while (!list_empty(lists[i]))
                die(LIST_ITEM(lists[i]->next, struct client, node), "the broker ends");
        stream_leave(s);
    }
    while (!list_empty(&all->lobby))
        die(LIST_ITEM(all->lobby.next, struct client, node), "the broker ends");
    while (!list_empty(&all->leaving))
        die(LIST_ITEM(all->leaving.next, struct client, node), "the broker ends");
    reap(all);
}
