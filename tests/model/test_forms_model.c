// Random lives of rings in all their forms against an array of all that was ever
// appended: a tail appends events, gaps and resets; limits and time trim; workers come
// and go, and read their letters late; clients begin anywhere and write a random part
// of what they are given, to any byte. What a client received is decoded by a reader
// of its own (decode.h), message by message, and each must be the next that the client
// is due. Where it began, what it asked for and does not get must have been told.
//
//   BOND_MODEL_STEPS  how many steps (200000)     BOND_MODEL_SEED  play one again
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/say.h"
#include "decode.h"
#include "life.h"
#include "tail/ring.h"
#include "worker/seek.h"

#define STEPS 200000
#define STEPS_IN_A_WORLD 1000
#define RINGS 2
#define WORKERS 3
#define CLIENTS 12
#define FOLLOWS_MAX 400 // subscriptions in a world, all in all
#define PIECES_MAX 5
#define RING_SECONDS 10

// ---- the model: all that was ever appended, by seq ------------------------------

struct made {
    enum item_kind kind;
    struct eventid id; // of a gap: the last one before it
    int64_t time_ms;
    struct buffer payload;
    struct gap gap;
    struct eventid newest_missing; // of those that the gap stands for
};

struct stream_model {
    struct ring ring;
    struct made *items;
    size_t count, cap;
    uint64_t run_seq;
    bool was_reset; // ids are not all in order
};

static struct stream_model models[RINGS];
static struct config config;
static struct metrics metrics;
static struct loop loop;
static struct rings rings;
static const char *const ids[RINGS] = { "5f2c", "\"odd\\\n\xc3\xa9" };

static struct made *model_add(struct stream_model *m, enum item_kind kind, struct eventid id)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 256;
        m->items = realloc(m->items, m->cap * sizeof(*m->items));
        CHECK(m->items != NULL);
    }
    struct made *made = &m->items[m->count++];
    bool is_alone = m->ring.editions[FORM_RAW].log.len == 0; // time falls within no log
    int64_t newest_ms = is_alone ? 0 : m->items[m->count - 2].time_ms;
    *made = (struct made){ .kind = kind, .id = id, .time_ms = newest_ms };
    return made;
}

static void model_done(struct stream_model *m)
{
    for (size_t i = 0; i < m->count; i++)
        buffer_free(&m->items[i].payload);
    free(m->items);
    *m = (struct stream_model){ 0 };
}

static struct eventid some_id_behind(struct eventid id)
{
    if (one_in(3))
        return (struct eventid){ id.ms, id.seq + 1 + below(2) };
    return (struct eventid){ id.ms + 1 + below(40), below(2) };
}

static void write_payload(struct buffer *out)
{
    static const char *const texts[] = {
        "",
        "null",
        "not json",
        "a\r\nb\rc\n",
        "\n",
        " {\"a\" : 1 }\n",
        "\"\xf0\x9f\x98\x80\"",
        "\xf0\x9f\x98\x80 \"\\",
        "[1,2",
        "-0.0",
    };
    if (one_in(4)) {
        buffer_add_view(out, view_of(texts[below(ARRAY_LEN(texts))]));
        return;
    }
    size_t fields = one_in(30) ? below(400) : below(12);
    buffer_printf(out, "{\"n\":%u", (unsigned)below(1000000));
    for (size_t i = 0; i < fields; i++)
        buffer_printf(out, ",\"field%zu\":%s%u", i, one_in(3) ? "0." : "1",
                      (unsigned)below(100000));
    buffer_printf(out, "}");
}

static void append_event(struct stream_model *m, struct eventid id)
{
    struct made *made = model_add(m, ITEM_EVENT, id);
    write_payload(&made->payload);
    if (made->time_ms < (int64_t)id.ms)
        made->time_ms = (int64_t)id.ms;
    m->ring.last = id;
    ring_append(&m->ring, id, (int64_t)id.ms,
                (struct view){ made->payload.at ? made->payload.at : "", made->payload.len });
}

static void append_gap(struct stream_model *m, enum gap_reason reason, struct eventid before,
                       int64_t time_ms)
{
    struct made *made = model_add(m, ITEM_GAP, m->ring.last);
    made->gap = (struct gap){ .reason = reason,
                              .after = m->ring.last,
                              .before = before,
                              .missed = one_in(2) ? MISSED_UNKNOWN : (int64_t)below(100) };
    if (made->time_ms < time_ms)
        made->time_ms = time_ms;
    ring_append_gap(&m->ring, &made->gap, time_ms);
}

