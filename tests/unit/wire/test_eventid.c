#include "wire/eventid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1760000000500)

static void assert_id(struct eventid id, uint64_t ms, uint64_t seq)
{
    assert_int_equal(id.ms, ms);
    assert_int_equal(id.seq, seq);
}

// ---- ids --------------------------------------------------------------------

static void ids_are_read_and_written(void **state)
{
    (void)state;
    static const char *const texts[] = { "0-0", "1760000000000-3",
                                         "18446744073709551615-18446744073709551615" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct eventid id;
        char out[EVENTID_MAX + 1];
        assert_true(eventid_parse(view_of(texts[i]), &id));
        assert_int_equal(eventid_format(id, out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
    }
}

static void what_redis_would_not_print_is_no_id(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "-",
                                       "1",
                                       "1-",
                                       "-1",
                                       "1-2-3",
                                       "01-1",
                                       "1-01",
                                       "+1-1",
                                       "1-+1",
                                       " 1-1",
                                       "1-1 ",
                                       "1--1",
                                       "a-1",
                                       "1-*",
                                       "1.0-1",
                                       "18446744073709551616-0",
                                       "$" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct eventid id = { 7, 7 };
        if (eventid_parse(view_of(bad[i]), &id))
            fail_msg("'%s' was taken", bad[i]);
        assert_id(id, 7, 7);
    }
}

static void ids_are_ordered_by_time_then_sequence(void **state)
{
    (void)state;
    struct eventid a = { 1, 9 }, b = { 2, 0 }, c = { 2, UINT64_MAX };
    assert_int_equal(eventid_cmp(a, b), -1);
    assert_int_equal(eventid_cmp(c, b), 1);
    assert_int_equal(eventid_cmp(c, c), 0);
}

// ---- from= and after= -------------------------------------------------------

static struct start started(const char *from, const char *after)
{
    struct start start = { 0 };
    const char *wrong = start_parse(view_of(from), view_of(after), NOW_MS, &start);
    if (wrong)
        fail_msg("from='%s' after='%s': %s", from, after, wrong);
    return start;
}

static void assert_time(const char *from, int64_t at_ms)
{
    struct start start = started(from, "");
    assert_int_equal(start.kind, START_TIME);
    assert_int_equal(start.at_ms, at_ms);
}

static void neither_means_live(void **state)
{
    (void)state;
    assert_int_equal(started("", "").kind, START_LIVE);
    assert_int_equal(started(NULL, NULL).kind, START_LIVE);
}

static void from_counts_back_from_now(void **state)
{
    (void)state;
    assert_time("now-60s", NOW_MS - 60000);
    assert_time("now-5m", NOW_MS - 5 * 60000);
    assert_time("now-2h", NOW_MS - 2 * 3600000);
    assert_time("now-250ms", NOW_MS - 250);
    assert_time("now-0s", NOW_MS);
}

static void from_takes_unix_seconds(void **state)
{
    (void)state;
    assert_time("1760000000", INT64_C(1760000000000));
    assert_time("1760000000.5", INT64_C(1760000000500));
    assert_time("1760000000.05", INT64_C(1760000000050));
    assert_time("1760000000.1234567", INT64_C(1760000000123));
    assert_time("1760000000.9999", INT64_C(1760000000999)); // never later than asked for
    assert_time("0", 0);
    assert_time("9223372036854775.807", INT64_MAX);
}

static void nothing_is_before_1970(void **state)
{
    (void)state;
    assert_time("now-9999999999s", 0);
    assert_time("now-18446744073709551615ms", 0);
}

static void from_takes_first_last_and_ids(void **state)
{
    (void)state;
    assert_int_equal(started("first", "").kind, START_FIRST);
    assert_int_equal(started("last", "").kind, START_LAST);
    struct start start = started("1760000000000-3", "");
    assert_int_equal(start.kind, START_ID);
    assert_id(start.id, 1760000000000, 3);
}

static void after_takes_ids(void **state)
{
    (void)state;
    struct start start = started("", "1760000000000-3");
    assert_int_equal(start.kind, START_AFTER);
    assert_id(start.id, 1760000000000, 3);
}

static void assert_refused(const char *from, const char *after, const char *why)
{
    struct start start = { .kind = START_LAST, .at_ms = 7 };
    const char *wrong = start_parse(view_of(from), view_of(after), NOW_MS, &start);
    if (!wrong)
        fail_msg("from='%s' after='%s' was taken", from, after);
    assert_non_null(strstr(wrong, why));
    assert_int_equal(start.kind, START_LAST);
    assert_int_equal(start.at_ms, 7);
}

static void what_is_neither_is_refused_with_what_was_expected(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "now",      "now-",   "now-s",  "now-5",   "now-5d", "now-5 s", "now--5s", "now-5S",
        "now-1.5s", "now+5s", "NOW-5s", "now-05s", "live",   "First",   "-5",      "+5",
        "1.",       ".5",     "1.5.5",  "1e9",     "1,5",    " 1",      "1 ",      "0x10",
        "inf",      "nan",    "01",     "1-2-3",   "$",      "-",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(bad[i], "", "now-<n>s");
    assert_refused("", "first", "event id");
    assert_refused("", "1760000000", "event id");
}

static void numbers_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    assert_refused("now-18446744073709551616s", "", "expected");
    assert_refused("now-18446744073709551615s", "", "expected"); // not so in milliseconds
    assert_refused("9223372036854775.808", "", "expected");
    assert_refused("9223372036854776", "", "expected");
    assert_refused("18446744073709551616-0", "", "expected");
}

static void both_at_once_are_refused(void **state)
{
    (void)state;
    assert_refused("first", "1760000000000-3", "one of them");
}

// ---- neighbours -------------------------------------------------------------

static void ids_have_neighbours(void **state)
{
    (void)state;
    static const struct {
        struct eventid id, behind;
    } pairs[] = {
        { { 0, 0 }, { 0, 1 } },
        { { 5, 3 }, { 5, 4 } },
        { { 5, UINT64_MAX }, { 6, 0 } },
        { { UINT64_MAX, UINT64_MAX - 1 }, { UINT64_MAX, UINT64_MAX } },
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        assert_int_equal(eventid_cmp(eventid_behind(pairs[i].id), pairs[i].behind), 0);
        assert_int_equal(eventid_cmp(eventid_before(pairs[i].behind), pairs[i].id), 0);
    }
    const struct eventid least = { 0, 0 }, most = { UINT64_MAX, UINT64_MAX };
    assert_int_equal(eventid_cmp(eventid_before(least), least), 0);
    assert_int_equal(eventid_cmp(eventid_behind(most), most), 0);
    assert_true(eventid_is_none(least));
    assert_false(eventid_is_none(eventid_behind(least)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_read_and_written),
        cmocka_unit_test(what_redis_would_not_print_is_no_id),
        cmocka_unit_test(ids_are_ordered_by_time_then_sequence),
        cmocka_unit_test(neither_means_live),
        cmocka_unit_test(from_counts_back_from_now),
        cmocka_unit_test(from_takes_unix_seconds),
        cmocka_unit_test(nothing_is_before_1970),
        cmocka_unit_test(from_takes_first_last_and_ids),
        cmocka_unit_test(after_takes_ids),
        cmocka_unit_test(what_is_neither_is_refused_with_what_was_expected),
        cmocka_unit_test(numbers_beyond_64_bits_are_refused),
        cmocka_unit_test(both_at_once_are_refused),
        cmocka_unit_test(ids_have_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
