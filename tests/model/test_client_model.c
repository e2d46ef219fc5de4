// Random lives of a worker's clients over real sockets, against a model of what each must
// read: whole messages in the log's order, a gap wherever events are missing, `live` between
// replay and news, `stale` and `ok` in turn, the newest pong, nothing behind a close. The log
// is made by hand: events, gaps, trims, letters that come late. Its readers read a little, or
// nothing for long, so that frames are cut anywhere.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "life.h"

#include "base/clock.h"
#include "worker/clients.h"
#include "worker/frames.h"
#include "worker/subscription.h"

#define STEPS 30000
#define STEPS_IN_A_WORLD 500
#define PEERS 5
#define SEGMENT_BYTES (12 * KIB)
#define EVENT_BYTES_MAX (20 * KIB)
#define OWN_BYTES_MAX 2048    // of one batch of notices and control frames
#define MISSED_OF_GAP 1000000 // what a gap in the log says, less its seq

static const enum form forms[] = { FORM_RAW, FORM_ENVELOPE, FORM_SSE };

// What the tail would be for one form: the whole log, and how much of it was told.
struct side {
    struct log log;
    struct stream *stream; // while it is followed
    uint64_t told_end, told_epoch;
};

// The other end of a connection, and what must come next.
struct peer {
    int fd; // -1: none
    struct client *client;
    struct buffer in;
    enum form form;
    bool skips, from_first;
    bool begun, greeted, live, stale, closed;
    uint64_t next, live_seq;
    uint64_t ok_seq; // what was there at the first recovery since the last `ok`; 0: none
    uint64_t had;    // the newest event's ms; 0: none
    bool gap;        // told, and no event since
    int64_t missed;
    uint64_t before;                    // its ms; 0: not said
    unsigned pings, pongs;              // numbers of the last ones
    char type[16], id[EVENTID_MAX + 1]; // of an event stream's block
    struct buffer data;
};

static struct loop loop;
static struct config config;
static struct pulse pulse;
static struct metrics metrics;
static struct door door;
static atomic_size_t total;
static struct mailbox tail, self;
static struct streams streams;
static struct patterns patterns;
static struct clients all;
static struct side sides[FORM_COUNT];
static struct peer peers[PEERS];
static struct form_writer writer;
static uint64_t end_seq, last_event; // of the whole log; the newest event's ms
static struct buffer kinds;          // of its items: 'e' or 'g'
static int turns_left;
static bool may_be_cut; // connections may end without a close
static uint64_t epoch;

// ---- the worker's surroundings --------------------------------------------------

static void deliver_to_tail(void *ctx, struct letter *letter)
{
    (void)ctx;
    struct request *request = CONTAINER_OF(letter, struct request, letter);
    struct side *side = &sides[request->form];
    if (letter->kind == LETTER_FOLLOW) {
        side->stream = request->stream;
        side->told_end = 0;
    } else if (letter->kind == LETTER_UNFOLLOW) {
        if (side->stream == request->stream)
            side->stream = NULL;
        stream_free(request->stream);
    }
    free(letter);
}

static void answer(struct client *c, const struct http_request *req)
{
    struct peer *p = &peers[req->path.at[1] - '0'];
    char handshake[] = "HTTP\n";
    struct admission a = {
        .route = p->form == FORM_SSE ? ROUTE_SSE : ROUTE_WS,
        .form = p->form,
        .start = { .kind = p->from_first ? START_FIRST : START_LIVE },
        .slow = p->skips ? SLOW_SKIP : SLOW_CLOSE,
    };
    buffer_add_view(&a.id, VIEW("s"));
    p->client = c;
    subscription_join(c, &a, view_of(handshake), NULL);
    buffer_free(&a.id);
}

static bool before_sleep(void *ctx)
{
    (void)ctx;
    clients_flush(&all);
    if (turns_left-- == 0)
        loop_stop(&loop);
    return true;
}

static bool is_there(const struct peer *p)
{
    struct stream *s = sides[p->form].stream;
    struct list *list;
    for (size_t i = 0; s && (list = stream_list(s, i)) != NULL; i++)
        LIST_EACH (node, list)
            if (client_of(node) == p->client)
                return true;
    return false;
}

