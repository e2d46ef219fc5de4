#include "tail/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"

// ---- how the tests speak ----------------------------------------------------
// What Redis has is a list of ids, "10 20 30-1": entries 10-0, 20-0, 30-1, each with its
// id as data; "10a" is another event of the id 10-0. What came of it is told in the
// same way, gaps between: "10 trimmed:2 40", "reset:? 5".

static struct config config;
static struct metrics metrics;
static struct loop loop;
static struct pulse pulse;
static struct feeds feeds;
static struct feed *feed;
static struct mailbox mailbox;
static struct log told;

static void deliver(void *ctx, struct letter *letter)
{
    (void)ctx;
    if (letter->kind == LETTER_NEWS) {
        struct news *news = CONTAINER_OF(letter, struct news, letter);
        for (size_t i = 0; i < news->extent_count; i++)
            log_extend(&told, &news->extents[i]);
    }
    free(letter);
}

static int set_up(void **state)
{
    (void)state;
    static char prefix[] = "stream:", field[] = "data";
    config = (struct config){ .ring_seconds = 60,
                              .ring_bytes = (int64_t)MIB,
                              .memory_bytes = (int64_t)(8 * MIB),
                              .event_bytes = 1000,
                              .stream_prefix = prefix,
                              .data_field = field };
    say_setup(SAY_ERROR, SAY_LOGFMT);
    assert_true(loop_init(&loop));
    loop.now_ms = 1000000;
    feeds =
        (struct feeds){ .config = &config, .pulse = &pulse, .loop = &loop, .metrics = &metrics };
    feeds_init(&feeds);
    rings_init(&feeds.rings, &config, &metrics, &loop);
    feed = feed_new(&feeds, VIEW("one"));
    log_init(&told);
    assert_true(mailbox_init(&mailbox, deliver, NULL));
    ring_subscribe(&feed->ring, &(struct request){ .from = &mailbox, .form = FORM_ENVELOPE });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ring_fail(&feed->ring, 1001, "the test ends");
    mailbox_done(&mailbox);
    ring_done(&feed->ring);
    list_remove(&feed->in_dirty);
    list_remove(&feed->in_changed);
    list_remove(&feed->in_sweep);
    list_remove(&feed->in_warm);
    free(feed);
    rings_done(&feeds.rings);
    feeds_done(&feeds);
    log_done(&told);
    loop_done(&loop);
    return segment_bytes_in_use() != 0;
}

// ---- Redis ------------------------------------------------------------------

static struct buffer entries_of(const char *words)
{
    struct buffer list = { 0 }, reply = { 0 };
    size_t count = 0;
    for (char *end; *words; words = *end == ' ' ? end + 1 : end) {
        char id[40], data[40];
        unsigned long long ms = strtoull(words, &end, 10);
        unsigned long long seq = *end == '-' ? strtoull(end + 1, &end, 10) : 0;
        size_t letters = strspn(end, "abc");
        snprintf(id, sizeof(id), "%llu-%llu", ms, seq);
        snprintf(data, sizeof(data), "%.*s", (int)(end + letters - words), words);
        end += letters;
        buffer_printf(&list, "*2\r\n$%zu\r\n%s\r\n*2\r\n$4\r\ndata\r\n$%zu\r\n%s\r\n", strlen(id),
                      id, strlen(data), data);
        count++;
    }
    buffer_printf(&reply, "*%zu\r\n", count);
    buffer_add_view(&reply, buffer_view(&list));
    buffer_free(&list);
    return reply;
}

static struct eventid id_of(uint64_t ms)
{
    return (struct eventid){ ms, 0 };
}

// As the tail would ask: from where we are, so much.
static void ask(size_t page)
{
    feed->read =
        (struct feed_read){ .from = feed->placed ? feed->ring.last : id_of(1), .page = page };
    list_remove(&feed->in_dirty);
}

