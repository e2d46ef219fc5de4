// Random lives of a log against an array of all items that ever were: a tail
// appends, resets and trims; letters carry extents to workers, late and merged;
// clients are cursors that write a random part of what they are given. Each byte
// that a client gets must be the next one of the items that it is due.
//
//   BOND_MODEL_STEPS  how many steps (3000000)     BOND_MODEL_SEED  play one again
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "life.h"
#include "log/log.h"

#define STEPS 3000000
#define STEPS_IN_A_WORLD 1500
#define WORKERS_MAX 3
#define CLIENTS_MAX 8
#define PIECES_MAX 5

// ---- the model: all items that ever were, by seq --------------------------------

struct made {
    struct eventid id;
    int64_t time_ms;
    enum item_kind kind;
    size_t len;
};

static struct made *items;
static size_t item_count, item_cap;
static uint64_t model_run_seq; // where the latest run begins

static char byte_of(uint64_t seq, size_t i)
{
    return (char)((seq * 0x9e3779b97f4a7c15 + i * 0xc2b2ae3d27d4eb4f) >> 53);
}

static void model_add(struct made made)
{
    if (item_count == item_cap) {
        item_cap = item_cap ? item_cap * 2 : 1024;
        items = realloc(items, item_cap * sizeof(*items));
        CHECK(items != NULL);
    }
    items[item_count++] = made;
}

// Where a client is, worked out step by step.
struct place {
    uint64_t seq;
    size_t skip;
};

static struct place place_after(struct place p, size_t bytes, uint64_t end_seq)
{
    p.skip += bytes;
    while (p.seq < end_seq && p.skip >= items[p.seq].len)
        p.skip -= items[p.seq++].len;
    EXPECT(p.skip == 0 || p.seq < end_seq);
    return p;
}

static size_t bytes_between(struct place p, uint64_t end_seq)
{
    size_t bytes = 0;
    for (uint64_t seq = p.seq; seq < end_seq; seq++)
        bytes += items[seq].len;
    return p.seq < end_seq ? bytes - p.skip : 0;
}

// These are the bytes at p; returns where they end.
static struct place expect_bytes(struct place p, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++, p.skip++) {
        while (p.skip == items[p.seq].len) {
            p = (struct place){ .seq = p.seq + 1 };
            EXPECT(p.seq < item_count);
        }
        EXPECT(at[i] == byte_of(p.seq, p.skip));
    }
    return p;
}

// ---- the tail -------------------------------------------------------------------

// What the tail tells a worker: all before first_seq has left; what is new.
struct news {
    struct list node;
    unsigned follow_number;
    uint64_t first_seq, end_seq, run_seq;
    size_t run_count;
    uint64_t runs[LOG_OLDER_RUNS_MAX + 1];
    size_t extent_count;
    struct extent extents[];
};

struct worker {
    struct log log;
    bool follows;
    unsigned follow_number; // letters of an earlier one are thrown away
    struct list letters;    // news under way
    uint64_t told_first_seq, told_end_seq;
    uint64_t first_seq, end_seq, run_seq; // what the letters read so far say
};

struct client {
    struct worker *worker; // NULL: none has come yet
    struct cursor cursor;
    struct place place;
};

static struct log tail;
static size_t segment_size, ring_bytes;
static int64_t clock_ms;
static struct eventid last_id;
static struct worker workers[WORKERS_MAX];
static struct client clients[CLIENTS_MAX];

static void expect_tail(void)
{
    EXPECT(tail.end_seq == item_count);
    EXPECT(tail.first_seq <= tail.end_seq);
    EXPECT((tail.len == 0) == (tail.first_seq == tail.end_seq));
    EXPECT(tail.run_seq == (model_run_seq > tail.first_seq ? model_run_seq : tail.first_seq));
}

static void append(struct made made)
{
    struct segment *made_segment;
    struct buffer bytes = { 0 };
    buffer_reserve(&bytes, made.len + 1);
    for (size_t i = 0; i < made.len; i++) {
        char c = byte_of(item_count, i);
        buffer_add(&bytes, &c, 1);
    }
    size_t head = below(made.len + 1);
    struct item item = { .id = made.id, .time_ms = made.time_ms, .kind = made.kind };
    EXPECT(log_append(&tail, item, (struct view){ bytes.at, head },
                      (struct view){ bytes.at + head, made.len - head }, segment_size,
                      &made_segment));
    buffer_free(&bytes);
    EXPECT(made_segment == NULL || made_segment == log_extent(&tail, tail.len - 1)->segment);
    model_add(made);
    while (tail.len > 1 && tail.bytes > ring_bytes)
        log_trim(&tail, log_extent(&tail, 1)->first_seq);
    expect_tail();
}