// Where those begin who have been let in since.
static void note_beginnings(void)
{
    for (struct peer *p = peers; p < peers + PEERS; p++) {
        if (p->fd < 0 || p->client == NULL || p->begun || !is_there(p))
            continue;
        const struct log *l = &p->client->sub.stream->log;
        if (p->client->state != CLIENT_OPEN || p->client->sub.waiting)
            continue;
        p->begun = true;
        p->live_seq = l->end_seq;
        p->next = p->from_first ? l->first_seq : l->end_seq;
    }
}

static void keep_to_bounds(void)
{
    for (struct peer *p = peers; p < peers + PEERS; p++)
        if (p->fd >= 0 && p->client && is_there(p) && p->client->extra) {
            const struct outbox *o = &p->client->extra->outbox;
            EXPECT(o->own.len - o->own_sent <= OWN_BYTES_MAX);
        }
}

static void turn(void)
{
    turns_left = 1;
    loop.stopping = false;
    loop_run(&loop);
    note_beginnings();
    keep_to_bounds();
}

// ---- the log --------------------------------------------------------------------

static void append_item(bool is_event, struct view payload)
{
    struct eventid id = { is_event ? end_seq + 1 : last_event, 0 };
    struct gap gap = { .reason = GAP_TRIMMED,
                       .after = { last_event, 0 },
                       .missed = MISSED_OF_GAP + (int64_t)end_seq };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct buffer bytes = { 0 };
        struct segment *made;
        struct item item = { .id = id,
                             .time_ms = clock_wall_ms(),
                             .kind = is_event ? ITEM_EVENT : ITEM_GAP };
        if (is_event)
            form_event(&writer, forms[i], VIEW("s"), id, payload, &bytes);
        else
            form_gap(&writer, forms[i], VIEW("s"), &gap, &bytes);
        EXPECT(log_append(&sides[forms[i]].log, item, buffer_view(&bytes), VIEW(""), SEGMENT_BYTES,
                          &made));
        buffer_free(&bytes);
    }
    buffer_add(&kinds, is_event ? "e" : "g", 1);
    last_event = is_event ? end_seq + 1 : last_event;
    end_seq++;
}

static void append(void)
{
    for (size_t count = 1 + below(5); count > 0; count--) {
        struct buffer payload = { 0 };
        size_t size = one_in(8) ? below(EVENT_BYTES_MAX) : below(300);
        buffer_printf(&payload, "{\"n\":%" PRIu64 ",\"x\":\"%0*d\"}", end_seq, (int)size, 7);
        append_item(!one_in(12), buffer_view(&payload));
        buffer_free(&payload);
    }
}

static void trim(void)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct log *l = &sides[forms[i]].log;
        log_trim(l, l->first_seq + below((size_t)(end_seq - l->first_seq) + 1));
    }
}

static struct floor floor_of(const struct log *l)
{
    uint64_t seq = l->first_seq;
    while (seq > 0 && kinds.at[seq - 1] != 'e')
        seq--;
    return (struct floor){ .id = { seq, 0 } };
}

static void tell(struct side *side)
{
    const struct log *l = &side->log;
    size_t untold = l->len;
    if (side->stream == NULL)
        return;
    while (untold > 0 &&
           log_extent(l, untold - 1)->first_seq + log_extent(l, untold - 1)->count > side->told_end)
        untold--;
    size_t count = l->len - untold;
    struct news *news = must_alloc(sizeof(*news) + count * sizeof(struct extent));
    *news = (struct news){ .letter.kind = LETTER_NEWS,
                           .stream = side->stream,
                           .first_seq = l->first_seq,
                           .end_seq = l->end_seq,
                           .last = { last_event, 0 },
                           .floor = floor_of(l),
                           .epoch = epoch,
                           .ready = true,
                           .extent_count = count };
    for (size_t i = 0; i < count; i++) {
        news->extents[i] = *log_extent(l, untold + i);
        segment_ref(news->extents[i].segment);
    }
    if (epoch != side->told_epoch)
        for (struct peer *p = peers; p < peers + PEERS; p++)
            if (p->form == (enum form)(side - sides) && p->ok_seq == 0)
                p->ok_seq = l->end_seq;
    side->told_end = l->end_seq;
    side->told_epoch = epoch;
    clients_news(&all, news);
    note_beginnings();
}