static void range_of(const char *words, size_t page)
{
    struct buffer reply = entries_of(words);
    struct resp_reader r = resp_open(buffer_view(&reply));
    struct resp_node node;
    ask(page);
    assert_true(resp_next(&r, &node));
    feed_take_range(feed, &r, &node);
    buffer_free(&reply);
}

static void range(const char *words)
{
    range_of(words, 100);
}

// The stream has had `added` events, the last of them `last`; `words` is what is asked
// for of the `length` that it has, of which `first` is the first.
static void check(const char *words, struct stream_info info)
{
    struct buffer reply = entries_of(words);
    struct resp_reader r = resp_open(buffer_view(&reply));
    struct resp_node node;
    ask(100);
    assert_true(resp_next(&r, &node));
    info.known = true;
    feed_take_check(feed, &r, &info, &node);
    buffer_free(&reply);
}

static struct stream_info has(uint64_t first, uint64_t last, uint64_t length, uint64_t added)
{
    return (struct stream_info){ .exists = true,
                                 .first = id_of(first),
                                 .has_entries = length > 0,
                                 .last_generated = id_of(last),
                                 .length = length,
                                 .added = added,
                                 .added_known = added > 0 };
}

static struct stream_info nothing(void)
{
    return (struct stream_info){ 0 };
}

static void beside(const char *words, struct eventid from)
{
    struct buffer reply = entries_of(words);
    struct resp_reader r = resp_open(buffer_view(&reply));
    struct resp_node node;
    const struct feed_read read = { .from = from, .page = 100 };
    list_remove(&feed->in_dirty);
    assert_true(resp_next(&r, &node));
    feed_take_beside(feed, &read, &r, &node);
    buffer_free(&reply);
}

static bool is_dirty(void)
{
    return !list_empty(&feed->in_dirty);
}

// ---- what came of it --------------------------------------------------------

static void tell_gap(struct buffer *out, struct view json)
{
    static const char reason[] = "\"reason\":\"", missed[] = "\"missed\":";
    const char *why = memmem(json.at, json.len, reason, sizeof(reason) - 1);
    const char *count = memmem(json.at, json.len, missed, sizeof(missed) - 1);
    assert_true(why != NULL && count != NULL);
    why += sizeof(reason) - 1;
    count += sizeof(missed) - 1;
    buffer_add(out, why, strcspn(why, "\""));
    buffer_printf(out, ":");
    if (*count == 'n')
        buffer_printf(out, "?");
    else
        buffer_add(out, count, strspn(count, "0123456789"));
}