static size_t some_length(void)
{
    switch (below(40)) {
    case 0: return below(3 * segment_size); // larger than a segment, too
    case 1: return below(segment_size);
    case 2 ... 6: return below(100);
    default: return 1 + below(12);
    }
}

static void append_event(void)
{
    if (one_in(2))
        last_id = (struct eventid){ last_id.ms + 1 + below(3), below(2) };
    else
        last_id.seq += 1 + below(2);
    clock_ms += one_in(2) ? (int64_t)below(4) : 0;
    append((struct made){ last_id, clock_ms, ITEM_EVENT, some_length() });
}

static void append_gap(void)
{
    append((struct made){ last_id, clock_ms, ITEM_GAP, 0 });
}

static void append_some(void)
{
    for (size_t n = 1 + below(6); n > 0; n--)
        if (one_in(6))
            append_gap();
        else
            append_event();
}

static void reset(void)
{
    append_gap();
    log_reset(&tail);
    model_run_seq = item_count;
    last_id = (struct eventid){ below(20), 0 };
    expect_tail();
}

static void trim(void)
{
    uint64_t before = tail.first_seq, seq = tail.first_seq + below(tail.end_seq - before + 2);
    if (one_in(4))
        seq = tail.end_seq;
    log_trim(&tail, seq);
    // As much as is whole, and no more.
    EXPECT(tail.first_seq >= before && (tail.first_seq <= seq || tail.first_seq == before));
    EXPECT(tail.len == 0 || tail.first_seq + log_extent(&tail, 0)->count > seq);
    expect_tail();
}

// ---- letters --------------------------------------------------------------------

static void follow(struct worker *w)
{
    log_init(&w->log);
    w->follows = true;
    w->follow_number++;
    w->told_first_seq = 0;
    w->told_end_seq = tail.first_seq;
    w->first_seq = w->end_seq = w->run_seq = 0;
}

// Its clients leave. The letters under way come nevertheless.
static void unfollow(struct worker *w)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (clients[i].worker == w)
            clients[i].worker = NULL;
    log_done(&w->log);
    w->follows = false;
}

// What it has not been told of, or not to the end: as the tail does it.
static void send_news(struct worker *w)
{
    if (w->told_end_seq == tail.end_seq && w->told_first_seq == tail.first_seq)
        return;
    size_t from = tail.len;
    while (from > 0 && log_extent(&tail, from - 1)->first_seq + log_extent(&tail, from - 1)->count >
                           w->told_end_seq)
        from--;
    size_t count = tail.len - from;
    struct news *news = must_alloc(sizeof(*news) + count * sizeof(struct extent));
    *news = (struct news){
        .follow_number = w->follow_number,
        .first_seq = tail.first_seq,
        .end_seq = tail.end_seq,
        .run_seq = tail.run_seq,
        .extent_count = count,
    };
    news->run_count = log_runs_from(&tail, w->told_end_seq, news->runs);
    for (size_t i = 0; i < count; i++) {
        news->extents[i] = *log_extent(&tail, from + i);
        segment_ref(news->extents[i].segment);
    }
    list_push(&w->letters, &news->node);
    w->told_first_seq = tail.first_seq;
    w->told_end_seq = tail.end_seq;
}

// A client that has not had what leaves: the rest of its frame, then from there on.
static void fall_behind(struct client *c, uint64_t first_seq)
{
    const struct log *l = &c->worker->log;
    if (c->cursor.skip || c->cursor.seq > l->first_seq) {
        uint64_t had = c->cursor.seq - (c->cursor.skip ? 0 : 1);
        EXPECT(eventid_cmp(log_item(l, had)->id, items[had].id) == 0);
    }
    if (c->cursor.skip) {
        struct view rest = log_rest_of_item(l, c->cursor);
        struct place end = expect_bytes(c->place, rest.at, rest.len);
        EXPECT(end.seq == c->place.seq && end.skip == items[end.seq].len);
    }
    c->cursor = (struct cursor){ .seq = first_seq };
    c->place = (struct place){ .seq = first_seq };
}

static void expect_worker(const struct worker *w)
{
    const struct log *l = &w->log;
    size_t bytes = 0;
    uint64_t seq = l->first_seq;
    EXPECT(l->first_seq == w->first_seq && l->end_seq == w->end_seq && l->run_seq == w->run_seq);
    for (size_t i = 0; i < l->len; i++) {
        EXPECT(log_extent(l, i)->first_seq == seq);
        seq += log_extent(l, i)->count;
        bytes += log_extent(l, i)->segment->size;
    }
    EXPECT(seq == l->end_seq && bytes == l->bytes);
}

