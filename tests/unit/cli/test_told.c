#include "cli/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1764031038123) // 2025-11-25T00:37:18.123Z

static struct told read_message(const char *message)
{
    struct told t;
    assert_true(told_read(view_of(message), &t));
    return t;
}

static void assert_line(const char *message, const char *expected)
{
    struct told t = read_message(message);
    struct buffer out = { 0 };
    if (t.kind == TOLD_GAP)
        told_write_gap(&t, NOW_MS, false, &out);
    else
        told_write_event(&t, NOW_MS, false, &out);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

static void an_event_is_a_line(void **state)
{
    (void)state;
    assert_line(
        "{\"type\":\"event\",\"stream\":\"btc\",\"id\":\"1764031000001-2\",\"data\":{\"p\": 1.10}}",
        "2025-11-25T00:36:40.001Z btc 1764031000001-2 {\"p\": 1.10}\n");
    assert_line("{\"type\":\"event\",\"stream\":\"a b\",\"id\":\"1764031000001-2\",\"data\":\"\"}",
                "2025-11-25T00:36:40.001Z \"a b\" 1764031000001-2 \"\"\n");
}

static void an_id_that_is_no_time_has_that_of_its_coming(void **state)
{
    (void)state;
    assert_line("{\"type\":\"event\",\"stream\":\"s\",\"id\":\"5-0\",\"data\":1}",
                "2025-11-25T00:37:18.123Z s 5-0 1\n");
    assert_line("{\"type\":\"event\",\"stream\":\"s\",\"id\":\"9764031000001-0\",\"data\":1}",
                "2025-11-25T00:37:18.123Z s 9764031000001-0 1\n");
    assert_int_equal(told_age_ms((struct eventid){ 5, 0 }, NOW_MS), -1);
    assert_int_equal(told_age_ms((struct eventid){ (uint64_t)NOW_MS - 7, 0 }, NOW_MS), 7);
    assert_int_equal(told_age_ms((struct eventid){ (uint64_t)NOW_MS + 7, 0 }, NOW_MS), 0);
}

static void nothing_in_it_can_command_a_terminal(void **state)
{
    (void)state;
    assert_line(
        "{\"type\":\"event\",\"stream\":\"s\",\"id\":\"5-0\",\"data\":{\"a\":\r\n\t1,\"b\":\"\x7f\xc2\x9b"
        "31m\xe2\x80\xa8\xc3\xa9\"}}",
        "2025-11-25T00:37:18.123Z s 5-0 {\"a\":   1,\"b\":\"\\u007f\\u009b31m\\u2028\xc3\xa9\"}\n");
}

static void a_gap_is_said_in_words(void **state)
{
    (void)state;
    assert_line(
        "{\"type\":\"gap\",\"stream\":\"s\",\"after\":\"1-0\",\"before\":\"5-0\",\"reason\":\"slow\","
        "\"missed\":3}",
        "2025-11-25T00:37:18.123Z s gap 3 events are missing, after 1-0, before 5-0: they came "
        "faster than they were read here\n");
    assert_line(
        "{\"type\":\"gap\",\"stream\":\"s\",\"after\":null,\"before\":null,\"reason\":\"reset\","
        "\"missed\":null}",
        "2025-11-25T00:37:18.123Z s gap events are missing: the stream was deleted or went back\n");
    assert_line(
        "{\"type\":\"gap\",\"stream\":\"s\",\"after\":\"1-0\",\"before\":null,\"reason\":\"new\","
        "\"missed\":1}",
        "2025-11-25T00:37:18.123Z s gap 1 event is missing, after 1-0: the reason is not known "
        "here\n");
}

static void the_others_are_read(void **state)
{
    (void)state;
    struct told t = read_message("{\"type\":\"source\",\"state\":\"stale\",\"for_ms\":1500}");
    assert_true(t.kind == TOLD_SOURCE && t.is_stale && t.number == 1500);
    t = read_message("{\"type\":\"source\",\"state\":\"ok\"}");
    assert_true(t.kind == TOLD_SOURCE && !t.is_stale && t.number == -1);
    t = read_message("{\"type\":\"closing\",\"code\":1001,\"reconnect_ms\":700}");
    assert_true(t.kind == TOLD_CLOSING && t.number == 700);
    t = read_message("{\"type\":\"live\",\"stream\":\"s\",\"id\":null}");
    assert_true(t.kind == TOLD_LIVE && eventid_is_none(t.event_id));
    t = read_message("{\"type\":\"of tomorrow\",\"x\":1}");
    assert_true(t.kind == TOLD_OTHER);
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "1",
        "{\"stream\":\"s\"}",
        "{\"type\":\"event\",\"stream\":\"s\"}",
        "{\"type\":\"event\",\"stream\":\"s\",\"id\":\"x\",\"data\":1}",
        "{\"type\":\"event\",\"stream\":\"s\",\"id\":null,\"data\":1}",
    };
    struct told t;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_false(told_read(view_of(texts[i]), &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_line),
        cmocka_unit_test(an_id_that_is_no_time_has_that_of_its_coming),
        cmocka_unit_test(nothing_in_it_can_command_a_terminal),
        cmocka_unit_test(a_gap_is_said_in_words),
        cmocka_unit_test(the_others_are_read),
        cmocka_unit_test(what_is_no_message_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