static void assert_told(const char *expected)
{
    struct buffer out = { 0 };
    ring_tell(&feed->ring);
    mailbox.watch.ready(&mailbox.watch, EPOLLIN);
    for (uint64_t seq = told.first_seq; seq < told.end_seq; seq++) {
        const struct item *item = log_item(&told, seq);
        struct view bytes = log_bytes(&told, seq);
        if (seq > told.first_seq)
            buffer_printf(&out, " ");
        if (item->kind == ITEM_GAP) {
            tell_gap(&out, bytes);
            continue;
        }
        const char *data = memmem(bytes.at, bytes.len, "\"data\":", 7);
        assert_non_null(data);
        data += 7 + (data[7] == '"');
        buffer_add(&out, data, strcspn(data, "\"}"));
    }
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

// ---- a stream that grows ----------------------------------------------------

static void what_follows_the_last_event_is_new(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    assert_false(is_dirty());
    range("20 30");
    range("30");
    range("30 40 50");
    assert_told("10 20 30 40 50");
    assert_false(is_dirty());
    assert_true(feed->ring.ready);
}

static void a_full_page_is_not_the_end(void **state)
{
    (void)state;
    check("", nothing());
    check("10 20", has(10, 20, 2, 2));
    range_of("20 30 40", 3);
    assert_true(is_dirty());
    range_of("40 50", 3);
    assert_false(is_dirty());
    assert_told("10 20 30 40 50");
}

static void the_one_before_the_window_does_not_end_a_page(void **state)
{
    (void)state;
    struct buffer older = entries_of("5");
    struct resp_reader r = resp_open(buffer_view(&older));
    struct resp_node node;
    ask(3);
    assert_true(resp_next(&r, &node));
    feed_take_older(feed, &r, &node);
    buffer_free(&older);
    struct buffer page = entries_of("10 20 30");
    r = resp_open(buffer_view(&page));
    assert_true(resp_next(&r, &node));
    feed_take_range(feed, &r, &node); // of the three that were asked for
    buffer_free(&page);
    assert_true(is_dirty());
    assert_false(feed->ring.ready);
    assert_told("5 10 20 30");
}

// ---- when it happened -------------------------------------------------------

static int64_t time_of(uint64_t seq)
{
    return log_item(&feed->ring.editions[FORM_RAW].log, seq)->time_ms;
}

// Our estimate of Redis's clock is a little late. If such an id stood for no time, an event
// that was there when we came would be "long ago": a client that asks for the last minute
// would not get it.
static void an_id_a_little_ahead_happened_now(void **state)
{
    (void)state;
    int64_t before_ms = clock_wall_ms();
    char words[100];
    snprintf(words, sizeof(words), "%lld %lld", (long long)before_ms - 5000,
             (long long)before_ms + 900);
    range(words);
    assert_int_equal(time_of(0), before_ms - 5000);
    assert_in_range(time_of(1), before_ms, clock_wall_ms());
}

static void an_id_far_ahead_is_no_time(void **state)
{
    (void)state;
    int64_t before_ms = clock_wall_ms();
    char words[100];
    snprintf(words, sizeof(words), "%lld", (long long)before_ms + 3600000);
    range(words); // it was there before us
    assert_int_equal(time_of(0), 0);
    snprintf(words, sizeof(words), "%lld %lld", (long long)before_ms + 3600000,
             (long long)before_ms + 3600001);
    range(words); // it came while we were there
    assert_in_range(time_of(1), before_ms, clock_wall_ms());
}

// ---- the last event is gone -------------------------------------------------

static void a_missing_last_event_is_checked(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    range("40");
    assert_true(feed->check && is_dirty());
    assert_told("10 20"); // nothing is taken before we know why
}

static void trimmed_with_a_count(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    check("50 60", has(50, 60, 2, 106));
    assert_told("10 20 trimmed:2 50 60");
}

static void trimmed_to_nothing(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    check("", has(0, 40, 0, 104));
    range("50"); // from 40 on, which is where the stream ended
    assert_told("10 20 trimmed:2");
    check("50", has(50, 50, 1, 105));
    assert_told("10 20 trimmed:2 50");
}

// Deleted, filled and trimmed in one transaction, a young stream looks the same.
static void trimmed_in_a_short_life_has_no_count(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("50 60", has(50, 60, 2, 6)); // 2 of its own life, or 4 of another
    assert_told("10 20 trimmed:? 50 60");
    check("70 80", has(70, 80, 2, 8)); // none of its own, or 6 of another
    assert_told("10 20 trimmed:? 50 60 trimmed:? 70 80");
}

// XDEL may have taken what we never read: how many were trimmed is not known then.
static void trimmed_and_deleted_has_no_count(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    struct stream_info info = has(60, 70, 2, 106);
    info.max_deleted = id_of(30);
    check("60 70", info);
    assert_told("10 20 trimmed:? 60 70");
}

// In between we read what was there, and the count went on without what was deleted.
static void deleted_unread_and_trimmed_later_has_no_count(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    range("20 40"); // 30 came and was taken out
    struct stream_info info = has(70, 70, 1, 107);
    info.max_deleted = id_of(30);
    check("70", info); // 50 and 60 were trimmed
    assert_told("10 20 40 trimmed:? 70");
    info = has(90, 90, 1, 109);
    info.max_deleted = id_of(30); // since then, nothing was
    check("90", info);
    assert_told("10 20 40 trimmed:? 70 trimmed:1 90");
}

static void the_only_one_that_is_gone_was_deleted(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    struct stream_info info = has(40, 40, 1, 104); // 10 and 20 were trimmed
    info.max_deleted = id_of(30);
    check("40", info);
    assert_told("10 20 40");
}

// XDEL took the newest before we ever read it, and XINFO had counted it: it is not to
// stand for one that was trimmed after it.
static void what_was_deleted_before_we_counted_explains_nothing(void **state)
{
    (void)state;
    struct stream_info info = has(10, 30, 2, 103);
    info.max_deleted = id_of(30);
    check("10 20", info);
    info = has(50, 50, 1, 105); // 10, 20 and 40 were trimmed
    info.max_deleted = id_of(30);
    check("50", info);
    assert_told("10 20 trimmed:1 50");
}

static void another_stream_with_the_same_last_id(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", has(0, 20, 0, 5));
    assert_told("10 20 reset:?");
}

// The last that we had is gone and older ones are there; of those behind it some were
// deleted. A young stream may be another one: what there is, is read again.
static void what_may_be_another_stream_is_read_again(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    struct stream_info info = has(10, 50, 2, 5);
    info.max_deleted = id_of(50);
    check("40", info);
    assert_true(is_dirty());
    check("10 40", info);
    assert_told("10 20 reset:? 40"); // 10 was had
}

static void trimmed_but_we_had_it_all(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", has(0, 20, 0, 2));
    assert_told("10 20");
}

static void trimmed_where_redis_does_not_count(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 0));
    check("50 60", has(50, 60, 2, 0));
    assert_told("10 20 trimmed:? 50 60");
}