// As letter.c does it: what has left goes first, then what is new comes.
static void learn(struct worker *w, const struct news *news)
{
    struct log *l = &w->log;
    log_trim(l, news->first_seq);
    for (size_t i = 0; i < news->extent_count; i++)
        log_extend(l, &news->extents[i]);
    if (l->len == 0) // it was told of nothing that is still there
        log_skip_to(l, news->end_seq);
    for (size_t i = 0; i < news->run_count; i++)
        log_begin_run(l, news->runs[i]);
}

static void read_letter(struct worker *w)
{
    struct list *node = list_pop(&w->letters);
    if (node == NULL)
        return;
    struct news *news = LIST_ITEM(node, struct news, node);
    if (w->follows && news->follow_number == w->follow_number) {
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (clients[i].worker == w && clients[i].cursor.seq < news->first_seq)
                fall_behind(&clients[i], news->first_seq);
        learn(w, news);
        w->first_seq = news->first_seq;
        w->end_seq = news->end_seq;
        w->run_seq = news->run_seq;
        expect_worker(w);
    } else {
        for (size_t i = 0; i < news->extent_count; i++)
            segment_unref(news->extents[i].segment);
    }
    free(news);
}

// ---- seeking, one by one --------------------------------------------------------

static uint64_t find_time(const struct worker *w, int64_t at_ms)
{
    uint64_t seq = w->first_seq;
    while (seq < w->end_seq && items[seq].time_ms < at_ms)
        seq++;
    return seq;
}

static bool has_id(uint64_t seq, struct eventid id)
{
    return items[seq].kind == ITEM_EVENT && eventid_cmp(items[seq].id, id) == 0;
}

static uint64_t find_id(const struct worker *w, struct eventid id)
{
    uint64_t seq = w->run_seq;
    while (seq < w->end_seq && eventid_cmp(items[seq].id, id) < 0)
        seq++;
    if (seq < w->end_seq && eventid_cmp(items[seq].id, id) == 0)
        return seq;
    for (uint64_t older = w->run_seq; older > w->first_seq; older--)
        if (has_id(older - 1, id))
            return older - 1;
    return seq;
}

static uint64_t find_after(const struct worker *w, struct eventid id)
{
    uint64_t seq = find_id(w, id);
    return seq < w->end_seq && has_id(seq, id) ? seq + 1 : seq;
}

static struct eventid some_id(const struct worker *w)
{
    if (w->end_seq > w->first_seq && !one_in(4))
        return items[w->first_seq + below(w->end_seq - w->first_seq)].id;
    return (struct eventid){ below(last_id.ms + 10), below(4) };
}

static void join(struct client *c)
{
    struct worker *w = &workers[below(WORKERS_MAX)];
    const struct log *l = &w->log;
    uint64_t seq = 0;
    if (!w->follows)
        return;
    struct eventid id = some_id(w);
    int64_t at_ms = clock_ms - (int64_t)below(60) + 5;
    switch (below(5)) {
    case 0: seq = l->end_seq; break;
    case 1: seq = l->first_seq; break;
    case 2: EXPECT((seq = log_seek_time(l, at_ms)) == find_time(w, at_ms)); break;
    case 3: EXPECT((seq = log_seek_id(l, id)) == find_id(w, id)); break;
    case 4: EXPECT((seq = log_seek_after(l, id)) == find_after(w, id)); break;
    }
    *c = (struct client){ .worker = w, .cursor.seq = seq, .place.seq = seq };
}

// ---- writing --------------------------------------------------------------------

static void write_some(struct client *c, bool all)
{
    struct worker *w = c->worker;
    const struct log *l = &w->log;
    struct iovec pieces[PIECES_MAX];
    size_t room = 1 + below(PIECES_MAX), count = room, total = 0;
    size_t max = one_in(2) ? 1 + below(40) : 1 + below(4 * segment_size);
    uint64_t until =
        one_in(4) && !all ? w->first_seq + below(w->end_seq - w->first_seq + 2) : w->end_seq;
    size_t bytes = log_gather(l, c->cursor, until, max, pieces, &count);
    size_t due = bytes_between(c->place, until < w->end_seq ? until : w->end_seq);

    EXPECT(bytes <= max && count <= room);
    EXPECT(bytes == due || bytes == max || (bytes < due && count == room));
    struct place end = c->place;
    for (size_t i = 0; i < count; i++) {
        EXPECT(pieces[i].iov_len > 0);
        end = expect_bytes(end, pieces[i].iov_base, pieces[i].iov_len);
        total += pieces[i].iov_len;
    }
    EXPECT(total == bytes);

    size_t sent = all || one_in(3) ? bytes : below(bytes + 1);
    if (sent == 0 && bytes > 0)
        return; // EAGAIN
    c->cursor = log_advance(l, c->cursor, sent);
    c->place = place_after(c->place, sent, w->end_seq);
    EXPECT(c->cursor.seq == c->place.seq && c->cursor.skip == c->place.skip);
    EXPECT(bytes > 0 || until < w->end_seq || c->cursor.seq == w->end_seq);
}

