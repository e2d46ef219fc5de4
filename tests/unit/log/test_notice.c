#include "log/notice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

// Each message of the contract's table, as it stands there.

#define STREAM VIEW("5f2c")
#define NO_ID ((struct eventid){ 0 })

static struct buffer out;

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&out);
    return 0;
}

static struct eventid id_of(uint64_t ms, uint64_t seq)
{
    return (struct eventid){ ms, seq };
}

// The text, and that it is JSON to somebody else.
static void assert_says(const char *expected)
{
    json_error_t error;
    json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json == NULL)
        fail_msg("%s: %.*s", error.text, (int)out.len, out.at);
    json_decref(json);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    out.len = 0;
}

static void hello_says_what_is_there(void **state)
{
    (void)state;
    notice_hello(&out, STREAM, id_of(1760000000000, 0), id_of(1760000000005, 2), 60,
                 (struct view){ 0 });
    assert_says("{\"type\":\"hello\",\"stream\":\"5f2c\",\"first\":\"1760000000000-0\","
                "\"last\":\"1760000000005-2\",\"ring_seconds\":60}");
    notice_hello(&out, STREAM, NO_ID, NO_ID, 86400, (struct view){ 0 });
    assert_says("{\"type\":\"hello\",\"stream\":\"5f2c\",\"first\":null,\"last\":null,"
                "\"ring_seconds\":86400}");
}

static void an_event_has_its_id_and_data(void **state)
{
    (void)state;
    notice_event(&out, STREAM, id_of(17, 3), VIEW("{\"p\":1}"));
    assert_says("{\"type\":\"event\",\"stream\":\"5f2c\",\"id\":\"17-3\",\"data\":{\"p\":1}}");
}

static void the_largest_id_fits(void **state)
{
    (void)state;
    notice_live(&out, STREAM, id_of(UINT64_MAX, UINT64_MAX));
    assert_says("{\"type\":\"live\",\"stream\":\"5f2c\","
                "\"id\":\"18446744073709551615-18446744073709551615\"}");
    notice_live(&out, STREAM, id_of(0, 1)); // the least that Redis gives is no null
    assert_says("{\"type\":\"live\",\"stream\":\"5f2c\",\"id\":\"0-1\"}");
}

static void live_may_be_before_any_event(void **state)
{
    (void)state;
    notice_live(&out, STREAM, NO_ID);
    assert_says("{\"type\":\"live\",\"stream\":\"5f2c\",\"id\":null}");
}

static void a_gap_says_between_what_and_why(void **state)
{
    (void)state;
    static const char *const names[] = { "window", "limit", "trimmed", "slow", "reset" };
    for (enum gap_reason reason = GAP_WINDOW; reason <= GAP_RESET; reason++) {
        char expected[256];
        const struct gap gap = { reason, id_of(5, 0), id_of(9, 1), 3 };
        assert_string_equal(gap_reason_name(reason), names[reason]);
        snprintf(expected, sizeof(expected),
                 "{\"type\":\"gap\",\"stream\":\"5f2c\",\"after\":\"5-0\",\"before\":\"9-1\","
                 "\"reason\":\"%s\",\"missed\":3}",
                 names[reason]);
        notice_gap(&out, STREAM, &gap);
        assert_says(expected);
    }
}

static void what_a_gap_does_not_know_is_null(void **state)
{
    (void)state;
    const struct gap gap = { .reason = GAP_RESET, .missed = MISSED_UNKNOWN };
    notice_gap(&out, STREAM, &gap);
    assert_says("{\"type\":\"gap\",\"stream\":\"5f2c\",\"after\":null,\"before\":null,"
                "\"reason\":\"reset\",\"missed\":null}");
    notice_gap(&out, STREAM, &(struct gap){ .reason = GAP_SLOW });
    assert_says("{\"type\":\"gap\",\"stream\":\"5f2c\",\"after\":null,\"before\":null,"
                "\"reason\":\"slow\",\"missed\":0}");
}

static void the_source_is_stale_or_ok(void **state)
{
    (void)state;
    notice_source_stale(&out, (struct view){ 0 }, 1850);
    assert_says("{\"type\":\"source\",\"state\":\"stale\",\"for_ms\":1850}");
    notice_source_ok(&out, (struct view){ 0 });
    assert_says("{\"type\":\"source\",\"state\":\"ok\"}");
}

