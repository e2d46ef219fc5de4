#include "worker/client.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/form.h"
#include "wire/deflate.h"
#include "wire/http.h"
#include "wire/token.h"
#include "wire/ws.h"
#include "worker/history.h"
#include "worker/seek.h"

#define INPUT_MAX (16 * KIB)        // read at once
#define FLUSH_BYTES_MAX (256 * KIB) // written at once to one client: the others' turn comes
#define FLUSH_PIECES 16
#define OUTPUT_MAX (64 * KIB)  // replies that pile up before we stop reading requests
#define MESSAGE_MAX (64 * KIB) // of a client's message, as sent and as inflated
#define AUTH_MAX (4 * KIB)     // of a message that may renew a token
#define HISTORY_BYTES_MAX (4 * MIB)
#define HOLD_MS 1000
#define JOIN_MS 1000
#define LOOK_MS 250
#define COMMENT_MS 15000 // between comments that keep a quiet event stream open
#define EXPIRING_S 30
#define RECONNECT_MIN_MS 100
#define RECONNECT_SPREAD_MS 5000

// What most clients do not need most of the time; made when needed, dropped when
// all of it is empty.
struct extra {
    struct buffer in;        // a request head that is not whole; early bytes while JOINING
    struct buffer out;       // bytes that must leave before anything else, whole frames
    struct buffer notices;   // messages of ours that go before the cursor's next event
    struct buffer pong;      // the newest pong's frame, not in `out` yet
    struct buffer handshake; // goes out when the client is let in
    struct buffer message;   // what has come of a message that we look into
    struct ws_reader reader;
    struct start start;      // where a waiting client wants to begin
    int64_t let_in_ms;       // Redis's clock, when it was let in to wait inside; 0: it was not
    uint64_t live_seq;       // a replay ends here
    uint64_t limit;          // of a history
    struct in6_addr address; // of a client that is held
    size_t ending_at;        // its place in all->ending
    bool starting;           // `start` is still needed
    bool greeted;            // `hello` has been said
    bool replaying;          // `live` is still to be said
    bool history;            // it wants a history, not the stream
    bool keep_alive;         // after the history
    bool ping;               // a ping or comment is to be sent
    bool confirmed;          // the stream was read again for an `after` ahead of what we knew
    bool ending;             // it is in all->ending
    bool told_expiring;
};

static struct extra *need_extra(struct client *c)
{
    if (c->extra == NULL) {
        c->extra = must_alloc(sizeof(*c->extra));
        *c->extra = (struct extra){ 0 };
    }
    return c->extra;
}

static void forget_ending(struct client *c)
{
    struct clients *all = c->all;
    if (c->extra == NULL || !c->extra->ending)
        return;
    struct client *last = all->ending[--all->ending_len];
    all->ending[c->extra->ending_at] = last;
    last->extra->ending_at = c->extra->ending_at;
    c->extra->ending = false;
}

static void free_extra(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL)
        return;
    forget_ending(c);
    buffer_free(&x->in);
    buffer_free(&x->out);
    buffer_free(&x->notices);
    buffer_free(&x->pong);
    buffer_free(&x->handshake);
    buffer_free(&x->message);
    free(x);
    c->extra = NULL;
}

static void drop_extra_if_idle(struct client *c)
{
    struct extra *x = c->extra;
    if (x && !x->in.len && !x->out.len && !x->notices.len && !x->pong.len && !x->handshake.len &&
        !x->message.len && !x->ping && !x->starting && !x->replaying && !x->ending &&
        ws_reader_idle(&x->reader))
        free_extra(c);
}

static void flush(struct client *c);
static void take_frames(struct client *c, char *at, size_t len);
static void take_requests(struct client *c);

// ---- states ---------------------------------------------------------------------

static bool is_sse(const struct client *c)
{
    return c->stream && c->stream->form == FORM_SSE;
}

static bool tells(const struct client *c) // its format has messages besides events
{
    return c->stream && form_tells(c->stream->form);
}

static void leave_stream(struct client *c)
{
    if (c->visitor)
        door_leave(c->all->door, c->visitor);
    c->visitor = NULL;
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
    static const char *const names[] = { "head", "held", "joining", "open", "closing", "dead" };
    struct clients *all = c->all;
    int64_t now_ms = all->loop->now_ms;
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "client", SAY_I("fd", c->fd), SAY_S("state", names[state]),
            SAY_S("why", why));
    c->state = (uint8_t)state;
    switch (state) {
    case CLIENT_HEAD:
        list_move(&all->lobby, &c->node);
        deadline_arm(&all->heads, &c->deadline, now_ms);
        break;
    case CLIENT_HELD: deadline_arm(&all->holds, &c->deadline, now_ms); break;
    case CLIENT_JOINING: deadline_arm(&all->joins, &c->deadline, now_ms); break;
    case CLIENT_OPEN:
        deadline_arm(is_sse(c) ? &all->comments : &all->pings, &c->deadline, now_ms);
        break;
    case CLIENT_CLOSING:
        leave_stream(c);
        forget_ending(c);
        list_move(&all->leaving, &c->node);
        deadline_arm(&all->closings, &c->deadline, now_ms);
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
    if (c->state == CLIENT_HELD)
        door_slow_done(c->all->door, c->extra->address);
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
    if (c->interest == events || c->state == CLIENT_DEAD)
        return;
    c->interest = (uint8_t)events;
    if (!loop_rewatch(c->all->loop, c->fd, &c->watch, events))
        die(c, "epoll refused");
}

