#include "tail/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../model/decode.h"

// ---- how the tests speak ----------------------------------------------------
// A worker is a mailbox and a log that is made from the letters in it. What it has
// is told as "10 20 .30 40": events by their ids, and a gap by the id behind which
// it lies, each decoded from the bytes that a client would get.

struct worker {
    struct mailbox mailbox;
    enum form form;
    struct log log;
    struct news *told;  // the latest letter; its extents have gone to the log
    size_t letters;     // so many NEWS have come
    size_t extents;     // in the latest one
    uint64_t heard_seq; // up to here items came, in whichever letter
    bool has_hole;      // some never came
    struct listening listening;
    struct failure failed; // the latest FAILED; its kind is set
};

static struct config config;
static struct metrics metrics;
static struct loop loop;
static struct rings rings;
static struct ring ring, other;
static struct worker workers[4];
static struct { // what was appended, by id.ms
    char payload[400];
    struct gap gap; // the one behind it
} made[1000];

#define STREAM VIEW("one")
#define RING_SECONDS 60

static void take_news(struct worker *w, struct news *news)
{
    for (size_t i = 0; i < news->extent_count; i++) {
        w->has_hole = w->has_hole || news->extents[i].first_seq > w->heard_seq;
        w->heard_seq = news->extents[i].first_seq + news->extents[i].count;
    }
    news_take(news, &w->log);
    free(w->told);
    w->told = news;
    w->extents = news->extent_count;
    w->letters++;
}

static void deliver(void *ctx, struct letter *letter)
{
    struct worker *w = ctx;
    if (letter->kind == LETTER_NEWS) {
        take_news(w, CONTAINER_OF(letter, struct news, letter));
        return;
    }
    assert_int_equal(letter->kind, LETTER_FAILED);
    struct failure *failure = CONTAINER_OF(letter, struct failure, letter);
    assert_ptr_equal(failure->stream, w);
    w->failed = *failure;
    free(failure);
}

static int set_up(void **state)
{
    (void)state;
    config = (struct config){ .ring_seconds = RING_SECONDS,
                              .ring_bytes = (int64_t)MIB,
                              .memory_bytes = (int64_t)(8 * MIB) };
    assert_true(loop_init(&loop));
    loop.now_ms = 1000000;
    rings_init(&rings, &config, &metrics, &loop);
    ring_init(&ring, &rings, STREAM);
    ring_init(&other, &rings, VIEW("two"));
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        workers[i] = (struct worker){ 0 };
        assert_true(mailbox_init(&workers[i].mailbox, deliver, &workers[i]));
    }
    return 0;
}

static void read_mail(struct worker *w) // what its loop would do
{
    w->mailbox.watch.ready(&w->mailbox.watch, EPOLLIN);
}

static int tear_down(void **state)
{
    (void)state;
    ring_fail(&ring, 1001, "the test ends");
    ring_fail(&other, 1001, "the test ends");
    ring_done(&ring);
    ring_done(&other);
    rings_done(&rings);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        mailbox_done(&workers[i].mailbox);
        log_done(&workers[i].log);
        free(workers[i].told);
    }
    loop_done(&loop);
    return segment_bytes_in_use() != 0; // nothing is left behind
}

static struct request request_of(struct worker *w)
{
    return (struct request){ .from = &w->mailbox,
                             .stream = (struct stream *)w,
                             .listening = &w->listening,
                             .form = w->form };
}

static struct worker *subscribe_to(struct ring *r, size_t i, enum form form)
{
    struct worker *w = &workers[i];
    log_done(&w->log);
    w->form = form;
    struct request request = request_of(w);
    ring_subscribe(r, &request);
    return w;
}

static struct worker *subscribe(size_t i, enum form form)
{
    return subscribe_to(&ring, i, form);
}

static bool unsubscribe(struct worker *w)
{
    struct request request = request_of(w);
    return ring_unsubscribe(&ring, &request);
}

static void make_editions(void) // as many turns as it takes
{
    while (rings_fill(&rings))
        continue;
}

static void tell(struct ring *r)
{
    make_editions();
    ring_tell(r);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        read_mail(&workers[i]);
}

static void event_of(struct ring *r, uint64_t ms, size_t len)
{
    char *payload = made[ms].payload;
    int n = snprintf(payload, sizeof(made[ms].payload), "{\"n\":%llu,\"pad\":\"%0*d\"}",
                     (unsigned long long)ms, (int)len, 0);
    r->last = (struct eventid){ ms, 0 };
    ring_append(r, r->last, (int64_t)ms, (struct view){ payload, (size_t)n });
}

static void event(uint64_t ms)
{
    event_of(&ring, ms, 1);
}

static void events(uint64_t from, uint64_t to) // large enough for some to a segment
{
    for (uint64_t ms = from; ms <= to; ms++)
        event_of(&ring, ms, 300);
}

static void gap(enum gap_reason reason, uint64_t before_ms)
{
    const struct gap g = { reason, ring.last, { before_ms, 0 }, MISSED_UNKNOWN };
    made[ring.last.ms].gap = g;
    ring_append_gap(&ring, &g, (int64_t)(before_ms ? before_ms : ring.last.ms));
    if (reason == GAP_RESET)
        ring.last = (struct eventid){ 0 };
}