static void the_last_event_alone_was_deleted(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    struct stream_info info = has(10, 30, 2, 3);
    info.max_deleted = id_of(20); // XDEL 20-0
    check("30", info);
    assert_told("10 20 30");
}

// ---- another stream ---------------------------------------------------------

static void a_deleted_stream_is_reset(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", nothing());
    assert_told("10 20 reset:?");
    assert_true(is_dirty());
    check("", nothing());
    check("5", has(5, 5, 1, 1)); // lower ids are as good as any
    assert_told("10 20 reset:? 5");
}

static void made_anew_with_lower_ids(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", has(5, 6, 2, 2));
    assert_true(is_dirty());
    check("5 6", has(5, 6, 2, 2));
    assert_told("10 20 reset:? 5 6");
}

static void made_anew_with_higher_ids(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("30", has(30, 30, 1, 1)); // one was ever added: not ours
    assert_true(is_dirty());
    check("30", has(30, 30, 1, 1));
    assert_told("10 20 reset:? 30");
}

static void made_anew_with_the_same_id(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    range("20b 30");
    assert_true(is_dirty());
    check("20b 30", has(20, 30, 2, 2));
    assert_told("10 20 reset:? 20b 30");
}

// ---- Redis came back with less ----------------------------------------------

static void what_we_had_does_not_come_again(void **state)
{
    (void)state;
    check("10 20 30", has(10, 30, 3, 3));
    feed_doubt(feed);
    check("", has(10, 20, 2, 2)); // a snapshot without the last one
    check("10 20 40", has(10, 40, 3, 3));
    assert_told("10 20 30 reset:? 40");
}

// Redis came back without its newest entries, then got more than it had lost, and trimmed to
// what is newest of those: no count tells how many of them we have not had.
static void trimmed_after_a_break_of_the_link_has_no_count(void **state)
{
    (void)state;
    check("10 20 30", has(10, 30, 3, 103));
    feed_doubt(feed);
    check("60", has(60, 60, 1, 104)); // back at 101, with 10 alone; then 40, 50 and 60
    assert_told("10 20 30 trimmed:? 60");
    feed_doubt(feed);
    check("90", has(90, 90, 1, 107)); // back at 104, with 60; or at 103, without it
    assert_told("10 20 30 trimmed:? 60 trimmed:? 90");
}