// ---- what the broker says of itself ---------------------------------------------

static struct buffer *empty_text(struct client *c)
{
    c->all->text.len = 0;
    return &c->all->text;
}

// A notice goes out before the next event that the cursor stands at.
static void add_notice(struct client *c, const char *name, const struct buffer *json)
{
    form_notice(c->stream->form, name, buffer_view(json), &need_extra(c)->notices);
}

static void tell_gap(struct client *c, const struct gap *gap)
{
    struct buffer *text = empty_text(c);
    notice_gap(text, stream_id(c->stream), gap);
    add_notice(c, "gap", text);
}

static void tell_source(struct client *c)
{
    struct buffer *text = empty_text(c);
    const struct clients *all = c->all;
    c->told_stale = stream_is_stale(c->stream);
    int64_t heard_ms = atomic_load(&all->pulse->heard_ms);
    if (c->told_stale)
        notice_source_stale(
            text, heard_ms > 0 && heard_ms < all->loop->now_ms ? all->loop->now_ms - heard_ms : 0);
    else
        notice_source_ok(text);
    add_notice(c, "source", text);
}

// Everything there was when the client came has been sent.
static void tell_live(struct client *c)
{
    const struct stream *s = c->stream;
    struct buffer *text = empty_text(c);
    struct eventid last = seek_event_id_before(&s->log, c->cursor.seq);
    if (eventid_is_none(last))
        last = s->last;
    notice_live(text, stream_id(s), last);
    if (is_sse(c)) { // who reconnects before the first event resumes from here
        char id[EVENTID_MAX + 1];
        eventid_format(last, id);
        buffer_printf(&need_extra(c)->notices, "id: %s\n", id);
    }
    add_notice(c, "live", text);
    c->extra->replaying = false;
}

static void tell_expiring(struct client *c, int64_t in_s)
{
    struct buffer *text = empty_text(c);
    notice_expiring(text, in_s);
    add_notice(c, "expiring", text);
}

static void say_hello(struct client *c, int64_t window_ms)
{
    const struct stream *s = c->stream;
    struct buffer *text = empty_text(c);
    struct eventid first = seek_event_id(&s->log, log_seek_time(&s->log, window_ms));
    notice_hello(text, stream_id(s), first, s->last, c->all->config->ring_seconds);
    form_notice(s->form, "hello", buffer_view(text), &need_extra(c)->out);
    c->extra->greeted = true;
}