// Each item from its bytes, and nothing but items.
static void decode_item(const struct worker *w, uint64_t seq, struct buffer *out)
{
    const struct item *item = log_item(&w->log, seq);
    struct view bytes = log_bytes(&w->log, seq);
    struct message m = { 0 };
    size_t used;
    bool is_gap = item->kind == ITEM_GAP;
    buffer_printf(out, "%s%s%llu", out->len ? " " : "", is_gap ? "." : "",
                  (unsigned long long)item->id.ms);
    if (is_gap && !form_tells(w->form)) {
        assert_int_equal(bytes.len, 0);
        return;
    }
    assert_int_equal(decode_message(w->form, bytes, &used, &m), DECODED_MESSAGE);
    assert_int_equal(used, bytes.len);
    if (is_gap)
        assert_true(message_is_gap(&m, w->form, STREAM, &made[item->id.ms].gap));
    else
        assert_true(
            message_is_event(&m, w->form, STREAM, item->id, view_of(made[item->id.ms].payload)));
    message_free(&m);
}

static void assert_has(const struct worker *w, const char *expected)
{
    struct buffer out = { 0 };
    for (uint64_t seq = w->log.first_seq; seq < w->log.end_seq; seq++)
        decode_item(w, seq, &out);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

static void pass(int64_t ms)
{
    for (int64_t step = RING_SECONDS * 100; ms > 0; ms -= step) {
        loop.now_ms += ms < step ? ms : step;
        deadline_queue_run(&rings.trims, loop.now_ms);
    }
}

static void assert_id(struct eventid id, uint64_t ms, uint64_t seq)
{
    assert_int_equal(id.ms, ms);
    assert_int_equal(id.seq, seq);
}

static struct log *raw(struct ring *r)
{
    return &r->editions[FORM_RAW].log;
}

// ---- telling ----------------------------------------------------------------

static void who_comes_is_told_what_there_is(void **state)
{
    (void)state;
    event(1);
    event(2);
    struct worker *w = subscribe(0, FORM_RAW);
    ring.ready = true;
    ring.epoch = 7;
    tell(&ring);
    assert_int_equal(w->letters, 1);
    assert_has(w, "1 2");
    assert_ptr_equal(w->told->stream, w);
    assert_int_equal(w->told->first_seq, 0);
    assert_int_equal(w->told->end_seq, 2);
    assert_true(w->told->ready);
    assert_int_equal(w->told->epoch, 7);
    assert_false(w->told->refreshed);
    assert_id(w->told->last, 2, 0);
    assert_id(w->told->floor.id, 0, 0);
}

static void of_nothing_new_nobody_is_told(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW);
    tell(&ring);
    assert_int_equal(w->letters, 0); // it is not even ready
    ring.ready = true;
    tell(&ring);
    assert_int_equal(w->letters, 1);
    assert_int_equal(w->extents, 0);
    tell(&ring);
    assert_int_equal(w->letters, 1);
    ring.epoch++;
    tell(&ring);
    assert_int_equal(w->letters, 2);
    tell(&ring);
    assert_int_equal(w->letters, 2);
}

static void only_the_extents_that_are_new_come(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW);
    events(1, 20);
    tell(&ring);
    size_t count = raw(&ring)->len;
    assert_true(count > 2);
    assert_int_equal(w->extents, count);
    event(21); // goes into the last one, or makes one
    tell(&ring);
    assert_int_equal(w->extents, 1);
    events(22, 40);
    tell(&ring);
    assert_true(w->extents < raw(&ring)->len && w->extents > 1);
    assert_int_equal(w->log.end_seq, 40);
    assert_int_equal(w->log.len, raw(&ring)->len);
    assert_int_equal(w->log.bytes, raw(&ring)->bytes);
}

static void each_subscriber_is_told_what_it_lacks(void **state)
{
    (void)state;
    struct worker *early = subscribe(0, FORM_RAW);
    event(1);
    tell(&ring);
    struct worker *late = subscribe(1, FORM_RAW);
    struct worker *enveloped = subscribe(2, FORM_ENVELOPE);
    tell(&ring);
    assert_int_equal(early->letters, 1);
    assert_int_equal(late->letters, 1);
    assert_int_equal(enveloped->letters, 1);
    event(2);
    tell(&ring);
    assert_has(early, "1 2");
    assert_has(late, "1 2");
    assert_has(enveloped, "1 2");
}

static void letters_may_wait_for_the_end(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW);
    event(1);
    ring_tell(&ring);
    event(2);
    ring_tell(&ring);
    assert_int_equal(w->letters, 0);
    mailbox_done(&w->mailbox);
    assert_int_equal(w->letters, 2);
    assert_has(w, "1 2");
    assert_true(mailbox_init(&w->mailbox, deliver, w)); // for tear_down
}

static void one_that_left_is_told_no_more(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_SSE), *stays = subscribe(1, FORM_SSE);
    event(1);
    tell(&ring);
    assert_true(unsubscribe(w));
    assert_false(unsubscribe(w)); // it was none
    assert_true(ring_has_subscribers(&ring));
    event(2);
    tell(&ring);
    assert_has(w, "1");
    assert_has(stays, "1 2");
    assert_true(unsubscribe(stays));
    assert_false(ring_has_subscribers(&ring));
}