// Something else is to be sent, which does not go inside a frame.
static void finish_frame(struct client *c)
{
    if (c->cursor.skip == 0)
        return;
    struct view rest = log_rest_of_item(&c->worker->log, c->cursor);
    struct place end = expect_bytes(c->place, rest.at, rest.len);
    EXPECT(end.seq == c->cursor.seq && end.skip == items[end.seq].len);
    c->cursor = (struct cursor){ .seq = c->cursor.seq + 1 };
    c->place = (struct place){ .seq = c->cursor.seq };
}

static void count_some(const struct worker *w)
{
    if (!w->follows || w->first_seq == w->end_seq)
        return;
    uint64_t from = w->first_seq + below(w->end_seq - w->first_seq + 1);
    uint64_t to = from + below(w->end_seq - from + 1);
    int64_t events = 0;
    for (uint64_t seq = from; seq < to; seq++)
        events += items[seq].kind == ITEM_EVENT;
    EXPECT(log_count_events(&w->log, from, to) == events);
    EXPECT(log_has_gaps(&w->log, from, to) == ((uint64_t)events < to - from));
}

static void look_at_an_item(const struct worker *w)
{
    if (!w->follows || w->first_seq == w->end_seq)
        return;
    uint64_t seq = w->first_seq + below(w->end_seq - w->first_seq);
    const struct item *item = log_item(&w->log, seq);
    struct view bytes = log_rest_of_item(&w->log, (struct cursor){ .seq = seq });
    EXPECT(eventid_cmp(item->id, items[seq].id) == 0);
    EXPECT(item->time_ms == items[seq].time_ms && item->kind == items[seq].kind);
    EXPECT(bytes.len == items[seq].len);
    expect_bytes((struct place){ .seq = seq }, bytes.at, bytes.len);
}

// ---- lives ----------------------------------------------------------------------

static void begin_world(void)
{
    segment_size = 40 + below(one_in(2) ? 300 : 3000);
    ring_bytes = segment_size * (1 + below(one_in(2) ? 8 : 60));
    clock_ms = 1000;
    item_count = 0;
    model_run_seq = 0;
    last_id = (struct eventid){ 0 };
    log_init(&tail);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        workers[i] = (struct worker){ 0 };
        list_init(&workers[i].letters);
    }
    memset(clients, 0, sizeof(clients));
}

static void live_a_step(void)
{
    struct worker *w = &workers[below(WORKERS_MAX)];
    struct client *c = &clients[below(CLIENTS_MAX)];
    switch (below(32)) {
    case 0 ... 6: append_some(); break;
    case 7: one_in(3) ? reset() : append_event(); break;
    case 8: one_in(2) ? trim() : append_gap(); break;
    case 9 ... 13:
        if (w->follows)
            send_news(w);
        else
            follow(w);
        break;
    case 14 ... 18: read_letter(w); break;
    case 19:
        if (w->follows && one_in(10))
            unfollow(w);
        break;
    case 20:
        look_at_an_item(w);
        count_some(w);
        break;
    case 21: join(c); break;
    case 22:
        if (c->worker)
            finish_frame(c);
        break;
    default:
        if (c->worker)
            write_some(c, false);
        else
            join(c);
    }
}

// All letters come, all clients get all they are due, all goes.
static void end_world(void)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (workers[i].follows)
            send_news(&workers[i]);
        while (!list_empty(&workers[i].letters))
            read_letter(&workers[i]);
        EXPECT(!workers[i].follows || workers[i].log.end_seq == item_count);
    }
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        while (clients[i].worker && clients[i].cursor.seq < item_count)
            write_some(&clients[i], true);
        EXPECT(!clients[i].worker || clients[i].place.seq == item_count);
    }
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers[i].follows)
            unfollow(&workers[i]);
    log_done(&tail);
    EXPECT(segment_bytes_in_use() == 0);
}

static void clients_get_what_was_appended(void **state)
{
    (void)state;
    uint64_t steps = begin_life(STEPS);

    begin_world();
    for (step = 1; step <= steps; step++) {
        live_a_step();
        if (step % STEPS_IN_A_WORLD == 0) {
            end_world();
            begin_world();
        }
    }
    end_world();
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(clients_get_what_was_appended) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