// Reconnects are spread over some seconds, so that a new broker is not hit by all
// at once.
static int64_t reconnect_ms(void)
{
    uint16_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
        random = 0;
    return RECONNECT_MIN_MS + random % RECONNECT_SPREAD_MS;
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

// Where the client is: to resume from here loses nothing. 0-0: it is nowhere yet.
static struct eventid last_id_sent(const struct client *c)
{
    const struct stream *s = c->stream;
    if (c->waiting)
        return (struct eventid){ 0 };
    struct eventid last = seek_event_id_before(&s->log, c->cursor.seq);
    return eventid_is_none(last) ? s->floor.id : last;
}

static void add_goodbye(struct client *c, int code, struct view reason, int64_t wait_ms)
{
    struct buffer *text = empty_text(c);
    notice_closing(text, code, reason, last_id_sent(c), wait_ms);
    form_notice(c->stream->form, "closing", buffer_view(text), &c->extra->out);
}

// Ends an OPEN client behind whatever frame is under way, with a goodbye where its
// format has one, and a close frame. The peer answers, or is cut when its deadline
// is due. wait_ms: when it is to come back.
static void close_gently(struct client *c, int code, struct view reason, int64_t wait_ms)
{
    struct extra *x = need_extra(c);
    if (!c->waiting)
        finish_frame(c);
    buffer_add_view(&x->out, buffer_view(&x->notices));
    x->notices.len = 0;
    if (x->pong.len)
        buffer_add_view(&x->out, buffer_view(&x->pong));
    x->pong.len = 0;
    x->ping = x->replaying = false;
    if (is_sse(c)) {
        buffer_printf(&x->out, "retry: %lld\n\n", (long long)wait_ms);
    } else {
        if (tells(c) && wait_ms >= 0)
            add_goodbye(c, code, reason, wait_ms);
        uint8_t frame[2 + WS_CONTROL_MAX];
        buffer_add(&x->out, frame, ws_close(frame, code, reason));
    }
}

static void close_open(struct client *c, int code, struct view reason, int64_t wait_ms,
                       const char *why)
{
    if (c->state != CLIENT_OPEN)
        return;
    close_gently(c, code, reason, wait_ms);
    enter(c, CLIENT_CLOSING, why);
    flush(c);
}

static void close_with(struct client *c, int code, struct view reason, const char *why)
{
    close_open(c, code, reason, reconnect_ms(), why);
}

static void close_for_drain(struct client *c)
{
    char reason[WS_REASON_MAX + 1];
    int64_t wait_ms = reconnect_ms();
    snprintf(reason, sizeof(reason), "the broker is going away: reconnect in %lld ms",
             (long long)wait_ms);
    close_open(c, WS_CLOSE_GOING_AWAY, view_of(reason), wait_ms, "drain");
}

static void close_behind(struct client *c, const struct gap *gap)
{
    char after[EVENTID_MAX + 1], missed[24] = "some", reason[WS_REASON_MAX + 1];
    eventid_format(gap->after, after);
    if (gap->missed != MISSED_UNKNOWN)
        snprintf(missed, sizeof(missed), "%lld", (long long)gap->missed);
    snprintf(reason, sizeof(reason), "fell behind: last id %s, %s events missed", after, missed);
    stats_add(&c->all->stats->fell_behind, 1);
    close_with(c, WS_CLOSE_BEHIND, view_of(reason), "fell behind");
}

// The client has not had what is leaving the ring. slow=skip goes on behind it.
static void fall_behind(struct client *c, uint64_t first_seq)
{
    struct stats *stats = c->all->stats;
    const struct log *l = &c->stream->log;
    finish_frame(c);
    uint64_t until = first_seq < l->end_seq ? first_seq : l->end_seq;
    bool exact = until == first_seq && !seek_has_gaps(l, c->cursor.seq, until);
    struct gap gap = {
        .reason = GAP_SLOW,
        .after = last_id_sent(c),
        .before = seek_event_id(l, until),
        .missed = exact ? seek_count_events(l, c->cursor.seq, until)
                        : (int64_t)(first_seq - c->cursor.seq),
    };
    if (c->slow_skip) {
        stats_add(&stats->skipped_behind, (uint64_t)gap.missed);
        if (!exact)
            gap.missed = MISSED_UNKNOWN;
        if (tells(c))
            tell_gap(c, &gap);
        c->cursor = (struct cursor){ .seq = first_seq };
        return;
    }
    close_behind(c, &gap);
}

// ---- sending --------------------------------------------------------------------

static void queue_ping(struct client *c)
{
    struct extra *x = c->extra;
    x->ping = false;
    if (is_sse(c)) {
        buffer_add_view(&x->out, VIEW(":\n\n"));
        deadline_arm(&c->all->comments, &c->deadline, c->all->loop->now_ms);
        return;
    }
    uint8_t frame[2 + WS_CONTROL_MAX];
    buffer_add(&x->out, frame, ws_control(frame, WS_PING, VIEW("")));
    c->pinged = true;
    deadline_arm(&c->all->pongs, &c->deadline, c->all->loop->now_ms);
}

static bool has_log(const struct client *c)
{
    return c->state == CLIENT_OPEN && !c->waiting;
}

static bool is_even(const struct client *c) // it has had all of the log
{
    return c->cursor.seq == c->stream->log.end_seq;
}

// `stale` is said at once, `ok` when the client has had what it missed.
static bool source_is_due(const struct client *c)
{
    return tells(c) && c->told_stale != stream_is_stale(c->stream) &&
           (!c->told_stale || (has_log(c) && is_even(c)));
}

static bool live_is_due(const struct client *c) // the replay is over, and it has not been said
{
    const struct extra *x = c->extra;
    return x && x->replaying && has_log(c) && c->cursor.seq >= x->live_seq && c->cursor.skip == 0;
}

// Pings, pongs and notices go between frames; a frame under way is finished first,
// so they are never lost behind a backlog.
static void queue_control(struct client *c)
{
    if (c->state != CLIENT_OPEN)
        return;
    if (source_is_due(c))
        tell_source(c);
    if (live_is_due(c))
        tell_live(c);
    struct extra *x = c->extra;
    if (x == NULL || (!x->ping && !x->pong.len && !x->notices.len))
        return;
    if (!c->waiting)
        finish_frame(c);
    if (x->ping)
        queue_ping(c);
    buffer_add_view(&x->out, buffer_view(&x->pong));
    x->pong.len = 0;
    buffer_add_view(&x->out, buffer_view(&x->notices));
    x->notices.len = 0;
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

enum written { WROTE_ALL, WROTE_SOME, WROTE_AND_DIED };

// One write: control bytes, then what the cursor has not seen, up to where the
// replay ends.
static enum written write_once(struct client *c)
{
    struct iovec pieces[FLUSH_PIECES];
    size_t count = 0, total = 0;

    queue_control(c);
    if (c->extra && c->extra->out.len) {
        total = c->extra->out.len;
        pieces[count++] = (struct iovec){ c->extra->out.at, total };
    }
    if (has_log(c)) {
        const struct log *l = &c->stream->log;
        size_t more = FLUSH_PIECES - count;
        uint64_t until = c->extra && c->extra->replaying ? c->extra->live_seq : l->end_seq;
        size_t bytes = log_gather(l, c->cursor, until, FLUSH_BYTES_MAX, pieces + count, &more);
        if (bytes == 0) // what cannot be told in this format
            c->cursor = log_advance(l, c->cursor, 0);
        total += bytes;
        count += more;
    }
    if (total == 0)
        return WROTE_ALL;
    ssize_t n = write_pieces(c->fd, pieces, count);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        die(c, strerror(errno));
        return WROTE_AND_DIED;
    }
    if (n > 0)
        account(c, (size_t)n);
    return n < (ssize_t)total ? WROTE_SOME : WROTE_ALL;
}

// Writes what is due, at most FLUSH_BYTES_MAX, and leaves the client in the list
// that says what it waits for. It never frees the client.
static void flush(struct client *c)
{
    enum written written = write_once(c);
    if (written == WROTE_ALL && has_log(c) && (live_is_due(c) || source_is_due(c)))
        written = write_once(c); // `live`, `ok`
    if (written == WROTE_AND_DIED)
        return;

    bool blocked = written == WROTE_SOME;
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
        close_for_drain(c);
}

static void queue_pong(struct client *c, struct view payload)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    struct buffer *pong = &need_extra(c)->pong;
    pong->len = 0; // the newest will do (RFC 6455 s. 5.5.3)
    buffer_add(pong, frame, ws_control(frame, WS_PONG, payload));
}