// A worker that hangs: what it is to read is bounded, and another's is not held back.
static void what_a_worker_does_not_read_is_bounded(void **state)
{
    (void)state;
    static char large[100000];
    struct worker *hangs = subscribe(0, FORM_RAW), *reads = subscribe(1, FORM_ENVELOPE);
    memset(large, 'x', sizeof(large));
    for (uint64_t ms = 1; ms <= 1000; ms++) {
        ring.last = (struct eventid){ ms, 0 };
        ring_append(&ring, ring.last, (int64_t)ms, (struct view){ large, sizeof(large) });
        ring_tell(&ring);
        read_mail(reads);
        assert_int_equal(reads->log.end_seq, ms);
        assert_in_range(segment_bytes_in_use(), 0, LETTERS_BYTES_MAX + 4 * MIB);
    }
    assert_in_range(mailbox_weight(&hangs->mailbox), LETTERS_BYTES_MAX,
                    LETTERS_BYTES_MAX + 2 * MIB);
    assert_true(deadline_armed(&ring.retell));

    while (mailbox_weight(&hangs->mailbox) > 0)
        read_mail(hangs);
    assert_in_range(hangs->log.end_seq, 1, 999); // not told of the rest yet
    loop.now_ms += 100;
    deadline_queue_run(&rings.retells, loop.now_ms);
    read_mail(hangs);
    assert_int_equal(hangs->log.end_seq, 1000);
    assert_int_equal(hangs->log.first_seq, raw(&ring)->first_seq);
    assert_false(deadline_armed(&ring.retell));
}

static void a_full_mailbox_has_room_for_what_must_come(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW);
    struct letter *heavy = must_alloc(sizeof(struct failure));
    *CONTAINER_OF(heavy, struct failure, letter) = (struct failure){
        .letter = { .kind = LETTER_FAILED, .weight = LETTERS_BYTES_MAX },
        .stream = (struct stream *)w,
    };
    mailbox_post(&w->mailbox, heavy);
    event(1);
    ring_tell(&ring);
    ring_fail(&ring, 1011, "no stream");
    read_mail(w);
    assert_int_equal(w->letters, 0);
    assert_int_equal(w->failed.close_code, 1011);
}

// ---- editions ---------------------------------------------------------------

static void a_late_edition_has_the_same_items(void **state)
{
    (void)state;
    for (enum form form = 0; form < FORM_COUNT; form++) {
        struct worker *w = subscribe(0, form);
        event(3 * form + 1);
        event(3 * form + 2);
        gap(GAP_TRIMMED, 3 * form + 3);
        event(3 * form + 3);
        tell(&ring);
        assert_int_equal(w->log.first_seq, raw(&ring)->first_seq);
        assert_int_equal(w->log.end_seq, raw(&ring)->end_seq);
        for (uint64_t seq = 0; seq < w->log.end_seq; seq++) {
            const struct item *its = log_item(&w->log, seq), *raws = log_item(raw(&ring), seq);
            assert_int_equal(eventid_cmp(its->id, raws->id), 0);
            assert_int_equal(its->time_ms, raws->time_ms);
            assert_int_equal(its->kind, raws->kind);
        }
        if (form == FORM_SSE)
            assert_has(w, "1 2 .2 3 4 5 .5 6 7 8 .8 9 10 11 .11 12 13 14 .14 15");
        assert_true(unsubscribe(w));
    }
}

static size_t items_in(enum form form)
{
    const struct log *l = &ring.editions[form].log;
    return (size_t)(l->end_seq - l->first_seq);
}

// To deflate a whole ring takes 0.2 s, for which all other streams would wait.
static void a_turn_makes_a_bounded_part_of_a_late_edition(void **state)
{
    (void)state;
    rings.fill_bytes = 8 * KIB; // 20 to 24 events of these
    events(1, 200);
    struct worker *w = subscribe(0, FORM_RAW_DEFLATED);
    ring.ready = true;
    for (size_t turn = 1; rings_fill(&rings); turn++) {
        assert_in_range(items_in(FORM_RAW_DEFLATED), turn * 20, turn * 26);
        ring_tell(&ring);
        read_mail(w);
        assert_int_equal(w->letters, 0); // its clients wait until all of it is there
    }
    read_mail(w);
    assert_int_equal(w->letters, 1);
    assert_true(w->told->ready);
    assert_int_equal(w->log.end_seq, 200);
}

static void what_comes_meanwhile_is_in_it_and_what_leaves_is_not(void **state)
{
    (void)state;
    rings.fill_bytes = 4 * KIB;
    config.ring_bytes = 48 * 1024;
    events(1, 60);
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    for (uint64_t ms = 61; rings_fill(&rings); ms += 4) {
        assert_in_range(ms, 61, 400); // it gets there, for it makes more than comes
        events(ms, ms + 2);
        if (ms % 8 == 5)
            gap(GAP_RESET, 0);
        else
            event_of(&ring, ms + 3, 300);
    }
    tell(&ring);
    assert_true(raw(&ring)->first_seq > 0);
    assert_true(w->log.first_seq > 0);
    assert_int_equal(w->log.end_seq, raw(&ring)->end_seq);
    assert_int_equal(w->log.run_seq, raw(&ring)->run_seq);
    assert_id(w->told->floor.id, log_item(&w->log, w->log.first_seq)->id.ms - 1, 0);
}