// ---- what a peer reads ----------------------------------------------------------

static int64_t events_between(uint64_t from, uint64_t to, bool *gaps)
{
    int64_t count = 0;
    for (uint64_t seq = from; seq < to; seq++) {
        count += kinds.at[seq] == 'e';
        *gaps = *gaps || kinds.at[seq] == 'g';
    }
    return count;
}

// The item `seq` comes: what lies before it, and has not come, was told of.
static void take_item(struct peer *p, uint64_t seq)
{
    bool gaps = false, tells = form_tells(p->form);
    EXPECT(p->begun && seq >= p->next && seq < end_seq);
    EXPECT(!tells || seq < p->live_seq || p->live);
    int64_t missing = events_between(p->next, seq, &gaps);
    if (tells) {
        EXPECT(p->gap == (seq > p->next));
        EXPECT(p->skips || missing == 0); // else it is closed; a gap that left is told by one
        EXPECT(!p->gap || p->missed == MISSED_UNKNOWN || (p->missed == missing && !gaps));
        EXPECT(p->before == 0 || kinds.at[seq] == 'g' || p->before == seq + 1);
    } else {
        EXPECT(missing == 0 || p->skips);
    }
    p->next = seq + 1;
    p->gap = false;
    p->before = kinds.at[seq] == 'g' ? p->before : 0;
}

static uint64_t ms_of(const json_t *id) // 0: null
{
    return json_is_string(id) ? strtoull(json_string_value(id), NULL, 10) : 0;
}

static void take_gap(struct peer *p, const json_t *json)
{
    const json_t *missed = json_object_get(json, "missed");
    int64_t count = json_is_integer(missed) ? json_integer_value(missed) : MISSED_UNKNOWN;
    if (strcmp(json_string_value(json_object_get(json, "reason")), "trimmed") == 0) {
        take_item(p, (uint64_t)(count - MISSED_OF_GAP));
        return;
    }
    EXPECT(strcmp(json_string_value(json_object_get(json, "reason")), "slow") == 0);
    EXPECT(count != 0);
    bool unknown = count == MISSED_UNKNOWN || (p->gap && p->missed == MISSED_UNKNOWN);
    p->missed = unknown ? MISSED_UNKNOWN : count + (p->gap ? p->missed : 0);
    p->before = ms_of(json_object_get(json, "before"));
    EXPECT(p->before == 0 || p->before > p->had);
    uint64_t after = ms_of(json_object_get(json, "after"));
    // Where all before it has left the ring, it is behind gaps that it was told of.
    EXPECT(p->gap || p->had == 0 || after == p->had || (after > p->had && after <= p->next));
    p->gap = true;
}

static void take_source(struct peer *p, const json_t *json)
{
    bool stale = strcmp(json_string_value(json_object_get(json, "state")), "stale") == 0;
    EXPECT(stale != p->stale);
    EXPECT(stale || p->next >= p->ok_seq || p->gap);
    p->ok_seq = stale ? p->ok_seq : 0;
    p->stale = stale;
}

static void take_event(struct peer *p, uint64_t ms)
{
    EXPECT(ms > p->had && kinds.at[ms - 1] == 'e');
    take_item(p, ms - 1);
    p->had = ms;
}

static void take_live(struct peer *p, const json_t *json)
{
    EXPECT(!p->live && (p->next >= p->live_seq || p->gap));
    EXPECT(ms_of(json_object_get(json, "id")) >= p->had);
    p->live = true;
}

static void take_closing(struct peer *p, const json_t *json)
{
    uint64_t last = ms_of(json_object_get(json, "last"));
    // Where it was told of all that lies between, as in take_gap.
    EXPECT(p->had == 0 || p->gap || last == p->had || (last > p->had && last <= p->next));
}