// ---- tokens that end while their clients stay -----------------------------------

// Its token ends within the time until we look again, so that each second counts.
static void watch_expiry(struct client *c)
{
    struct clients *all = c->all;
    const struct config *config = all->config;
    int64_t soon_s =
        EXPIRING_S + config->ping_seconds + config->pong_seconds + COMMENT_MS / MS_PER_S;
    if (c->expiry_s == 0 || c->expiry_s - clock_wall_ms() / MS_PER_S > soon_s ||
        (c->extra && c->extra->ending))
        return;
    if (all->ending_len == all->ending_cap) {
        all->ending_cap = all->ending_cap ? all->ending_cap * 2 : 64;
        all->ending = realloc(all->ending, all->ending_cap * sizeof(struct client *));
        CHECK(all->ending != NULL);
    }
    struct extra *x = need_extra(c);
    x->ending = true;
    x->told_expiring = false;
    x->ending_at = all->ending_len;
    all->ending[all->ending_len++] = c;
}

static void look_at_expiry(struct client *c, int64_t now_ms)
{
    int64_t left_ms = c->expiry_s * MS_PER_S - now_ms;
    if (left_ms < 0) {
        close_open(c, WS_CLOSE_EXPIRED, VIEW("the token has expired"), RECONNECT_MIN_MS,
                   "token expired");
    } else if (left_ms <= EXPIRING_S * MS_PER_S && !c->extra->told_expiring) {
        c->extra->told_expiring = true;
        if (tells(c) && !is_sse(c)) {
            tell_expiring(c, left_ms / MS_PER_S);
            flush(c);
        }
    }
}