static void it_is_made_however_much_comes(void **state)
{
    (void)state;
    rings.fill_bytes = 2 * KIB;
    events(1, 100);
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    for (uint64_t ms = 101; rings_fill(&rings); ms += 10) {
        assert_in_range(ms, 101, 700);
        events(ms, ms + 9); // more than two slices
    }
    read_mail(w);
    assert_int_equal(w->log.end_seq, raw(&ring)->end_seq);
}

// All that it has so far may leave, and more.
static void trims_may_be_quicker_than_an_edition(void **state)
{
    (void)state;
    rings.fill_bytes = 1;
    config.ring_bytes = 16 * 1024;
    events(1, 20);
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    rings_fill(&rings);
    assert_int_equal(items_in(FORM_ENVELOPE), 1);
    events(21, 200);
    assert_int_equal(items_in(FORM_ENVELOPE), 0);
    rings.fill_bytes = 16 * 1024;
    tell(&ring);
    assert_int_equal(w->log.end_seq, 200);
    assert_int_equal(w->told->first_seq, raw(&ring)->first_seq);
    assert_id(w->told->floor.id, raw(&ring)->first_seq, 0);
}

static void several_late_editions_take_turns(void **state)
{
    (void)state;
    rings.fill_bytes = 8 * KIB;
    events(1, 200);
    for (size_t i = 0; i < 3; i++)
        subscribe(i, FORM_RAW_DEFLATED + i);
    for (size_t turn = 0; turn < 4; turn++)
        assert_true(rings_fill(&rings));
    size_t least = SIZE_MAX, most = 0;
    for (enum form form = FORM_RAW_DEFLATED; form <= FORM_ENVELOPE_DEFLATED; form++) {
        least = items_in(form) < least ? items_in(form) : least;
        most = items_in(form) > most ? items_in(form) : most;
    }
    assert_true(least > 0 && most - least <= 8);
    make_editions();
    assert_int_equal(items_in(FORM_ENVELOPE), 200);
}

static void who_leaves_before_its_edition_is_made_harms_nobody(void **state)
{
    (void)state;
    rings.fill_bytes = 8 * KIB;
    events(1, 200);
    struct worker *w = subscribe(0, FORM_RAW_DEFLATED);
    rings_fill(&rings);
    assert_true(unsubscribe(w));
    assert_true(rings_fill(&rings));
    ring_fail(&ring, 1011, "no stream"); // the edition is dropped as it is
    assert_false(rings_fill(&rings));
    assert_int_equal(w->letters, 0);
}

static void an_edition_lives_as_long_as_it_is_listened_to(void **state)
{
    (void)state;
    events(1, 10);
    size_t before = rings.bytes;
    struct worker *w = subscribe(0, FORM_ENVELOPE), *second = subscribe(1, FORM_ENVELOPE);
    make_editions();
    assert_true(rings.bytes > before);
    assert_true(unsubscribe(w));
    pass(RING_SECONDS * 2000);
    assert_true(ring.editions[FORM_ENVELOPE].active);
    assert_true(unsubscribe(second));
    pass(RING_SECONDS * 2000);
    assert_false(ring.editions[FORM_ENVELOPE].active);
    assert_int_equal(rings.bytes, raw(&ring)->bytes);
}

// Whoever reconnects does not make it anew, and has missed nothing.
static void it_outlives_a_short_absence(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    event(1);
    tell(&ring);
    assert_true(unsubscribe(w));
    event(2);
    pass(RING_SECONDS * 500);
    const struct segment *segment = log_extent(&ring.editions[FORM_ENVELOPE].log, 0)->segment;
    w = subscribe(0, FORM_ENVELOPE);
    event(3);
    tell(&ring);
    assert_has(w, "1 2 3");
    assert_ptr_equal(log_extent(&w->log, 0)->segment, segment);
}

static void what_clients_still_send_outlives_the_edition(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    event(1);
    tell(&ring);
    assert_true(unsubscribe(w));
    pass(RING_SECONDS * 2000);
    assert_false(ring.editions[FORM_ENVELOPE].active);
    assert_has(w, "1");
}

static void a_reset_begins_a_run_in_each_edition(void **state)
{
    (void)state;
    struct worker *early = subscribe(0, FORM_ENVELOPE);
    event(10);
    event(20);
    gap(GAP_RESET, 0);
    event(5);
    struct worker *late = subscribe(1, FORM_SSE), *plain = subscribe(2, FORM_RAW);
    tell(&ring);
    assert_int_equal(raw(&ring)->run_seq, 3);
    assert_int_equal(early->log.run_seq, 3);
    assert_int_equal(late->log.run_seq, 3);
    assert_int_equal(plain->log.run_seq, 3);
    assert_has(early, "10 20 .20 5");
    assert_has(late, "10 20 .20 5");
    assert_has(plain, "10 20 .20 5");
    struct view twenty = view_of(made[20].payload), five = view_of(made[5].payload);
    assert_true(ring_has(&ring, (struct eventid){ 20, 0 }, twenty));
    assert_true(ring_has(&ring, (struct eventid){ 5, 0 }, five));
    assert_false(ring_has(&ring, (struct eventid){ 5, 0 }, twenty)); // another of that id
    assert_false(ring_has(&ring, (struct eventid){ 10, 1 }, view_of(made[10].payload)));
}

