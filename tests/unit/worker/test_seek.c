#include "worker/seek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A log of events whose ids are their times, in segments of two items. "10 20 . 30"
// is three events and a gap before the last; "/" is a gap and the beginning of a new
// run. A place is told as "seq" or "seq: reason after-before missed".

#define SEGMENT_SIZE (2 * sizeof(struct item) + 8)

static struct log l;
static struct floor below; // what has left
static struct eventid last;

static int set_up(void **state)
{
    (void)state;
    log_init(&l);
    below = (struct floor){ 0 };
    last = (struct eventid){ 0 };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_done(&l);
    return segment_bytes_in_use() != 0;
}

static void append(uint64_t id_ms, int64_t time_ms, enum item_kind kind)
{
    struct segment *made;
    struct item item = { .id = { id_ms, 0 }, .time_ms = time_ms, .kind = kind };
    assert_true(log_append(&l, item, VIEW(""), VIEW("x"), SEGMENT_SIZE, &made));
}

static void items(const char *words)
{
    int64_t time_ms = 0;
    for (char *end; *words; words += *words == ' ') {
        if (*words == '.' || *words == '/') {
            const char *next = words + 1 + strspn(words + 1, " ./");
            int64_t next_ms = *next ? strtoll(next, NULL, 10) : time_ms;
            // As late as what follows: see append_gap in tail.c.
            time_ms = next_ms > time_ms ? next_ms : time_ms;
            append(last.ms, time_ms, ITEM_GAP);
            if (*words == '/') {
                log_reset(&l);
                last = (struct eventid){ 0 };
            }
            words++;
            continue;
        }
        last.ms = strtoull(words, &end, 10);
        time_ms = (int64_t)last.ms > time_ms ? (int64_t)last.ms : time_ms;
        append(last.ms, time_ms, ITEM_EVENT);
        words = end;
    }
}

static void tell_id(struct buffer *out, struct eventid id)
{
    if (id.ms == 0 && id.seq == 0)
        buffer_printf(out, "?");
    else if (id.seq)
        buffer_printf(out, "%llu.%llu", (unsigned long long)id.ms, (unsigned long long)id.seq);
    else
        buffer_printf(out, "%llu", (unsigned long long)id.ms);
}