static void take_told(struct peer *p, struct view text)
{
    json_t *json = json_loadb(text.at, text.len, 0, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    EXPECT(json != NULL && type != NULL);
    EXPECT(p->form == FORM_SSE || p->greeted == (strcmp(type, "hello") != 0) ||
           strcmp(type, "closing") == 0);
    if (strcmp(type, "hello") == 0)
        p->greeted = true;
    else if (strcmp(type, "event") == 0)
        take_event(p, ms_of(json_object_get(json, "id")));
    else if (strcmp(type, "gap") == 0)
        take_gap(p, json);
    else if (strcmp(type, "live") == 0)
        take_live(p, json);
    else if (strcmp(type, "source") == 0)
        take_source(p, json);
    else if (strcmp(type, "closing") == 0)
        take_closing(p, json);
    else
        EXPECT(!"a type that is known");
    json_decref(json);
}

static void take_raw(struct peer *p, struct view text)
{
    json_t *json = json_loadb(text.at, text.len, 0, NULL);
    EXPECT(json != NULL);
    take_event(p, (uint64_t)json_integer_value(json_object_get(json, "n")) + 1);
    json_decref(json);
}

static void take_close(struct peer *p, struct view payload)
{
    char reason[128] = "";
    uint64_t last;
    memcpy(reason, payload.at + 2, payload.len - 2);
    if (sscanf(reason, "fell behind: last id %" SCNu64 "-", &last) == 1)
        EXPECT(!p->skips && (p->had == 0 || last == p->had));
    p->closed = true;
}

static void send_frame(struct peer *p, int opcode, struct view payload)
{
    char frame[6 + 125] = { (char)(0x80 | opcode), (char)(0x80 | payload.len), 0, 0, 0, 0 };
    memcpy(frame + 6, payload.at, payload.len);
    ssize_t n = send(p->fd, frame, 6 + payload.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    EXPECT(n < 0 || n == (ssize_t)(6 + payload.len));
    if (n < 0 && opcode == 9)
        p->pings--;
}

static void take_pong(struct peer *p, struct view payload)
{
    char text[16] = "";
    memcpy(text, payload.at, payload.len);
    unsigned number = (unsigned)atoi(text);
    EXPECT(number > p->pongs && number <= p->pings);
    p->pongs = number;
}

// One frame off the front of p->in; false: it is not whole.
static bool take_frame(struct peer *p)
{
    const uint8_t *at = (const uint8_t *)p->in.at;
    if (p->in.len < 2)
        return false;
    size_t extra = at[1] == 126 ? 2 : at[1] == 127 ? 8 : 0, len = extra ? 0 : at[1];
    if (p->in.len < 2 + extra)
        return false;
    for (size_t i = 0; i < extra; i++)
        len = len << 8 | at[2 + i];
    if (p->in.len < 2 + extra + len)
        return false;
    struct view payload = { p->in.at + 2 + extra, len };
    switch (at[0]) {
    case 0x81: p->form == FORM_RAW ? take_raw(p, payload) : take_told(p, payload); break;
    case 0x88: take_close(p, payload); break;
    case 0x89:
        if (!one_in(4))
            send_frame(p, 10, payload);
        break;
    case 0x8a: take_pong(p, payload); break;
    default: EXPECT(!"a frame of ours");
    }
    buffer_drop(&p->in, 2 + extra + len);
    return true;
}

static void take_block(struct peer *p)
{
    if (p->type[0] == '\0')
        take_event(p, strtoull(p->id, NULL, 10));
    else
        take_told(p, buffer_view(&p->data));
    p->type[0] = p->id[0] = '\0';
    p->data.len = 0;
}

// One line of an event stream.
static bool take_line(struct peer *p)
{
    const char *end = p->in.len ? memchr(p->in.at, '\n', p->in.len) : NULL;
    if (end == NULL)
        return false;
    struct view line = { p->in.at, (size_t)(end - p->in.at) };
    if (line.len == 0)
        take_block(p);
    else if (view_eq(line, VIEW(":")))
        EXPECT(p->type[0] == '\0' && p->id[0] == '\0' && p->data.len == 0);
    else if (view_starts(line, VIEW("retry: ")))
        p->closed = true;
    else if (view_starts(line, VIEW("event: ")))
        snprintf(p->type, sizeof(p->type), VIEW_FMT, (int)line.len - 7, line.at + 7);
    else if (view_starts(line, VIEW("id: ")))
        snprintf(p->id, sizeof(p->id), VIEW_FMT, (int)line.len - 4, line.at + 4);
    else if (view_starts(line, VIEW("data: ")))
        buffer_add(&p->data, line.at + 6, line.len - 6);
    else
        EXPECT(!"a line of ours");
    buffer_drop(&p->in, line.len + 1);
    return true;
}

static void peer_gone(struct peer *p)
{
    close(p->fd);
    buffer_free(&p->in);
    buffer_free(&p->data);
    *p = (struct peer){ .fd = -1 };
}

static void peer_reads(struct peer *p, size_t most)
{
    char some[4096];
    while (p->fd >= 0 && most > 0) {
        size_t want = most < sizeof(some) ? most : sizeof(some);
        ssize_t n = recv(p->fd, some, want, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            EXPECT(may_be_cut || (p->closed && p->in.len == 0));
            peer_gone(p);
            return;
        }
        EXPECT(!p->closed || p->in.len > 0);
        most -= (size_t)n;
        buffer_add(&p->in, some, (size_t)n);
        if (!p->begun) {
            if (p->in.len < 5)
                continue;
            note_beginnings();
        }
        if (p->client && p->in.len >= 5 && memcmp(p->in.at, "HTTP\n", 5) == 0)
            buffer_drop(&p->in, 5);
        while (!p->closed && (p->form == FORM_SSE ? take_line(p) : take_frame(p)))
            continue;
    }
}

static void peer_comes(struct peer *p)
{
    int ends[2], small = 2048;
    char text[64];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    EXPECT(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    *p = (struct peer){ .fd = ends[1],
                        .form = forms[below(ARRAY_LEN(forms))],
                        .skips = one_in(2),
                        .from_first = one_in(2) };
    EXPECT(clients_add(&all, ends[0], false));
    int len = snprintf(text, sizeof(text), "GET /%d HTTP/1.1\r\nHost:\r\n\r\n", (int)(p - peers));
    EXPECT(send(p->fd, text, (size_t)len, 0) == len);
}

static void peer_pings(struct peer *p)
{
    char text[16];
    int len = snprintf(text, sizeof(text), "%u", ++p->pings);
    send_frame(p, 9, (struct view){ text, (size_t)len });
}

// Its own ping or comment falls due.
static void ping_is_due(struct peer *p)
{
    if (p->client == NULL || !is_there(p) || p->client->state != CLIENT_OPEN)
        return;
    may_be_cut = may_be_cut || (p->client->extra && p->client->extra->ping);
    deadline_cancel(&p->client->deadline);
    frames_ping_due(&p->client->deadline);
}

// ---- a world --------------------------------------------------------------------

static void begin_world(void)
{
    may_be_cut = false;
    config = (struct config){ .handshake_seconds = 1000,
                              .ping_seconds = 1000,
                              .pong_seconds = 1000,
                              .ring_seconds = 100000,
                              .flush_ms = one_in(3) ? 1000000 : 0 };
    atomic_store(&pulse.readable_until_ms, INT64_MAX);
    epoch = 0;
    atomic_store(&pulse.epoch, 0);
    EXPECT(loop_init(&loop));
    loop.before_sleep = before_sleep;
    door_init(&door);
    EXPECT(mailbox_init(&tail, deliver_to_tail, NULL) && mailbox_open(&tail, &loop));
    EXPECT(mailbox_init(&self, deliver_to_tail, NULL));
    streams_init(&streams, &self, &tail);
    patterns_init(&patterns, &self, &tail);
    bool tight = one_in(4);
    may_be_cut = tight;
    all = (struct clients){ .loop = &loop,
                            .config = &config,
                            .pulse = &pulse,
                            .metrics = &metrics,
                            .streams = &streams,
                            .patterns = &patterns,
                            .door = &door,
                            .total = &total,
                            .max = 100,
                            .outbox_bytes = tight ? 40 * KIB : 64 * MIB,
                            .answer = answer };
    clients_init(&all);
    clients_start(&all);
    for (size_t i = 0; i < PEERS; i++)
        peers[i] = (struct peer){ .fd = -1 };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        sides[forms[i]] = (struct side){ 0 };
        log_init(&sides[forms[i]].log);
    }
    end_seq = last_event = 0;
}

static void settle(void)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        size_t before = metrics_get(&metrics, METRIC_SENT_BYTES);
        deadline_queue_run(&all.pauses, INT64_MAX - 1);
        for (size_t i = 0; i < PEERS; i++)
            peer_reads(&peers[i], SIZE_MAX);
        turn();
        if (metrics_get(&metrics, METRIC_SENT_BYTES) != before)
            quiet = 0;
    }
}