static void time_never_falls(void **state)
{
    (void)state;
    event(50);
    gap(GAP_RESET, 0);
    event(10);
    event(60);
    assert_int_equal(log_item(raw(&ring), 2)->time_ms, 50);
    assert_int_equal(log_item(raw(&ring), 3)->time_ms, 60);
}

// ---- limits -----------------------------------------------------------------

static void a_ring_keeps_to_its_limit(void **state)
{
    (void)state;
    config.ring_bytes = 32 * 1024;
    struct worker *w = subscribe(0, FORM_RAW);
    events(1, 200);
    tell(&ring);
    assert_true(rings.bytes <= (size_t)config.ring_bytes);
    assert_true(raw(&ring)->first_seq > 50);
    assert_int_equal(w->told->first_seq, raw(&ring)->first_seq);
    assert_id(w->told->floor.id, raw(&ring)->first_seq, 0); // ids count from 1, seqs from 0
    assert_int_equal(w->told->floor.time_ms, raw(&ring)->first_seq);
    assert_int_equal(w->log.bytes, raw(&ring)->bytes);
}

static void what_is_dropped_for_memory_is_known(void **state)
{
    (void)state;
    config.ring_bytes = 32 * 1024;
    metrics_set(&metrics, METRIC_RING_SHORTENINGS, 0);
    events(1, 10);
    assert_int_equal(rings.shortened_to_ms, 0);
    events(11, 200);
    assert_int_equal(rings.shortened_to_ms, raw(&ring)->first_seq); // ids count from 1
    assert_true(metrics_get(&metrics, METRIC_RING_SHORTENINGS) > 1);
}

static void a_ring_is_described(void **state)
{
    (void)state;
    struct ring_facts facts = ring_describe(&ring, 0);
    assert_true(eventid_is_none(facts.first) && facts.oldest_ms == 0 && facts.bytes == 0);
    atomic_store(&subscribe(0, FORM_RAW)->listening.clients, 3);
    atomic_store(&subscribe(1, FORM_SSE)->listening.clients, 4);
    atomic_store(&workers[0].listening.lag_events, 9);
    atomic_store(&workers[1].listening.lag_ms, 250);
    events(1, 100);
    tell(&ring);
    facts = ring_describe(&ring, 91);
    assert_id(facts.first, 1, 0);
    assert_int_equal(facts.oldest_ms, 1);
    assert_int_equal(facts.newest_ms, 100);
    assert_int_equal(facts.recent_events, 10);
    assert_int_equal(facts.bytes, rings.bytes);
    assert_int_equal(facts.listeners, 7);
    assert_int_equal(facts.lag_events, 9);
    assert_int_equal(facts.lag_ms, 250);
}

static void all_editions_count(void **state)
{
    (void)state;
    config.ring_bytes = 64 * 1024;
    for (enum form form = 0; form < ARRAY_LEN(workers); form++)
        subscribe(form, form);
    for (uint64_t ms = 1; ms <= 300; ms++) {
        event_of(&ring, ms, 300);
        assert_true(rings.bytes <= (size_t)config.ring_bytes || raw(&ring)->len == 1);
    }
    tell(&ring);
    for (size_t i = 0; i < ARRAY_LEN(workers); i++)
        assert_int_equal(workers[i].log.end_seq, 300);
}

static void an_edition_that_is_new_counts_too(void **state)
{
    (void)state;
    config.ring_bytes = 32 * 1024;
    events(1, 200);
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    make_editions();
    assert_true(rings.bytes <= (size_t)config.ring_bytes);
    config.memory_bytes = 24 * 1024;
    subscribe(1, FORM_SSE);
    make_editions();
    assert_true(rings.bytes <= (size_t)config.memory_bytes);
    tell(&ring);
    assert_int_equal(w->log.end_seq, 200);
    assert_int_equal(w->told->first_seq, ring.editions[FORM_ENVELOPE].log.first_seq);
}

static void what_has_just_come_stays(void **state)
{
    (void)state;
    config.ring_bytes = 100;
    struct worker *w = subscribe(0, FORM_RAW);
    events(1, 3);
    tell(&ring);
    assert_has(w, "3");
}

static void all_rings_together_have_a_limit(void **state)
{
    (void)state;
    config.memory_bytes = 64 * 1024;
    struct worker *w = subscribe(0, FORM_RAW);
    subscribe_to(&other, 1, FORM_RAW);
    events(1, 90);
    tell(&ring);
    assert_int_equal(w->told->first_seq, 0);
    for (uint64_t ms = 91; ms <= 160; ms++)
        event_of(&other, ms, 300); // the oldest of all are the first ring's
    assert_true(rings.bytes <= (size_t)config.memory_bytes);
    assert_int_equal(raw(&other)->first_seq, 0);
    assert_true(raw(&ring)->first_seq > 0);
    read_mail(w); // without being told by us
    assert_int_equal(w->told->first_seq, raw(&ring)->first_seq);
    assert_int_equal(w->log.bytes, raw(&ring)->bytes);
}