// {"type":"auth","token":T} from a client of the envelope: T takes the old token's
// place. The answer is `expiring`, with the time that is left now, whether T was
// taken or not.
static void renew(struct client *c, struct view message)
{
    struct clients *all = c->all;
    json_t *json = json_loadb(message.at, message.len, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *token = json_string_value(json_object_get(json, "token"));
    if (type && token && strcmp(type, "auth") == 0) {
        struct view secrets[ADMISSION_SECRETS];
        int64_t expiry_s = 0, now_ms = clock_wall_ms();
        admission_secrets(all->config, secrets);
        enum token_verdict verdict = token_verify(view_of(token), stream_id(c->stream), secrets,
                                                  ADMISSION_SECRETS, now_ms, &expiry_s);
        say(SAY_INFO, "token_renewal", SAY_V("stream", stream_id(c->stream)),
            SAY_S("verdict", token_verdict_name(verdict)));
        if (verdict == TOKEN_OK) {
            c->expiry_s = expiry_s;
            forget_ending(c);
            watch_expiry(c);
        }
        tell_expiring(c, c->expiry_s - now_ms / MS_PER_S);
        flush(c);
    }
    json_decref(json);
}

// ---- joining a stream -----------------------------------------------------------

int64_t clients_redis_now_ms(const struct clients *all)
{
    return pulse_redis_now_ms(all->pulse, clock_mono_ms());
}

static int64_t window_start_ms(const struct clients *all)
{
    return clients_redis_now_ms(all) - all->config->ring_seconds * MS_PER_S;
}

static void let_in(struct client *c)
{
    struct extra *x = c->extra;
    CHECK(c->state == CLIENT_JOINING);
    buffer_add_view(&x->out, buffer_view(&x->handshake));
    buffer_free(&x->handshake);
    stats_add(&c->all->stats->upgraded, 1);
    enter(c, CLIENT_OPEN, "let in");
    watch_expiry(c);
}

// It was let in while Redis could not be read, and is owed all since. What the ring has
// by now may begin behind that, and raw cannot say so.
static bool begins_behind(const struct client *c, struct gap *gap)
{
    const struct stream *s = c->stream;
    const struct start since = { .kind = START_LIVE, .at_ms = c->extra->let_in_ms };
    if (since.at_ms == 0 || tells(c) || c->slow_skip)
        return false;
    struct seek_place place =
        seek_start(&s->log, &s->floor, s->last, &since, window_start_ms(c->all));
    *gap = place.gap;
    return place.has_gap;
}

static void set_cursor(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->stream;
    int64_t window_ms = window_start_ms(c->all);
    struct seek_place place = seek_start(&s->log, &s->floor, s->last, &x->start, window_ms);
    c->cursor = (struct cursor){ .seq = place.seq };
    x->starting = c->waiting = false;
    if (!tells(c))
        return;
    x->replaying = true;
    x->live_seq = s->log.end_seq;
    if (!is_sse(c) && !x->greeted)
        say_hello(c, window_ms);
    if (place.has_gap)
        tell_gap(c, &place.gap);
}

static void send_history(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->stream;
    struct buffer body = { 0 };
    struct seek_place place =
        seek_start(&s->log, &s->floor, s->last, &x->start, window_start_ms(c->all));
    history_write(&body, &s->log, stream_id(s), place.seq, x->limit, HISTORY_BYTES_MAX,
                  !place.has_gap);
    http_reply(&x->out, 200, VIEW("application/json"), buffer_view(&body),
               buffer_view(&x->handshake), x->keep_alive);
    buffer_free(&body);
    buffer_free(&x->handshake);
    x->starting = false;
    leave_stream(c);
    enter(c, x->keep_alive ? CLIENT_HEAD : CLIENT_CLOSING, "history");
    flush(c);
}

// The stream is primed: set the cursor. An `after` that is ahead of what we know
// may be news that another broker had before us: Redis is asked before we doubt it.
static void begin(struct client *c)
{
    struct extra *x = c->extra;
    struct stream *s = c->stream;
    CHECK(c->waiting && x->starting && s->primed);
    if (!x->confirmed && seek_is_ahead(&s->log, s->last, &x->start)) {
        x->confirmed = true; // by the next `refreshed`
        stream_refresh(s);
        return;
    }
    if (x->history) {
        send_history(c);
        return;
    }
    if (c->state == CLIENT_JOINING)
        let_in(c);
    struct gap gap;
    if (begins_behind(c, &gap)) {
        close_behind(c, &gap);
        return;
    }
    set_cursor(c);

    struct buffer early = x->in;
    x->in = (struct buffer){ 0 };
    flush(c);
    if (early.len && c->state == CLIENT_OPEN)
        take_frames(c, early.at, early.len);
    buffer_free(&early);
    if (c->state != CLIENT_DEAD)
        drop_extra_if_idle(c);
}

static void look_at_pulse(struct clients *all)
{
    uint64_t epoch = pulse_epoch(all->pulse);
    if (!pulse_readable(all->pulse, all->loop->now_ms))
        streams_mark_stale(all->streams, epoch);
}

void client_join(struct client *c, const struct admission *a, struct view handshake,
                 struct visitor *visitor)
{
    look_at_pulse(c->all); // it is told at once
    struct stream *s = streams_find(c->all->streams, a->form, buffer_view(&a->id));
    struct extra *x = need_extra(c);
    stream_join(s);
    c->stream = s;
    c->visitor = visitor;
    c->waiting = true;
    c->slow_skip = a->slow_skip;
    c->expiry_s = c->all->config->expire_live ? a->expiry_s : 0;
    x->start = a->start;
    x->starting = true;
    x->confirmed = x->greeted = false;
    x->history = a->route == ROUTE_HISTORY;
    x->limit = a->limit;
    buffer_add_view(&x->handshake, handshake);
    list_move(&s->waiting, &c->node);
    enter(c, CLIENT_JOINING, "request");
    if (s->primed)
        begin(c);
}

// No stream, and no place to say so but the reply. A history's head has its CORS
// lines already.
static void refuse_joining(struct client *c, const char *why)
{
    struct extra *x = c->extra;
    struct buffer headers = { 0 };
    buffer_add_view(&headers, VIEW("Retry-After: 1\r\n"));
    if (x->history)
        buffer_add_view(&headers, buffer_view(&x->handshake));
    http_refuse(&x->out, 503, "unavailable", why, buffer_view(&headers), false);
    buffer_free(&headers);
    enter(c, CLIENT_CLOSING, why);
    flush(c);
}

// Redis did not answer in time. The client comes in and waits inside; what is
// published from now on it will get, by the time of the events. A history cannot
// wait.
static void join_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    struct extra *x = c->extra;
    if (x->history && pulse_readable(c->all->pulse, c->all->loop->now_ms)) {
        deadline_arm(&c->all->joins, &c->deadline, c->all->loop->now_ms); // it is being read
        return;
    }
    if (x->history) {
        refuse_joining(c, "Redis cannot be read");
        return;
    }
    x->let_in_ms = clients_redis_now_ms(c->all);
    if (x->start.kind == START_LIVE || x->start.kind == START_LAST)
        x->start.at_ms = x->let_in_ms;
    let_in(c);
    if (tells(c) && !is_sse(c))
        say_hello(c, window_start_ms(c->all)); // knowing nothing yet
    flush(c);
}