// All that was told has come, or a gap that reaches to its end.
static void all_has_come(void)
{
    for (struct peer *p = peers; p < peers + PEERS; p++) {
        if (p->fd < 0 || !p->begun || p->closed)
            continue;
        bool gaps = false;
        int64_t missing = events_between(p->next, sides[p->form].told_end, &gaps);
        EXPECT(p->in.len == 0);
        if (!form_tells(p->form))
            EXPECT(missing == 0 || p->skips);
        else
            EXPECT((p->gap || (missing == 0 && !gaps)) && p->live &&
                   (!p->gap || p->missed == MISSED_UNKNOWN || p->missed == missing));
    }
}

static void end_world(void)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        tell(&sides[forms[i]]);
    settle();
    all_has_come();
    clients_drain(&all, 0);
    settle();
    for (size_t i = 0; i < PEERS; i++) {
        EXPECT(peers[i].fd < 0 || peers[i].closed || may_be_cut || !peers[i].client);
        if (peers[i].fd >= 0)
            peer_gone(&peers[i]);
    }
    clients_done(&all);
    mailbox_done(&tail);
    mailbox_done(&self);
    patterns_done(&patterns);
    streams_done(&streams);
    door_done(&door);
    loop_done(&loop);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        log_done(&sides[forms[i]].log);
    buffer_free(&kinds);
    EXPECT(segment_bytes_in_use() == 0 && atomic_load(&total) == 0);
}