// Some events have gone from Redis before we read them; what comes next is known, or
// all have gone.
static void lose_events(struct stream_model *m)
{
    struct eventid missing = some_id_behind(m->ring.last), next = some_id_behind(missing);
    bool known = one_in(2);
    append_gap(m, GAP_TRIMMED, known ? next : (struct eventid){ 0 },
               (int64_t)(known ? next.ms : missing.ms));
    m->items[m->count - 1].newest_missing = missing;
    m->ring.last = missing;
    if (known)
        append_event(m, next);
}

static void reset(struct stream_model *m)
{
    append_gap(m, GAP_RESET, (struct eventid){ 0 }, (int64_t)m->ring.last.ms);
    m->ring.last = (struct eventid){ one_in(2) ? below(1000) : m->ring.last.ms + 1, 0 };
    m->run_seq = m->count;
    m->was_reset = true;
}

// ---- workers --------------------------------------------------------------------

struct worker {
    struct mailbox mailbox;
    struct list letters; // delivered, and not read yet
};

// A worker's interest in a stream in a form: what struct stream is in src/.
struct follow {
    struct worker *worker;
    struct stream_model *of;
    enum form form;
    bool is_on;
    struct log log;
    struct eventid last;
    struct floor floor;
};

struct client {
    struct follow *follow; // NULL: none has come yet
    struct cursor cursor;
    struct buffer in; // received, and no whole message yet
    uint64_t due;     // what it must get next
};

static struct worker workers[WORKERS];
static struct follow follows[FOLLOWS_MAX];
static size_t follow_count;
static struct client clients[CLIENTS];
static struct message message;

static void deliver(void *ctx, struct letter *letter)
{
    struct worker *w = ctx;
    list_push(&w->letters, &letter->node);
}

static struct request request_of(struct follow *f)
{
    return (struct request){ .from = &f->worker->mailbox,
                             .stream = (struct stream *)f,
                             .form = f->form };
}

// The worker's follow of that stream in that form, from now on if there is none.
static struct follow *find_follow(struct worker *w, struct stream_model *m, enum form form)
{
    for (size_t i = 0; i < follow_count; i++) {
        struct follow *f = &follows[i];
        if (f->is_on && f->worker == w && f->of == m && f->form == form)
            return f;
    }
    if (follow_count == FOLLOWS_MAX)
        return NULL;
    struct follow *f = &follows[follow_count++];
    *f = (struct follow){ .worker = w, .of = m, .form = form, .is_on = true };
    log_init(&f->log);
    struct request request = request_of(f);
    ring_subscribe(&m->ring, &request);
    return f;
}

static void unfollow(struct follow *f)
{
    struct request request = request_of(f);
    f->is_on = false;
    log_done(&f->log);
    EXPECT(ring_unsubscribe(&f->of->ring, &request));
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].follow == f) {
            clients[i].follow = NULL; // in the middle of a frame, perhaps
            clients[i].in.len = 0;
        }
}

static void expect_log(const struct follow *f, const struct news *news)
{
    const struct log *l = &f->log;
    EXPECT(l->end_seq == news->end_seq && l->first_seq == news->first_seq);
    uint64_t run_seq = f->of->run_seq > l->first_seq ? f->of->run_seq : l->first_seq;
    EXPECT(f->of->run_seq > l->end_seq || l->run_seq == run_seq);
    for (size_t tries = 0; l->len && tries < 3; tries++) {
        uint64_t seq = l->first_seq + below(l->end_seq - l->first_seq);
        const struct made *made = &f->of->items[seq];
        const struct item *item = log_item(l, seq);
        EXPECT(eventid_cmp(item->id, made->id) == 0 && item->kind == made->kind);
        EXPECT(item->time_ms == made->time_ms);
    }
}

// ---- what a client receives -----------------------------------------------------

static void skip_silent(struct client *c)
{
    const struct stream_model *m = c->follow->of;
    while (!form_tells(c->follow->form) && c->due < m->count && m->items[c->due].kind == ITEM_GAP)
        c->due++;
}

static void expect_message(struct client *c)
{
    const struct stream_model *m = c->follow->of;
    enum form form = c->follow->form;
    skip_silent(c);
    EXPECT(c->due < m->count);
    const struct made *made = &m->items[c->due++];
    struct view payload = { made->payload.at ? made->payload.at : "", made->payload.len };
    if (made->kind == ITEM_GAP)
        EXPECT(message_is_gap(&message, form, m->ring.id, &made->gap));
    else
        EXPECT(message_is_event(&message, form, m->ring.id, made->id, payload));
}