// ---- requests -------------------------------------------------------------------

struct buffer *client_reply(struct client *c)
{
    return &need_extra(c)->out;
}

static void close_reply(struct client *c, const char *why) // the reply is in `out`
{
    enter(c, CLIENT_CLOSING, why);
    flush(c);
}

void client_hold(struct client *c, struct in6_addr address)
{
    need_extra(c)->address = address;
    enter(c, CLIENT_HELD, "too many bad tokens");
    set_interest(c, 0);
}

void client_shut(struct client *c, const char *why)
{
    die(c, why);
}

static void hold_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    door_slow_done(c->all->door, c->extra->address);
    close_reply(c, "held long enough");
}

static void refuse_head(struct client *c, int status, const char *why)
{
    const char *code = status == 431 ? "head_too_large" : status == 408 ? "timeout" : "bad_request";
    stats_add(&c->all->stats->refused, 1);
    http_refuse(client_reply(c), status, code, why, VIEW(""), false);
    close_reply(c, why);
}

// Takes one request off the front of x->in and answers it. Its views point into
// the bytes, which are put aside until then.
static void take_request(struct client *c, struct http_request *req, size_t used)
{
    struct buffer in = c->extra->in;
    c->extra->in = (struct buffer){ 0 };
    buffer_add(&c->extra->in, in.at + used, in.len - used);
    req->keep_alive = req->keep_alive && !req->has_body; // we would read it as a request
    c->extra->keep_alive = req->keep_alive;
    deadline_arm(&c->all->heads, &c->deadline, c->all->loop->now_ms);
    c->all->answer(c, req);
    buffer_free(&in);
    if (c->state == CLIENT_HEAD && !req->keep_alive)
        close_reply(c, "replied");
    else if (c->state == CLIENT_HEAD)
        flush(c);
}