static void what_we_had_does_not_come_again_after_a_flush(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", nothing());
    check("", nothing()); // it is known to have had none
    feed_doubt(feed);
    check("10 20 40", has(10, 40, 3, 3)); // a snapshot of before
    assert_told("10 20 reset:? 40");
}

static void what_a_snapshot_lacked_is_not_missed(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", nothing());
    check("", nothing()); // it is known to have had none
    feed_doubt(feed);
    check("20 40", has(20, 40, 2, 3)); // 10 was trimmed long ago
    assert_told("10 20 reset:? 40");
}

static void what_was_trimmed_since_a_flush_may_be_missed(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    check("", nothing());
    check("", nothing()); // it is known to have had none
    feed_doubt(feed);
    check("40", has(40, 40, 1, 4)); // 30 was, perhaps
    assert_told("10 20 reset:? trimmed:? 40");
}

static void trimmed_before_the_first_read_of_a_new_stream(void **state)
{
    (void)state;
    check("", nothing());
    check("30", has(30, 30, 1, 3));
    assert_told("trimmed:? 30");
}

// ---- where XINFO is refused -------------------------------------------------

static void losses_are_explained_without(void **state)
{
    (void)state;
    feeds.cannot_check = true;
    range("10 20");
    range("50");
    assert_told("10 20 trimmed:? 50");
    range("");
    assert_true(is_dirty());
    range("50 60"); // what we had is known
    assert_told("10 20 trimmed:? 50 reset:? 60");
}

// ---- beside -----------------------------------------------------------------

static void beside_takes_what_is_plain(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 102));
    beside("20 30", id_of(20));
    beside("30 40", id_of(30));
    assert_told("10 20 30 40");
    assert_false(is_dirty());
    check("70", has(70, 70, 1, 107)); // four were counted, with what came beside
    assert_told("10 20 30 40 trimmed:2 70");
}

static void beside_leaves_the_rest(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    beside("10 20 30", id_of(10)); // asked for before we were at 20
    assert_true(is_dirty());
    beside("30", id_of(20)); // 20 is gone
    assert_true(is_dirty());
    beside("20b 30", id_of(20)); // another one
    assert_true(is_dirty());
    feed_doubt(feed);
    beside("20 30", id_of(20)); // Redis may have been away
    assert_true(is_dirty());
    assert_told("10 20");
}

static void an_answer_may_be_outrun(void **state)
{
    (void)state;
    check("10 20", has(10, 20, 2, 2));
    ask(100);
    assert_false(feed_is_outrun(feed, &feed->read));
    const struct feed_read read = feed->read;
    beside("20 30", id_of(20));
    assert_true(feed_is_outrun(feed, &read));
}

// ---- what bursts are known by -----------------------------------------------

// So much is new, so far behind what was read before, and so long from its first to its last.
static void assert_untold(size_t events, uint64_t apart_ms, uint64_t span_ms)
{
    assert_int_equal(feed->untold.events, events);
    assert_int_equal(feed->untold.apart_ms, apart_ms);
    assert_int_equal(feed->untold.span_ms, span_ms);
    feed->untold.events = 0; // it is told
}

static void a_piece_is_as_far_from_the_last_as_their_ids(void **state)
{
    (void)state;
    check("10", has(10, 10, 1, 1));
    beside("10 20 20-1 22", id_of(10));
    feed->untold.events = 0;
    beside("22 25 25-1 26 27", id_of(22));
    assert_untold(4, 3, 2);
    beside("27 27-1", id_of(27));
    assert_untold(1, 0, 0);
}

static void a_piece_is_as_far_from_the_last_as_their_reads(void **state)
{
    (void)state;
    check("10", has(10, 10, 1, 1));
    beside("10 10-1", id_of(10));
    feed->untold.events = 0;
    loop.now_ms += 6;
    beside("10-1 10-2 10-3", (struct eventid){ 10, 1 });
    assert_untold(2, 6, 0);
}