static void receive(struct client *c, const void *at, size_t len)
{
    buffer_add(&c->in, at, len);
    size_t used, done = 0;
    for (;;) {
        struct view rest = { c->in.at + done, c->in.len - done };
        if (rest.len == 0)
            break;
        enum decoded decoded = decode_message(c->follow->form, rest, &used, &message);
        EXPECT(decoded != DECODED_WRONG);
        if (decoded == DECODED_MORE)
            break;
        expect_message(c);
        done += used;
    }
    buffer_drop(&c->in, done);
}

static void expect_place(struct client *c)
{
    skip_silent(c);
    EXPECT((c->cursor.skip == 0) == (c->in.len == 0));
    uint64_t at = c->cursor.seq;
    if (!form_tells(c->follow->form)) // it may stand before gaps that are no bytes
        while (at < c->follow->of->count && c->follow->of->items[at].kind == ITEM_GAP)
            at++;
    EXPECT(c->due == at);
}

static void write_some(struct client *c, bool all)
{
    const struct log *l = &c->follow->log;
    struct iovec pieces[PIECES_MAX];
    size_t count = 1 + below(PIECES_MAX);
    size_t max = one_in(2) ? 1 + below(60) : 1 + below(20000);
    uint64_t until =
        one_in(4) && !all ? l->first_seq + below(l->end_seq - l->first_seq + 2) : l->end_seq;
    size_t bytes = log_gather(l, c->cursor, until, max, pieces, &count);
    size_t sent = all || one_in(3) ? bytes : below(bytes + 1), left = sent;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t len = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        receive(c, pieces[i].iov_base, len);
        left -= len;
    }
    if (sent > 0 || bytes == 0)
        c->cursor = log_advance(l, c->cursor, sent);
    expect_place(c);
}

static void finish_frame(struct client *c)
{
    if (c->cursor.skip == 0)
        return;
    struct view rest = log_rest_of_item(&c->follow->log, c->cursor);
    receive(c, rest.at, rest.len);
    c->cursor = (struct cursor){ .seq = c->cursor.seq + 1 };
    expect_place(c);
}

// As client.c does it: what leaves unread is counted, and the client goes on behind.
static void fall_behind(struct client *c, uint64_t first_seq)
{
    const struct log *l = &c->follow->log;
    finish_frame(c);
    uint64_t until = first_seq < l->end_seq ? first_seq : l->end_seq;
    int64_t missed = 0;
    for (uint64_t seq = c->cursor.seq; seq < until; seq++)
        missed += c->follow->of->items[seq].kind == ITEM_EVENT;
    EXPECT(log_count_events(l, c->cursor.seq, until) == missed);
    if (c->cursor.seq < first_seq)
        c->cursor = (struct cursor){ .seq = first_seq };
    c->due = c->cursor.seq;
}

static void take_news(struct follow *f, struct news *news)
{
    struct log *l = &f->log;
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].follow == f && clients[i].cursor.seq < news->first_seq)
            fall_behind(&clients[i], news->first_seq);
    news_take(news, l);
    f->last = news->last;
    f->floor = news->floor;
    expect_log(f, news);
}

static bool read_letter(struct worker *w)
{
    w->mailbox.watch.ready(&w->mailbox.watch, EPOLLIN);
    struct list *node = list_pop(&w->letters);
    if (node == NULL)
        return false;
    struct letter *letter = LIST_ITEM(node, struct letter, node);
    EXPECT(letter->kind == LETTER_NEWS);
    struct news *news = CONTAINER_OF(letter, struct news, letter);
    struct follow *f = (struct follow *)news->stream;
    if (f->is_on)
        take_news(f, news);
    else
        for (size_t i = 0; i < news->extent_count; i++)
            segment_unref(news->extents[i].segment);
    free(news);
    return true;
}

// ---- where a client begins ------------------------------------------------------

static bool is_asked_for(const struct start *start, struct eventid id, int64_t time_ms)
{
    switch (start->kind) {
    case START_LIVE:
    case START_FIRST: // who waited for it is owed what came since
    case START_LAST: return start->at_ms != 0 && time_ms >= start->at_ms;
    case START_TIME: return time_ms >= start->at_ms;
    case START_ID: return eventid_cmp(id, start->id) >= 0;
    case START_AFTER: return eventid_cmp(id, start->id) > 0;
    default: return false;
    }
}