static void a_quiet_stream_is_as_new_as_its_latest_event(void **state)
{
    (void)state;
    config.memory_bytes = 32 * 1024;
    event_of(&other, 1, 1); // its segment is older than all others
    uint64_t ms = 2;
    for (; rings.bytes + 10 * KIB < (size_t)config.memory_bytes; ms++)
        event_of(&ring, ms, 300);
    event_of(&other, 900, 1);
    for (; raw(&ring)->first_seq == 0; ms++)
        event_of(&ring, ms, 300);
    assert_int_equal(raw(&other)->first_seq, 0);
    assert_int_equal(raw(&other)->end_seq - raw(&other)->first_seq, 2);
}

static void what_comes_and_leaves_in_one_turn_is_told_before(void **state)
{
    (void)state;
    config.ring_bytes = 16 * 1024;
    struct worker *plain = subscribe(0, FORM_RAW), *enveloped = subscribe(1, FORM_ENVELOPE);
    events(1, 200); // one read that brings more than the ring holds
    tell(&ring);
    assert_true(raw(&ring)->first_seq > 100);
    for (struct worker *w = plain; w <= enveloped; w++) {
        assert_false(w->has_hole);
        assert_int_equal(w->heard_seq, 200);
        assert_int_equal(w->told->first_seq, raw(&ring)->first_seq);
    }
}

static void what_leaves_for_others_is_told_before_too(void **state)
{
    (void)state;
    config.memory_bytes = 32 * 1024;
    struct worker *w = subscribe_to(&other, 0, FORM_RAW);
    for (uint64_t ms = 1; ms <= 20; ms++)
        event_of(&other, ms, 300);
    events(21, 200); // in the same turn
    assert_int_equal(raw(&other)->len, 0);
    read_mail(w);
    assert_false(w->has_hole);
    assert_int_equal(w->heard_seq, 20);
}

static void the_newest_id_is_told_though_its_event_was_before(void **state)
{
    (void)state;
    config.ring_bytes = 8 * 1024;
    static const char pad[300];
    struct worker *w = subscribe(0, FORM_RAW);
    for (uint64_t ms = 1; ms <= 100; ms++) {
        ring_append(&ring, (struct eventid){ ms, 0 }, (int64_t)ms,
                    (struct view){ pad, sizeof(pad) });
        ring.last = (struct eventid){ ms, 0 };
        tell(&ring);
        assert_id(w->told->last, ms, 0);
    }
}

static void a_run_is_told_though_its_reset_pushed_something_out(void **state)
{
    (void)state;
    config.ring_bytes = 8 * 1024;
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    for (uint64_t ms = 1; ms <= 200; ms++) {
        event_of(&ring, ms, 100);
        gap(GAP_RESET, 0);
        tell(&ring);
        assert_int_equal(w->log.run_seq, raw(&ring)->run_seq);
        assert_int_equal(w->log.run_seq, 2 * ms);
    }
}

static void a_ring_may_be_emptied_for_others(void **state)
{
    (void)state;
    config.memory_bytes = 16 * 1024;
    config.ring_bytes = 16 * 1024;
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    events(1, 3);
    for (uint64_t ms = 100; ms <= 200; ms++)
        event_of(&other, ms, 300);
    read_mail(w);
    assert_int_equal(raw(&ring)->len, 0);
    assert_int_equal(w->log.first_seq, 3);
    assert_int_equal(w->log.end_seq, 3);
    assert_id(w->told->floor.id, 3, 0);
    event(4);
    tell(&ring);
    assert_has(w, "4");
}

// ---- time -------------------------------------------------------------------

static void what_is_older_than_the_window_leaves(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW), *e = subscribe(1, FORM_ENVELOPE);
    events(1, 30);
    pass(RING_SECONDS * 1000 / 2);
    events(31, 60);
    assert_int_equal(raw(&ring)->first_seq, 0);
    pass(RING_SECONDS * 1000 * 3 / 4);
    read_mail(w);
    read_mail(e);
    assert_true(raw(&ring)->first_seq > 20 && raw(&ring)->first_seq <= 30);
    assert_int_equal(w->told->first_seq, raw(&ring)->first_seq);
    assert_true(e->told->first_seq <= raw(&ring)->first_seq); // its segments end elsewhere
    assert_true(e->told->first_seq > 0);
}

static void the_newest_segment_stays(void **state)
{
    (void)state;
    events(1, 30);
    pass(RING_SECONDS * 10000);
    assert_int_equal(raw(&ring)->len, 1);
    assert_int_equal(raw(&ring)->end_seq, 30);
    assert_int_equal(deadline_queue_next(&rings.trims), INT64_MAX); // nothing to wait for
    events(31, 60);
    pass(RING_SECONDS * 10000);
    assert_int_equal(raw(&ring)->len, 1);
}

// What Redis held back is old when it comes, and stays as long as anything.
static void it_counts_when_it_came(void **state)
{
    (void)state;
    pass(RING_SECONDS * 100000);
    events(1, 30); // happened long ago
    pass(RING_SECONDS * 500);
    assert_int_equal(raw(&ring)->first_seq, 0);
}

// ---- what is below ----------------------------------------------------------