static void a_token_ends_in_some_seconds(void **state)
{
    (void)state;
    notice_expiring(&out, (struct view){ 0 }, 30);
    assert_says("{\"type\":\"expiring\",\"in_s\":30}");
}

static void closing_says_when_to_come_back(void **state)
{
    (void)state;
    notice_closing(&out, 4008, VIEW("fell \"behind\""), id_of(7, 0), 1234);
    assert_says("{\"type\":\"closing\",\"code\":4008,\"reason\":\"fell \\\"behind\\\"\","
                "\"last\":\"7-0\",\"reconnect_ms\":1234}");
    notice_closing(&out, 1001, VIEW(""), NO_ID, 0);
    assert_says("{\"type\":\"closing\",\"code\":1001,\"reason\":\"\",\"last\":null,"
                "\"reconnect_ms\":0}");
}

// ---- data -------------------------------------------------------------------

static void assert_data(struct view payload, const char *expected)
{
    notice_add_data(&out, payload);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
    out.len = 0;
}

static void json_stays_byte_for_byte(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}",
        "[1, 2.50,3e2 ]",
        " {\"b\":1,  \"a\":\"\\u00e9\\/\"}\r\n",
        "\"text\"",
        "null",
        "-0.0",
        "{\"a\":1,\"a\":2}", // a name twice: legal, and not ours to judge
        "1e999",
        "123456789012345678901234567890",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_data(view_of(texts[i]), texts[i]);
}

static void other_text_becomes_a_json_string(void **state)
{
    (void)state;
    assert_data(VIEW(""), "\"\"");
    assert_data(VIEW("   "), "\"   \"");
    assert_data(VIEW("hello"), "\"hello\"");
    assert_data(VIEW("{\"a\":1}x"), "\"{\\\"a\\\":1}x\"");
    assert_data(VIEW("{'a':1}"), "\"{'a':1}\"");
    assert_data(VIEW("NaN"), "\"NaN\"");
    assert_data(VIEW("a\nb\\c\t\x01"), "\"a\\nb\\\\c\\t\\u0001\"");
    assert_data(VIEW("\xc3\xa9 \xf0\x9f\x98\x80"), "\"\xc3\xa9 \xf0\x9f\x98\x80\"");
    assert_data(VIEW("1 2"), "\"1 2\"");
    assert_data(VIEW("a\0b"), "\"a\\u0000b\"");
}

static void a_streams_id_is_escaped(void **state)
{
    (void)state;
    notice_live(&out, VIEW("a\"b\\c\n\xc3\xa9"), id_of(1, 0));
    assert_says("{\"type\":\"live\",\"stream\":\"a\\\"b\\\\c\\n\xc3\xa9\",\"id\":\"1-0\"}");
}

static void texts_are_appended(void **state)
{
    (void)state;
    buffer_add_view(&out, VIEW("["));
    notice_source_ok(&out, (struct view){ 0 });
    buffer_add_view(&out, VIEW(","));
    notice_source_ok(&out, (struct view){ 0 });
    buffer_add(&out, "]", 2);
    assert_string_equal(out.at, "[{\"type\":\"source\",\"state\":\"ok\"},"
                                "{\"type\":\"source\",\"state\":\"ok\"}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(hello_says_what_is_there, tear_down),
        cmocka_unit_test_teardown(an_event_has_its_id_and_data, tear_down),
        cmocka_unit_test_teardown(the_largest_id_fits, tear_down),
        cmocka_unit_test_teardown(live_may_be_before_any_event, tear_down),
        cmocka_unit_test_teardown(a_gap_says_between_what_and_why, tear_down),
        cmocka_unit_test_teardown(what_a_gap_does_not_know_is_null, tear_down),
        cmocka_unit_test_teardown(the_source_is_stale_or_ok, tear_down),
        cmocka_unit_test_teardown(a_token_ends_in_some_seconds, tear_down),
        cmocka_unit_test_teardown(closing_says_when_to_come_back, tear_down),
        cmocka_unit_test_teardown(json_stays_byte_for_byte, tear_down),
        cmocka_unit_test_teardown(other_text_becomes_a_json_string, tear_down),
        cmocka_unit_test_teardown(a_streams_id_is_escaped, tear_down),
        cmocka_unit_test_teardown(texts_are_appended, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