// No event that a gap stands for lies behind this id, as far as its log can tell.
static struct eventid reach_of_gap(const struct stream_model *m, uint64_t seq, uint64_t end_seq)
{
    if (seq + 1 < end_seq && m->items[seq + 1].kind == ITEM_EVENT)
        return m->items[seq + 1].id;
    return (struct eventid){ UINT64_MAX, UINT64_MAX };
}

// What was asked for and lies before the place is lost to this client: it must be told
// so, with the right number; and if nothing may be lost it must not. Ids are in order.
static void expect_told(const struct follow *f, const struct start *start, struct seek_place place,
                        int64_t window_ms)
{
    const struct stream_model *m = f->of;
    const struct log *l = &f->log;
    int64_t lost = 0;
    bool lost_unseen = false, lost_perhaps = false;
    for (uint64_t seq = 0; seq < place.seq; seq++) {
        const struct made *made = &m->items[seq];
        if (made->kind == ITEM_GAP) {
            bool unseen =
                made->gap.reason == GAP_TRIMMED &&
                is_asked_for(start, made->newest_missing, (int64_t)made->newest_missing.ms);
            lost_unseen = lost_unseen || unseen;
            lost_perhaps = lost_perhaps ||
                           is_asked_for(start, reach_of_gap(m, seq, l->end_seq), made->time_ms);
        } else if (is_asked_for(start, made->id, made->time_ms)) {
            EXPECT(seq < l->first_seq || made->time_ms < window_ms); // there is a reason
            lost++;
        }
    }
    EXPECT(place.has_gap || (lost == 0 && !lost_unseen));
    EXPECT(!place.has_gap || lost > 0 || lost_unseen || lost_perhaps);
    EXPECT(!place.has_gap || place.gap.missed == MISSED_UNKNOWN ||
           (place.gap.missed == lost && !lost_unseen));
    for (uint64_t seq = place.seq; start->kind == START_AFTER && seq < l->end_seq; seq++)
        EXPECT(m->items[seq].kind == ITEM_GAP || eventid_cmp(m->items[seq].id, start->id) > 0);
}

static struct start some_start(const struct follow *f, int64_t *window_ms)
{
    static const enum start_kind kinds[] = { START_LIVE, START_FIRST, START_LAST,
                                             START_TIME, START_ID,    START_AFTER };
    const struct stream_model *m = f->of;
    uint64_t seq = m->count ? below(m->count) : 0;
    if (one_in(2) && f->log.first_seq > 0) // where things are told apart
        seq = f->log.first_seq - 1 + below(2);
    const struct made *some = seq < m->count ? &m->items[seq] : NULL;
    struct start start = { .kind = kinds[below(ARRAY_LEN(kinds))] };
    if (some) {
        start.id = some->kind == ITEM_GAP && !one_in(3) ? some->newest_missing : some->id;
        start.at_ms = some->time_ms + (one_in(2) ? 0 : (int64_t)below(20) - 10);
    }
    if (one_in(4))
        start.id = one_in(2) ? eventid_before(start.id) : eventid_behind(start.id);
    *window_ms = some && one_in(2) ? m->items[below(m->count)].time_ms : 0;
    return start;
}

static void join(struct client *c)
{
    struct follow *f =
        find_follow(&workers[below(WORKERS)], &models[below(RINGS)], (enum form)below(FORM_COUNT));
    if (f == NULL)
        return;
    int64_t window_ms;
    struct start start = some_start(f, &window_ms);
    struct seek_place place = seek_start(&f->log, &f->floor, f->last, &start, window_ms);
    EXPECT(place.seq >= f->log.first_seq && place.seq <= f->log.end_seq);
    if (f->log.end_seq > 0 && !f->of->was_reset && !seek_is_ahead(&f->log, f->last, &start))
        expect_told(f, &start, place, window_ms);
    c->follow = f;
    c->cursor = (struct cursor){ .seq = place.seq };
    c->due = place.seq;
    c->in.len = 0;
}

// ---- lives ----------------------------------------------------------------------