static void each_edition_has_its_own_floor(void **state)
{
    (void)state;
    config.ring_bytes = 64 * 1024;
    subscribe(0, FORM_RAW);
    subscribe(1, FORM_RAW_DEFLATED); // much smaller, so that its segments hold more
    subscribe(2, FORM_ENVELOPE);
    for (uint64_t ms = 1; ms <= 400; ms++) {
        event_of(&ring, ms, 300);
        tell(&ring);
        for (size_t i = 0; i < 3; i++)
            assert_id(workers[i].told->floor.id, workers[i].log.first_seq, 0);
    }
    struct worker *late = subscribe(3, FORM_SSE);
    tell(&ring);
    assert_true(late->log.first_seq <= raw(&ring)->first_seq);
    assert_id(late->told->floor.id, late->log.first_seq, 0);
}

static void fill_up_from(uint64_t ms)
{
    for (uint64_t first_seq = raw(&ring)->first_seq; first_seq == raw(&ring)->first_seq; ms++)
        event_of(&ring, ms, 300);
}

// A gap that leaves stands for what comes just before the next event.
static void a_gap_leaves_its_reach_behind(void **state)
{
    (void)state;
    config.ring_bytes = 16 * 1024; // raw segments of five events, and of the gap behind them
    struct worker *w = subscribe(0, FORM_RAW), *e = subscribe(1, FORM_SSE);
    events(1, 5);
    gap(GAP_TRIMMED, 50);
    fill_up_from(50);
    tell(&ring);
    assert_int_equal(raw(&ring)->first_seq, 6); // the gap was the last that left
    assert_id(w->told->floor.id, 49, UINT64_MAX);
    assert_int_equal(w->told->floor.time_ms, 50);
    assert_true(e->told->first_seq <= 6);
}

static void a_gap_at_the_end_reaches_the_newest_id(void **state)
{
    (void)state;
    config.memory_bytes = config.ring_bytes = 16 * 1024;
    struct worker *w = subscribe(0, FORM_RAW);
    event(1);
    gap(GAP_TRIMMED, 0);
    ring.last = (struct eventid){ 90, 0 }; // all up to there has gone from Redis
    for (uint64_t ms = 100; raw(&ring)->len > 0; ms++)
        event_of(&other, ms, 300);
    read_mail(w);
    assert_id(w->told->floor.id, 90, 0);
}

static void a_reset_leaves_something_behind_too(void **state)
{
    (void)state;
    config.memory_bytes = config.ring_bytes = 16 * 1024;
    struct worker *w = subscribe(0, FORM_RAW);
    event(80);
    gap(GAP_RESET, 0);
    for (uint64_t ms = 100; raw(&ring)->len > 0; ms++)
        event_of(&other, ms, 300);
    read_mail(w);
    assert_id(w->told->floor.id, 80, 1); // who had 80 may have missed something
}

static void a_floor_may_be_known_from_the_start(void **state)
{
    (void)state;
    struct worker *early = subscribe(0, FORM_ENVELOPE);
    event(10);
    ring_set_floor(&ring, (struct floor){ { 9, 5 }, 9, true });
    struct worker *late = subscribe(1, FORM_SSE);
    tell(&ring);
    assert_id(early->told->floor.id, 9, 5);
    assert_id(late->told->floor.id, 9, 5);
    assert_true(late->told->floor.trimmed);
    config.ring_bytes = 4096;
    fill_up_from(11);
    tell(&ring);
    assert_id(late->told->floor.id, late->log.first_seq + 9, 0);
    assert_false(late->told->floor.trimmed);
}

static void gaps_are_kept_as_long_as_their_items(void **state)
{
    (void)state;
    config.ring_bytes = 16 * 1024;
    for (uint64_t ms = 1; ms <= 500; ms++) {
        event_of(&ring, ms, 100);
        if (ms % 3 == 0)
            gap(GAP_TRIMMED, ms + 1);
        assert_true(ring.gap_count <= raw(&ring)->end_seq - raw(&ring)->first_seq);
    }
    assert_true(ring.gap_cap < 200);
    struct worker *w = subscribe(0, FORM_SSE);
    tell(&ring);
    struct buffer out = { 0 };
    for (uint64_t seq = w->log.first_seq; seq < w->log.end_seq; seq++)
        decode_item(w, seq, &out); // each gap says what it said at first
    buffer_free(&out);
}

// ---- refreshing -------------------------------------------------------------

static void assert_refreshed(struct worker *w, size_t letters, bool refreshed)
{
    tell(&ring);
    assert_int_equal(w->letters, letters);
    assert_int_equal(w->told->refreshed, refreshed);
}

static void a_refresh_is_told_once_its_read_is_done(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW), *stranger = &workers[1];
    struct request request = request_of(w), no_request = request_of(stranger);
    event(1);
    assert_refreshed(w, 1, false);
    assert_false(ring_want_refresh(&ring, &no_request));
    ring_refresh_done(&ring); // of a read that was sent before it was wanted
    assert_true(ring_want_refresh(&ring, &request));
    ring_refresh_done(&ring);
    assert_refreshed(w, 1, false);
    ring_refresh_sent(&ring);
    assert_refreshed(w, 1, false);
    ring_refresh_done(&ring);
    assert_refreshed(w, 2, true); // though nothing else is new
    assert_refreshed(w, 2, true);
    event(2);
    assert_refreshed(w, 3, false);
}