static void redis_goes(void)
{
    atomic_store(&pulse.readable_until_ms, 0);
    subscription_look_at_pulse(&all);
}

static void redis_comes(void)
{
    if (pulse_readable(&pulse, loop.now_ms))
        return;
    atomic_store(&pulse.readable_until_ms, INT64_MAX);
    atomic_store(&pulse.epoch, ++epoch);
}

static void live_a_step(void)
{
    struct peer *p = &peers[below(PEERS)];
    switch (below(14)) {
    case 0:
    case 1:
    case 2: append(); break;
    case 3:
        if (one_in(3))
            trim();
        break;
    case 4:
    case 5: tell(&sides[forms[below(ARRAY_LEN(forms))]]); break;
    case 6:
    case 7: turn(); break;
    case 8:
        if (p->fd < 0)
            peer_comes(p);
        break;
    case 9:
        if (p->fd >= 0 && p->form != FORM_SSE && p->begun)
            peer_pings(p);
        break;
    case 10:
        if (one_in(10))
            redis_goes();
        else
            redis_comes();
        break;
    case 11:
        if (p->fd >= 0 && one_in(3))
            ping_is_due(p);
        break;
    case 12:
        if (p->fd >= 0 && one_in(60))
            peer_gone(p);
        break;
    default:
        if (p->fd >= 0)
            peer_reads(p, one_in(4) ? 100 * KIB : below(3000));
        break;
    }
}

static void clients_read_what_the_log_says(void **state)
{
    (void)state;
    uint64_t steps = begin_life(STEPS);
    say_setup(SAY_ERROR, SAY_LOGFMT);
    begin_world();
    for (step = 1; step <= steps; step++) {
        live_a_step();
        if (step % STEPS_IN_A_WORLD == 0) {
            end_world();
            begin_world();
        }
    }
    end_world();
    form_writer_done(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(clients_read_what_the_log_says) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