static void begin_world(void)
{
    config = (struct config){
        .ring_seconds = RING_SECONDS,
        .ring_bytes = 4096 + (int64_t)below(one_in(2) ? 20000 : 300000),
        .memory_bytes = 8192 + (int64_t)below(one_in(3) ? 40000 : 1000000),
    };
    CHECK(loop_init(&loop));
    loop.now_ms = 1000000;
    rings_init(&rings, &config, &metrics, &loop);
    if (one_in(2))
        rings.fill_bytes = 100 + below(5000);
    for (size_t i = 0; i < RINGS; i++) {
        ring_init(&models[i].ring, &rings, view_of(ids[i]));
        models[i].ring.ready = true;
    }
    for (size_t i = 0; i < WORKERS; i++) {
        list_init(&workers[i].letters);
        CHECK(mailbox_init(&workers[i].mailbox, deliver, &workers[i]));
    }
    follow_count = 0;
}

static size_t bytes_in_editions(size_t *owed)
{
    size_t bytes = 0;
    *owed = 0;
    for (size_t i = 0; i < RINGS; i++)
        for (size_t form = FORM_RAW + 1; form < FORM_COUNT; form++) {
            const struct log *l = &models[i].ring.editions[form].log;
            *owed += models[i].ring.editions[form].owed;
            for (size_t n = 0; n < l->len; n++)
                bytes += log_extent(l, n)->count * sizeof(struct item);
        }
    return bytes;
}

// A turn makes as much of the late editions as it may, or all there is to make.
static void expect_a_turn(bool takes_part)
{
    size_t owed, before = bytes_in_editions(&owed);
    if (!takes_part)
        return;
    rings_fill(&rings);
    size_t most = before + rings.fill_bytes + owed + sizeof(struct item);
    EXPECT(bytes_in_editions(&owed) <= most); // less, where it pushed something out
}

static void live_a_step(bool resets)
{
    struct stream_model *m = &models[below(RINGS)];
    struct client *c = &clients[below(CLIENTS)];
    switch (below(32)) {
    case 0 ... 5:
        for (size_t n = 1 + below(5); n > 0; n--)
            append_event(m, some_id_behind(m->ring.last));
        break;
    case 6: lose_events(m); break;
    case 7:
        if (resets && one_in(3))
            reset(m);
        break;
    case 8:
        loop.now_ms += (int64_t)below(RING_SECONDS * 300);
        deadline_queue_run(&rings.trims, loop.now_ms);
        break;
    case 9 ... 12:
        expect_a_turn(one_in(2));
        ring_tell(&m->ring);
        break;
    case 13 ... 17: read_letter(&workers[below(WORKERS)]); break;
    case 18:
        if (follow_count > 0 && one_in(3)) {
            struct follow *f = &follows[below(follow_count)];
            if (f->is_on)
                unfollow(f);
        }
        break;
    case 19: join(c); break;
    case 20:
        if (c->follow)
            finish_frame(c);
        break;
    default:
        if (c->follow)
            write_some(c, false);
        else
            join(c);
    }
}

// All letters come, all clients get all they are due, all goes.
static void end_world(void)
{
    while (rings_fill(&rings))
        continue;
    for (size_t i = 0; i < RINGS; i++)
        ring_tell(&models[i].ring);
    for (size_t i = 0; i < WORKERS; i++)
        while (read_letter(&workers[i]))
            continue;
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        while (c->follow && c->cursor.seq < c->follow->of->count)
            write_some(c, true);
        EXPECT(!c->follow || c->due == c->follow->of->count);
        buffer_free(&c->in);
        c->follow = NULL;
    }
    for (size_t i = 0; i < follow_count; i++)
        if (follows[i].is_on)
            unfollow(&follows[i]);
    for (size_t i = 0; i < RINGS; i++) {
        ring_done(&models[i].ring);
        model_done(&models[i]);
    }
    rings_done(&rings);
    for (size_t i = 0; i < WORKERS; i++)
        mailbox_done(&workers[i].mailbox);
    loop_done(&loop);
    EXPECT(segment_bytes_in_use() == 0);
}

static void clients_decode_what_was_appended(void **state)
{
    (void)state;
    uint64_t steps = begin_life(STEPS);
    say_setup(SAY_ERROR, SAY_LOGFMT);

    bool resets = one_in(2);
    begin_world();
    for (step = 1; step <= steps; step++) {
        live_a_step(resets);
        if (step % STEPS_IN_A_WORLD == 0) {
            end_world();
            resets = one_in(2);
            begin_world();
        }
    }
    end_world();
    message_free(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(clients_decode_what_was_appended) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