static void a_lost_read_leaves_it_wanted(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    struct request request = request_of(w);
    event(1);
    assert_true(ring_want_refresh(&ring, &request));
    ring_refresh_sent(&ring);
    ring_refresh_lost(&ring);
    ring_refresh_done(&ring);
    assert_refreshed(w, 1, false);
    ring_refresh_sent(&ring);
    ring_refresh_done(&ring);
    assert_refreshed(w, 2, true);
}

static void news_on_the_way_is_no_answer(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW);
    struct request request = request_of(w);
    event(1);
    ring_want_refresh(&ring, &request);
    ring_refresh_sent(&ring);
    assert_refreshed(w, 1, false);
    event(2);
    assert_refreshed(w, 2, false);
    ring_refresh_done(&ring);
    assert_refreshed(w, 3, true);
}

// ---- failure ----------------------------------------------------------------

static void a_failure_sends_everyone_away(void **state)
{
    (void)state;
    struct worker *w = subscribe(0, FORM_RAW), *e = subscribe(1, FORM_ENVELOPE);
    event(1);
    tell(&ring);
    ring_fail(&ring, 1011, "the key holds no stream");
    read_mail(w);
    read_mail(e);
    assert_int_equal(w->failed.letter.kind, LETTER_FAILED);
    assert_int_equal(w->failed.close_code, 1011);
    assert_string_equal(w->failed.reason, "the key holds no stream");
    assert_int_equal(e->failed.close_code, 1011);
    assert_false(ring_has_subscribers(&ring));
    assert_false(unsubscribe(w));
    assert_false(unsubscribe(e));
    assert_false(ring.editions[FORM_ENVELOPE].active); // nobody would drop it otherwise
    assert_int_equal(rings.bytes, raw(&ring)->bytes);
}

static void who_comes_after_it_begins_anew(void **state)
{
    (void)state;
    subscribe(1, FORM_ENVELOPE);
    event(1);
    ring_fail(&ring, 1011, "for a test");
    event(2);
    struct worker *w = subscribe(0, FORM_ENVELOPE);
    event(3);
    tell(&ring);
    assert_has(w, "1 2 3");
}

static void a_long_reason_is_cut(void **state)
{
    (void)state;
    char reason[300];
    memset(reason, 'x', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';
    struct worker *w = subscribe(0, FORM_RAW);
    ring_fail(&ring, 1011, reason);
    read_mail(w);
    assert_int_equal(strlen(w->failed.reason), 123);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(who_comes_is_told_what_there_is),
        TEST(of_nothing_new_nobody_is_told),
        TEST(only_the_extents_that_are_new_come),
        TEST(each_subscriber_is_told_what_it_lacks),
        TEST(letters_may_wait_for_the_end),
        TEST(one_that_left_is_told_no_more),
        TEST(what_a_worker_does_not_read_is_bounded),
        TEST(a_full_mailbox_has_room_for_what_must_come),
        TEST(a_late_edition_has_the_same_items),
        TEST(a_turn_makes_a_bounded_part_of_a_late_edition),
        TEST(what_comes_meanwhile_is_in_it_and_what_leaves_is_not),
        TEST(it_is_made_however_much_comes),
        TEST(trims_may_be_quicker_than_an_edition),
        TEST(several_late_editions_take_turns),
        TEST(who_leaves_before_its_edition_is_made_harms_nobody),
        TEST(an_edition_lives_as_long_as_it_is_listened_to),
        TEST(it_outlives_a_short_absence),
        TEST(what_clients_still_send_outlives_the_edition),
        TEST(a_reset_begins_a_run_in_each_edition),
        TEST(time_never_falls),
        TEST(a_ring_keeps_to_its_limit),
        TEST(what_is_dropped_for_memory_is_known),
        TEST(a_ring_is_described),
        TEST(all_editions_count),
        TEST(an_edition_that_is_new_counts_too),
        TEST(what_has_just_come_stays),
        TEST(all_rings_together_have_a_limit),
        TEST(a_quiet_stream_is_as_new_as_its_latest_event),
        TEST(what_comes_and_leaves_in_one_turn_is_told_before),
        TEST(what_leaves_for_others_is_told_before_too),
        TEST(the_newest_id_is_told_though_its_event_was_before),
        TEST(a_run_is_told_though_its_reset_pushed_something_out),
        TEST(a_ring_may_be_emptied_for_others),
        TEST(what_is_older_than_the_window_leaves),
        TEST(the_newest_segment_stays),
        TEST(it_counts_when_it_came),
        TEST(each_edition_has_its_own_floor),
        TEST(a_gap_leaves_its_reach_behind),
        TEST(a_gap_at_the_end_reaches_the_newest_id),
        TEST(a_reset_leaves_something_behind_too),
        TEST(a_floor_may_be_known_from_the_start),
        TEST(gaps_are_kept_as_long_as_their_items),
        TEST(a_refresh_is_told_once_its_read_is_done),
        TEST(a_lost_read_leaves_it_wanted),
        TEST(news_on_the_way_is_no_answer),
        TEST(a_failure_sends_everyone_away),
        TEST(who_comes_after_it_begins_anew),
        TEST(a_long_reason_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