// Answers the requests in x->in, one after another, as long as replies leave.
static void take_requests(struct client *c)
{
    struct http_request req;
    size_t used = 0;
    while (c->state == CLIENT_HEAD && c->extra && c->extra->in.len &&
           c->extra->out.len < OUTPUT_MAX) {
        switch (http_parse(&req, buffer_view(&c->extra->in), &used)) {
        case HTTP_MORE: return;
        case HTTP_BAD: refuse_head(c, req.status, req.why); return;
        case HTTP_DONE: take_request(c, &req, used); break;
        }
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
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    watch_expiry(c);
    need_extra(c)->ping = true;
    flush(c);
    if (c->state == CLIENT_OPEN)
        drop_extra_if_idle(c);
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

// A deflated message has no meaning either, but must be one: it is unfolded within
// a bound and looked at. False: the client was closed.
static bool inflate_message(struct client *c, bool is_text, struct buffer *plain)
{
    struct clients *all = c->all;
    if (all->inflater == NULL)
        all->inflater = inflater_new();
    switch (inflater_run(all->inflater, buffer_view(&c->extra->message), MESSAGE_MAX, plain)) {
    case INFLATE_OK: break;
    case INFLATE_BAD:
        close_with(c, WS_CLOSE_BAD_DATA, VIEW("the message is no deflate data"), "bad deflate");
        return false;
    case INFLATE_TOO_BIG:
        close_with(c, WS_CLOSE_TOO_BIG, VIEW("the message unfolds to more than 64 KiB"),
                   "deflate bomb");
        return false;
    }
    if (is_text && !utf8_valid(buffer_view(plain))) {
        close_with(c, WS_CLOSE_BAD_DATA, VIEW("the message is not UTF-8"), "bad UTF-8");
        return false;
    }
    return true;
}

static void take_message(struct client *c, const struct ws_item *item)
{
    struct buffer plain = { 0 };
    bool is_text = item->opcode == WS_TEXT;
    struct view message = buffer_view(&c->extra->message);
    if (item->deflated) {
        if (!inflate_message(c, is_text, &plain)) {
            buffer_free(&plain);
            return;
        }
        message = buffer_view(&plain);
    }
    if (is_text && c->expiry_s && tells(c) && message.len <= AUTH_MAX)
        renew(c, message);
    buffer_free(&plain);
    if (c->extra)
        buffer_free(&c->extra->message);
}

// No message from a client means anything, but for a renewed token. What we do not
// look into is not kept.
static void take_data(struct client *c, const struct ws_item *item)
{
    bool may_renew = c->expiry_s && tells(c) && item->opcode == WS_TEXT;
    if (!item->deflated && !may_renew)
        return;
    struct buffer *message = &need_extra(c)->message;
    size_t most = item->deflated ? MESSAGE_MAX : AUTH_MAX + 1;
    size_t room = most - message->len;
    buffer_add(message, item->at, item->len < room ? item->len : room);
    if (item->message_end)
        take_message(c, item);
}

static void take_item(struct client *c, enum ws_got got, const struct ws_item *item)
{
    struct view payload = { item->at, item->len };
    switch (got) {
    case WS_GOT_PING: queue_pong(c, payload); break;
    case WS_GOT_PONG: take_pong(c); break;
    case WS_GOT_CLOSE: close_open(c, item->code, VIEW(""), -1, "the peer closed"); break;
    case WS_GOT_BAD: close_with(c, item->code, view_of(item->why), item->why); break;
    case WS_GOT_DATA: take_data(c, item); break;
    case WS_GOT_MORE: break;
    }
}

static void take_frames(struct client *c, char *at, size_t len)
{
    const struct ws_limits limits = {
        .message_max = MESSAGE_MAX,
        .allow_deflate = form_is_deflated(c->stream->form),
    };
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
    switch ((enum client_state)c->state) {
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
        if (!is_sse(c)) // whose clients have nothing more to say
            take_frames(c, at, len);
        break;
    case CLIENT_HELD:
    case CLIENT_CLOSING: // too late
    case CLIENT_DEAD: break;
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
        close_for_drain(c);
    else
        flush(c); // closes it if it has had all
}

// Now and then: is Redis readable, and whose token ends?
static void pause_due(struct deadline *d)
{
    struct stream *s = CONTAINER_OF(d, struct stream, pause);
    if (s->held)
        stream_mark_changed(s);
    s->held = false;
}

static void look_due(struct deadline *d)
{
    struct clients *all = CONTAINER_OF(d, struct clients, look);
    int64_t now_ms = clock_wall_ms();
    look_at_pulse(all);
    for (size_t i = all->ending_len; i-- > 0;)
        look_at_expiry(all->ending[i], now_ms); // one that closes gives its place to the last
    deadline_arm(&all->looks, &all->look, all->loop->now_ms);
}

void clients_init(struct clients *all)
{
    const struct config *config = all->config;
    list_init(&all->lobby);
    list_init(&all->leaving);
    list_init(&all->dead);
    deadline_init(&all->look);
    init_queue(all, &all->heads, config->handshake_seconds * MS_PER_S, head_due);
    init_queue(all, &all->holds, HOLD_MS, hold_due);
    init_queue(all, &all->joins, JOIN_MS, join_due);
    init_queue(all, &all->pings, config->ping_seconds * MS_PER_S, ping_due);
    init_queue(all, &all->comments, COMMENT_MS, ping_due);
    init_queue(all, &all->pongs, config->pong_seconds * MS_PER_S, pong_due);
    init_queue(all, &all->closings, config->pong_seconds * MS_PER_S, closing_due);
    init_queue(all, &all->drains, 0, drain_due);
    init_queue(all, &all->looks, LOOK_MS, look_due);
    init_queue(all, &all->pauses, config->flush_ms, pause_due);
}

void clients_start(struct clients *all)
{
    deadline_arm(&all->looks, &all->look, all->loop->now_ms);
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
        if (c->state == CLIENT_HEAD) // it had a history; what else did it ask?
            take_requests(c);
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
    stream_join(s); // a client that falls behind may be the last one to leave
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

static struct list *const *lists_of(struct stream *s, size_t *count)
{
    static _Thread_local struct list *lists[4];
    lists[0] = &s->waiting;
    lists[1] = &s->idle;
    lists[2] = &s->ready;
    lists[3] = &s->blocked;
    *count = ARRAY_LEN(lists);
    return lists;
}

static void fail_client(struct client *c, int close_code, struct view reason)
{
    struct extra *x = c->extra;
    if (c->state == CLIENT_JOINING && (x->history || is_sse(c))) {
        refuse_joining(c, "the stream cannot be read");
        return;
    }
    if (c->state == CLIENT_JOINING) {
        let_in(c); // a close frame has a reason that a client sees
        if (tells(c))
            say_hello(c, window_start_ms(c->all));
    }
    close_with(c, close_code, reason, "the stream cannot be read");
}

void clients_failure(struct clients *all, struct failure *failure)
{
    struct stream *s = failure->stream;
    size_t count;
    (void)all;
    if (s->clients > 0) {
        stream_join(s);
        struct list *const *lists = lists_of(s, &count);
        for (size_t i = 0; i < count; i++)
            LIST_EACH (node, lists[i])
                fail_client(LIST_ITEM(node, struct client, node), failure->close_code,
                            view_of(failure->reason));
        stream_leave(s);
    }
    free(failure);
}

// Between two events the clients have left the caches, and each is one more wait for
// memory: the next one is fetched while this one is written to.
static void prefetch_client(struct list *node)
{
    char *at = (char *)node;
    __builtin_prefetch(at, 1);
    __builtin_prefetch(at + sizeof(struct client) - offsetof(struct client, node) - 1, 1);
}

// Idle clients get what is new; with BOND_FLUSH_MS, at most once in that time. Who has
// waited longest is first, so if there is something new then it is new to the first.
static void take_idle(struct list *due, struct stream *s, struct clients *all)
{
    bool news = !list_empty(&s->idle) && !is_even(LIST_ITEM(s->idle.next, struct client, node));
    if (news && deadline_armed(&s->pause)) {
        s->held = true;
        return;
    }
    if (news && all->config->flush_ms > 0)
        deadline_arm(&all->pauses, &s->pause, all->loop->now_ms);
    list_take_all(due, &s->idle);
}

static void flush_stream(struct clients *all, struct stream *s)
{
    struct list due; // flushing moves each on, to the list that says what it waits for
    list_init(&due);
    list_take_all(&due, &s->ready);
    take_idle(&due, s, all);
    while (!list_empty(&due)) {
        struct list *node = due.next;
        prefetch_client(node->next); // while send() keeps us busy
        flush(LIST_ITEM(node, struct client, node));
    }
    LIST_EACH (node, &s->waiting) { // those who wait inside may be told of the source
        struct client *c = LIST_ITEM(node, struct client, node);
        if (c->state == CLIENT_OPEN)
            flush(c);
    }
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
        flush_stream(all, s);
        stream_leave(s);
    }
    reap(all);
    return !list_empty(&all->streams->changed);
}

static void drain_client(struct clients *all, struct client *c, int64_t after_ms)
{
    if (c->state == CLIENT_JOINING && c->extra->history)
        return; // it has a second at most
    if (c->state == CLIENT_JOINING)
        let_in(c);
    all->drains.after_ms = after_ms;
    deadline_arm(&all->drains, &c->deadline, all->loop->now_ms);
}

void clients_drain(struct clients *all, int64_t drain_ms)
{
    int64_t total = (int64_t)all->count, i = 0;
    struct table *streams = &all->streams->by_id;
    all->draining = true;
    for (size_t slot = 0; slot < streams->slot_count; slot++)
        for (struct table_node *n = streams->slots[slot]; n; n = n->next) {
            size_t count;
            struct list *const *lists = lists_of(TABLE_ITEM(n, struct stream, by_id), &count);
            for (size_t l = 0; l < count; l++)
                LIST_EACH (node, lists[l])
                    drain_client(all, LIST_ITEM(node, struct client, node), drain_ms * i++ / total);
        }
}

size_t clients_left(const struct clients *all)
{
    size_t lobby = 0;
    LIST_EACH (node, &all->lobby)
        lobby++;
    return all->count - lobby;
}

static void kill_all(struct list *clients)
{
    while (!list_empty(clients))
        die(LIST_ITEM(clients->next, struct client, node), "the broker ends");
}

void clients_done(struct clients *all)
{
    for (struct table_node *n; (n = table_any(&all->streams->by_id));) {
        struct stream *s = TABLE_ITEM(n, struct stream, by_id);
        size_t count;
        stream_join(s);
        struct list *const *lists = lists_of(s, &count);
        for (size_t i = 0; i < count; i++)
            kill_all(lists[i]);
        stream_leave(s);
    }
    kill_all(&all->lobby);
    kill_all(&all->leaving);
    reap(all);
    free(all->ending);
    inflater_free(all->inflater);
    buffer_free(&all->text);
}