static void two_reads_of_one_turn_are_one_piece(void **state)
{
    (void)state;
    check("10", has(10, 10, 1, 1));
    loop.now_ms += 4;
    beside("10 11", id_of(10));
    beside("11 12 14", id_of(11));
    assert_untold(3, loop.now_ms, 3);
}

static void what_was_there_before_us_is_no_piece(void **state)
{
    (void)state;
    check("10 11 12", has(10, 12, 3, 3));
    assert_untold(0, 0, 0);
}

static void the_rest_of_a_burst_is_no_change_of_its_own(void **state)
{
    (void)state;
    check("10", has(10, 10, 1, 1));
    beside("10 20", id_of(10));
    assert_int_equal(feeds.fresh_reads, 1);
    feed->second_read = SECOND_READ_ANSWERED;
    range("20 20-1 20-2");
    assert_int_equal(feeds.fresh_reads, 1);
}

// ---- what no server says ----------------------------------------------------

static void an_entry_that_makes_no_sense_is_said(void **state)
{
    (void)state;
    static const char *const replies[] = { "*1\r\n*2\r\n$3\r\n1-x\r\n*0\r\n", "*1\r\n$3\r\n1-0\r\n",
                                           "*1\r\n*1\r\n$3\r\n1-0\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        struct resp_reader r = resp_open(view_of(replies[i]));
        struct resp_node node;
        feeds.bad_reply = NULL;
        ask(100);
        assert_true(resp_next(&r, &node));
        feed_take_range(feed, &r, &node);
        assert_non_null(feeds.bad_reply);
    }
    assert_told("");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_follows_the_last_event_is_new),
        TEST(a_full_page_is_not_the_end),
        TEST(the_one_before_the_window_does_not_end_a_page),
        TEST(an_id_a_little_ahead_happened_now),
        TEST(an_id_far_ahead_is_no_time),
        TEST(a_missing_last_event_is_checked),
        TEST(trimmed_with_a_count),
        TEST(trimmed_to_nothing),
        TEST(trimmed_in_a_short_life_has_no_count),
        TEST(trimmed_and_deleted_has_no_count),
        TEST(deleted_unread_and_trimmed_later_has_no_count),
        TEST(the_only_one_that_is_gone_was_deleted),
        TEST(what_was_deleted_before_we_counted_explains_nothing),
        TEST(another_stream_with_the_same_last_id),
        TEST(what_may_be_another_stream_is_read_again),
        TEST(trimmed_but_we_had_it_all),
        TEST(trimmed_where_redis_does_not_count),
        TEST(the_last_event_alone_was_deleted),
        TEST(a_deleted_stream_is_reset),
        TEST(made_anew_with_lower_ids),
        TEST(made_anew_with_higher_ids),
        TEST(made_anew_with_the_same_id),
        TEST(what_we_had_does_not_come_again),
        TEST(trimmed_after_a_break_of_the_link_has_no_count),
        TEST(what_we_had_does_not_come_again_after_a_flush),
        TEST(what_a_snapshot_lacked_is_not_missed),
        TEST(what_was_trimmed_since_a_flush_may_be_missed),
        TEST(trimmed_before_the_first_read_of_a_new_stream),
        TEST(losses_are_explained_without),
        TEST(beside_takes_what_is_plain),
        TEST(beside_leaves_the_rest),
        TEST(an_answer_may_be_outrun),
        TEST(a_piece_is_as_far_from_the_last_as_their_ids),
        TEST(a_piece_is_as_far_from_the_last_as_their_reads),
        TEST(two_reads_of_one_turn_are_one_piece),
        TEST(what_was_there_before_us_is_no_piece),
        TEST(the_rest_of_a_burst_is_no_change_of_its_own),
        TEST(an_entry_that_makes_no_sense_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