static void assert_start_at(struct start start, int64_t window_ms, const char *expected)
{
    struct buffer out = { 0 };
    struct seek_place place = seek_start(&l, &below, last, &start, window_ms);
    buffer_printf(&out, "%llu", (unsigned long long)place.seq);
    if (place.has_gap) {
        buffer_printf(&out, ": %s ", gap_reason_name(place.gap.reason));
        tell_id(&out, place.gap.after);
        buffer_printf(&out, "-");
        tell_id(&out, place.gap.before);
        if (place.gap.missed == MISSED_UNKNOWN)
            buffer_printf(&out, " ?");
        else
            buffer_printf(&out, " %lld", (long long)place.gap.missed);
    }
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

static struct start live(void)
{
    return (struct start){ .kind = START_LIVE };
}

static struct start first(void)
{
    return (struct start){ .kind = START_FIRST };
}

static struct start newest(void)
{
    return (struct start){ .kind = START_LAST };
}

static struct start from_time(int64_t at_ms)
{
    return (struct start){ .kind = START_TIME, .at_ms = at_ms };
}

static struct start from_id(uint64_t ms)
{
    return (struct start){ .kind = START_ID, .id = { ms, 0 } };
}

static struct start after(uint64_t ms)
{
    return (struct start){ .kind = START_AFTER, .id = { ms, 0 } };
}

static struct start after_seq(uint64_t ms, uint64_t seq)
{
    return (struct start){ .kind = START_AFTER, .id = { ms, seq } };
}

// ---- all is there -----------------------------------------------------------

static void each_start_has_its_place(void **state)
{
    (void)state;
    items("10 20 30 40 50");
    assert_start_at(live(), 0, "5");
    assert_start_at(first(), 0, "0");
    assert_start_at(newest(), 0, "4");
    assert_start_at(from_time(0), 0, "0");
    assert_start_at(from_time(20), 0, "1");
    assert_start_at(from_time(21), 0, "2");
    assert_start_at(from_time(51), 0, "5");
    assert_start_at(from_id(0), 0, "0");
    assert_start_at(from_id(20), 0, "1");
    assert_start_at(from_id(21), 0, "2");
    assert_start_at(from_id(60), 0, "5");
    assert_start_at(after(0), 0, "0");
    assert_start_at(after(20), 0, "2");
    assert_start_at(after(21), 0, "2");
    assert_start_at(after(50), 0, "5");
    assert_start_at(after_seq(19, UINT64_MAX), 0, "1");
}

static void an_empty_stream_has_one_place(void **state)
{
    (void)state;
    assert_start_at(live(), 100, "0");
    assert_start_at(first(), 100, "0");
    assert_start_at(newest(), 100, "0");
    assert_start_at(from_time(50), 100, "0");
    assert_start_at(from_id(50), 100, "0");
    assert_start_at(after(0), 100, "0");
}

static void the_newest_event_is_no_gap(void **state)
{
    (void)state;
    items("10 20 . .");
    assert_start_at(newest(), 0, "1");
    assert_start_at(newest(), 1000, "1"); // however old
}

static void a_log_of_gaps_has_no_newest_event(void **state)
{
    (void)state;
    items(". .");
    assert_start_at(newest(), 0, "2");
}

static void the_newest_event_of_a_moment_and_all_since(void **state)
{
    (void)state;
    items("10 20 . 30 40");
    struct start start = newest();
    start.at_ms = 30; // who asked for the last event then
    assert_start_at(start, 0, "1");
    start.at_ms = 25;
    assert_start_at(start, 1000, "1");
    start.at_ms = 5; // there was none: from the first on
    assert_start_at(start, 0, "0");
    below = (struct floor){ .id = { 7, 0 }, .time_ms = 7, .trimmed = true };
    assert_start_at(start, 0, "0: trimmed ?-10 ?");
    below = (struct floor){ .id = { 3, 0 }, .time_ms = 3, .trimmed = true };
    assert_start_at(start, 0, "0");
}

// Who asked for all that there is, and waited for it, is owed what came since.
static void the_first_event_of_a_moment_and_all_since(void **state)
{
    (void)state;
    items("10 20 30 40 50");
    struct start start = first();
    start.at_ms = 15;
    assert_start_at(start, 0, "0");
    assert_start_at(start, 12, "1");
    assert_start_at(start, 35, "3: window ?-40 2");
    below = (struct floor){ .id = { 7, 0 }, .time_ms = 7, .trimmed = true };
    assert_start_at(start, 0, "0");
    start.at_ms = 5;
    assert_start_at(start, 0, "0: trimmed ?-10 ?");
}

// ---- the window -------------------------------------------------------------

static void nobody_begins_before_the_window(void **state)
{
    (void)state;
    items("10 20 30 40 50");
    assert_start_at(first(), 25, "2"); // all that there is to have
    assert_start_at(from_time(5), 25, "2: window ?-30 2");
    assert_start_at(from_time(15), 25, "2: window ?-30 1");
    assert_start_at(from_time(25), 25, "2");
    assert_start_at(from_id(10), 25, "2: window ?-30 2");
    assert_start_at(from_id(20), 25, "2: window ?-30 1");
    assert_start_at(after(5), 25, "2: window 5-30 2");
    assert_start_at(after(10), 25, "2: window 10-30 1");
    assert_start_at(after(20), 25, "2"); // what it has it does not miss
    assert_start_at(live(), 25, "5");
}

static void the_window_may_be_empty(void **state)
{
    (void)state;
    items("10 20 30");
    assert_start_at(first(), 31, "3");
    assert_start_at(from_time(0), 31, "3: window ?-? 3");
    assert_start_at(after(10), 31, "3: window 10-? 2");
    assert_start_at(after(30), 31, "3");
    assert_start_at(newest(), 31, "2");
}

// ---- what has left ----------------------------------------------------------

static void what_left_for_want_of_room_is_limit(void **state)
{
    (void)state;
    items("10 20 30 40 50");
    log_trim(&l, 2);
    below = (struct floor){ .id = { 20, 0 }, .time_ms = 20 };
    assert_start_at(from_time(5), 0, "2: limit ?-30 ?");
    assert_start_at(from_time(20), 0, "2: limit ?-30 ?");
    assert_start_at(from_time(21), 0, "2");
    assert_start_at(from_id(20), 0, "2: limit ?-30 ?");
    assert_start_at(from_id(21), 0, "2");
    assert_start_at(after(10), 0, "2: limit 10-30 ?");
    assert_start_at(after(19), 0, "2: limit 19-30 ?");
    assert_start_at(after(20), 0, "2");
    assert_start_at(after(25), 0, "2");
    assert_start_at(after(30), 0, "3");
    assert_start_at(first(), 0, "2");
}

static void what_left_by_time_is_window(void **state)
{
    (void)state;
    items("10 20 30 40 50");
    log_trim(&l, 2);
    below = (struct floor){ .id = { 20, 0 }, .time_ms = 20 };
    assert_start_at(after(10), 20, "2: limit 10-30 ?"); // it would still be asked for
    assert_start_at(after(10), 21, "2: window 10-30 ?");
    assert_start_at(after(10), 45, "4: window 10-50 ?"); // and so are 30 and 40
    assert_start_at(after(20), 45, "4: window 20-50 2");
    assert_start_at(after(30), 45, "4: window 30-50 1");
}

static void what_redis_had_dropped_is_trimmed(void **state)
{
    (void)state;
    items("30 40 50");
    below = (struct floor){ .id = { 29, UINT64_MAX }, .time_ms = 29, .trimmed = true };
    assert_start_at(after(10), 0, "0: trimmed 10-30 ?");
    assert_start_at(after(29), 0, "0: trimmed 29-30 ?");
    assert_start_at(from_id(30), 0, "0");
    assert_start_at(from_time(29), 0, "0: trimmed ?-30 ?");
    assert_start_at(from_time(30), 0, "0");
    assert_start_at(after(30), 35, "1");
    assert_start_at(from_time(30), 35, "1: window ?-40 1");
}

// Redis 6 does not count: who asks by time is not alarmed.
static void what_may_have_been_there_concerns_ids_alone(void **state)
{
    (void)state;
    items("30 40 50");
    below = (struct floor){ .id = { 29, UINT64_MAX }, .trimmed = true };
    assert_start_at(after(10), 0, "0: trimmed 10-30 ?");
    assert_start_at(from_time(1), 0, "0");
}

static void all_may_have_left(void **state)
{
    (void)state;
    items("10 20");
    log_trim(&l, 2);
    below = (struct floor){ .id = { 20, 0 }, .time_ms = 20 };
    assert_start_at(live(), 0, "2");
    assert_start_at(first(), 0, "2");
    assert_start_at(newest(), 0, "2");
    assert_start_at(from_time(15), 0, "2: limit ?-? ?");
    assert_start_at(from_time(15), 30, "2: window ?-? ?");
    assert_start_at(after(10), 0, "2: limit 10-? ?");
    assert_start_at(after(20), 0, "2");
}

// ---- gaps in the log --------------------------------------------------------

static void a_gap_behind_the_place_comes_by_itself(void **state)
{
    (void)state;
    items("10 20 . 50 60");
    assert_start_at(after(10), 0, "1");
    assert_start_at(after(20), 0, "2"); // the gap
    assert_start_at(after(50), 0, "4");
    assert_start_at(from_id(50), 0, "3"); // it has the id: what was before is no matter
    assert_start_at(from_time(20), 0, "1");
    assert_start_at(from_time(21), 0, "2");
    assert_start_at(from_time(51), 0, "4");
}

// It was at another broker that did not lack them.
static void who_asks_from_inside_a_gap_is_told_of_it(void **state)
{
    (void)state;
    items("10 20 . 50 60");
    assert_start_at(after(30), 0, "3: trimmed 30-50 ?");
    assert_start_at(from_id(30), 0, "3: trimmed ?-50 ?");
    assert_start_at(from_time(30), 0, "2"); // the gap itself
    items(". .");
    last.ms = 90; // the gaps reach up to there
    assert_start_at(after(70), 0, "7: trimmed 70-? ?");
    assert_start_at(from_id(70), 0, "7: trimmed ?-? ?");
    assert_start_at(after(90), 0, "7"); // nothing is newer than what it has
}

static void what_the_window_hides_beside_a_gap_is_not_counted(void **state)
{
    (void)state;
    items("10 20 . 50 60");
    assert_start_at(after(10), 55, "4: window 10-60 ?");
    assert_start_at(after(20), 55, "4: window 20-60 ?");
    assert_start_at(after(30), 55, "4: window 30-60 ?");
    assert_start_at(after(50), 55, "4");
}

// The event before the gap is old, and so is the gap; the next one is not.
static void a_gap_that_the_window_hides_is_told(void **state)
{
    (void)state;
    append(10, 10, ITEM_EVENT);
    append(10, 12, ITEM_GAP);
    append(50, 50, ITEM_EVENT);
    last.ms = 50;
    assert_start_at(after(10), 40, "2: window 10-50 ?");
    assert_start_at(after(11), 40, "2: trimmed 11-50 ?");
    assert_start_at(from_time(11), 40, "2: window ?-50 ?");
    assert_start_at(from_time(13), 40, "2");
    assert_start_at(from_id(50), 40, "2");
}

// ---- runs -------------------------------------------------------------------

static void ids_of_the_latest_run_go_first(void **state)
{
    (void)state;
    items("10 20 30 40 / 5 20 35");
    assert_start_at(after(5), 0, "6");
    assert_start_at(after(20), 0, "7"); // both runs have it
    assert_start_at(from_id(20), 0, "6");
    assert_start_at(after(25), 0, "7");
    assert_start_at(after(35), 0, "8");
    assert_start_at(newest(), 0, "7");
}

static void an_older_run_is_gone_through_to_its_end(void **state)
{
    (void)state;
    items("10 20 30 40 / 5 20 35");
    assert_start_at(after(10), 0, "1"); // 20, 30, 40, the gap, and the latest run
    assert_start_at(after(40), 0, "4"); // the gap that says so
    assert_start_at(after(30), 0, "3"); // within the latest run's ids, but not among them
    assert_start_at(from_id(40), 0, "3");
}

static void what_begins_before_a_run_is_told_how_it_began(void **state)
{
    (void)state;
    items("10 20 / 5 7");
    assert_start_at(after(3), 0, "3: reset 3-5 ?");
    assert_start_at(from_id(3), 0, "3: reset ?-5 ?");
    assert_start_at(from_id(5), 0, "3");
}

static void ahead_of_all_is_another_stream(void **state)
{
    (void)state;
    items("10 20 30");
    assert_start_at(after(31), 0, "0: reset 31-10 ?");
    assert_start_at(after_seq(30, 1), 0, "0: reset 30.1-10 ?");
    assert_start_at(after(31), 25, "2: reset 31-30 ?");
    assert_start_at(after(31), 99, "3: reset 31-? ?");
    assert_start_at(from_id(31), 0, "3"); // it may wait for that
    assert_start_at(from_time(31), 0, "3");
}

static void ahead_of_the_latest_run_gets_that_run(void **state)
{
    (void)state;
    items("10 20 30 / 5 7");
    assert_start_at(after(40), 0, "4: reset 40-5 ?");
    assert_start_at(after(25), 0, "4: reset 25-5 ?");
    assert_start_at(after(20), 0, "2"); // an older run has it
    log_trim(&l, 2);
    assert_start_at(after(20), 0, "4: reset 20-5 ?"); // no more
    assert_start_at(after(30), 0, "3");
}

static void of_a_run_without_events_yet_nothing_is_known(void **state)
{
    (void)state;
    items("10 20 /");
    assert_start_at(after(20), 0, "2");
    assert_start_at(after(15), 0, "3: reset 15-? ?");
    assert_start_at(after(0), 0, "3");
    assert_start_at(live(), 0, "3");
    assert_start_at(newest(), 0, "1");
}

static bool is_ahead(struct start start)
{
    return seek_is_ahead(&l, last, &start);
}

static void only_an_after_is_ahead(void **state)
{
    (void)state;
    items("10 20 30 / 5 7");
    assert_true(is_ahead(after(8)));
    assert_true(is_ahead(after(31)));
    assert_false(is_ahead(after(7)));
    assert_false(is_ahead(after(6)));
    assert_false(is_ahead(after(20)));
    assert_false(is_ahead(from_id(31)));
    assert_false(is_ahead(from_time(31)));
    assert_false(is_ahead(live()));
    last.ms = 100; // the newest ones have gone from Redis before we read them
    assert_false(is_ahead(after(99)));
    assert_false(is_ahead(after(100)));
    assert_true(is_ahead(after(101)));
}

// ---- counting ---------------------------------------------------------------

static void assert_id(struct eventid id, uint64_t ms)
{
    assert_int_equal(id.ms, ms);
    assert_int_equal(id.seq, 0);
}

static void events_are_found_beside_gaps(void **state)
{
    (void)state;
    items(". 10 . . 20 .");
    assert_id(seek_event_id(&l, 0), 10);
    assert_id(seek_event_id(&l, 1), 10);
    assert_id(seek_event_id(&l, 2), 20);
    assert_id(seek_event_id(&l, 5), 0);
    assert_id(seek_event_id(&l, 6), 0);
    assert_id(seek_event_id_before(&l, 0), 0);
    assert_id(seek_event_id_before(&l, 1), 0);
    assert_id(seek_event_id_before(&l, 2), 10);
    assert_id(seek_event_id_before(&l, 4), 10);
    assert_id(seek_event_id_before(&l, 6), 20);
    assert_int_equal(log_count_events(&l, 0, 6), 2);
    assert_int_equal(log_count_events(&l, 2, 4), 0);
    assert_int_equal(log_count_events(&l, 4, 4), 0);
    assert_true(log_has_gaps(&l, 0, 6));
    assert_true(log_has_gaps(&l, 3, 4));
    assert_false(log_has_gaps(&l, 1, 2));
    assert_false(log_has_gaps(&l, 6, 6));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_start_has_its_place),
        TEST(an_empty_stream_has_one_place),
        TEST(the_newest_event_is_no_gap),
        TEST(a_log_of_gaps_has_no_newest_event),
        TEST(the_newest_event_of_a_moment_and_all_since),
        TEST(the_first_event_of_a_moment_and_all_since),
        TEST(nobody_begins_before_the_window),
        TEST(the_window_may_be_empty),
        TEST(what_left_for_want_of_room_is_limit),
        TEST(what_left_by_time_is_window),
        TEST(what_redis_had_dropped_is_trimmed),
        TEST(what_may_have_been_there_concerns_ids_alone),
        TEST(all_may_have_left),
        TEST(a_gap_behind_the_place_comes_by_itself),
        TEST(who_asks_from_inside_a_gap_is_told_of_it),
        TEST(what_the_window_hides_beside_a_gap_is_not_counted),
        TEST(a_gap_that_the_window_hides_is_told),
        TEST(ids_of_the_latest_run_go_first),
        TEST(an_older_run_is_gone_through_to_its_end),
        TEST(what_begins_before_a_run_is_told_how_it_began),
        TEST(ahead_of_all_is_another_stream),
        TEST(ahead_of_the_latest_run_gets_that_run),
        TEST(of_a_run_without_events_yet_nothing_is_known),
        TEST(only_an_after_is_ahead),
        TEST(events_are_found_beside_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
