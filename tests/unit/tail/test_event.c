#include "tail/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/json.h"

// ---- how the tests speak ----------------------------------------------------
// An entry's fields are written as they come from Redis, followed by what comes
// next in the reply; after every reading, the reader must stand before that.

#define NEXT "next"
#define FIELDS_MAX 16

static struct buffer reply, scratch;
static struct view payload;

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&reply);
    buffer_free(&scratch);
    return 0;
}

static void write_reply(size_t count, const struct view *fields)
{
    reply.len = 0;
    resp_command(&reply, count, fields); // an array of bulk strings, just like an entry's
    buffer_printf(&reply, "+" NEXT "\r\n");
}

static enum event_verdict read_reply(const char *data_field, size_t max_bytes)
{
    struct resp_reader r = resp_open(buffer_view(&reply));
    struct resp_node node;
    assert_true(resp_next(&r, &node));
    enum event_verdict verdict =
        event_read(&r, node.count, view_of(data_field), max_bytes, &scratch, &payload);
    assert_true(resp_next(&r, &node));
    assert_true(view_eq(node.text, VIEW(NEXT)));
    return verdict;
}

static enum event_verdict read_views(size_t count, const struct view *fields, size_t max_bytes)
{
    write_reply(count, fields);
    return read_reply("data", max_bytes);
}

#define READ(max_bytes, ...)                                                                       \
    read_views(sizeof((struct view[]){ __VA_ARGS__ }) / sizeof(struct view),                       \
               (const struct view[]){ __VA_ARGS__ }, max_bytes)

static void assert_payload(const char *expected)
{
    if (payload.len != strlen(expected) || memcmp(payload.at, expected, payload.len) != 0)
        fail_msg("'" VIEW_FMT "' instead of '%s'", VIEW_ARG(payload), expected);
}

static bool lies_within(struct view v, const struct buffer *b)
{
    return v.at >= b->at && v.at + v.len <= b->at + b->len;
}

static void assert_verbatim(const char *expected)
{
    assert_payload(expected);
    assert_true(lies_within(payload, &reply));
}

static void assert_object(const char *expected)
{
    assert_payload(expected);
    assert_true(lies_within(payload, &scratch));
    assert_true(json_valid(payload));
}

// ---- the data field ---------------------------------------------------------

static void the_data_field_is_the_event(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("data"), VIEW("{\"a\": 1}")), EVENT_OK);
    assert_verbatim("{\"a\": 1}");
}

static void it_goes_out_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("data"), VIEW(" no \"json\" \xc3\xa9 \n")), EVENT_OK);
    assert_verbatim(" no \"json\" \xc3\xa9 \n");
    assert_int_equal(READ(100, VIEW("data"), VIEW("")), EVENT_OK);
    assert_payload("");
    assert_int_equal(READ(100, VIEW("data"), VIEW("a\0b")), EVENT_OK);
    assert_int_equal(payload.len, 3);
    assert_memory_equal(payload.at, "a\0b", 3);
}

static void other_fields_beside_it_do_not_matter(void **state)
{
    (void)state;
    assert_int_equal(READ(6, VIEW("kind"), VIEW("\xff not UTF-8, and long"), VIEW("data"),
                          VIEW("abc"), VIEW("\xfe"), VIEW("")),
                     EVENT_OK);
    assert_verbatim("abc");
}

static void of_two_the_last_counts(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("data"), VIEW("one"), VIEW("data"), VIEW("two")), EVENT_OK);
    assert_verbatim("two");
    assert_int_equal(READ(100, VIEW("data"), VIEW("\xff"), VIEW("data"), VIEW("two")), EVENT_OK);
    assert_int_equal(READ(100, VIEW("data"), VIEW("one"), VIEW("data"), VIEW("\xff")),
                     EVENT_NOT_UTF8);
}

static void a_value_called_data_is_no_field(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("name"), VIEW("data"), VIEW("Data"), VIEW("x")), EVENT_OK);
    assert_object("{\"name\":\"data\",\"Data\":\"x\"}");
}

static void the_field_may_have_another_name(void **state)
{
    (void)state;
    write_reply(4, (const struct view[]){ VIEW("data"), VIEW("a"), VIEW("body"), VIEW("b") });
    assert_int_equal(read_reply("body", 100), EVENT_OK);
    assert_verbatim("b");
    assert_int_equal(read_reply("none", 100), EVENT_OK);
    assert_object("{\"data\":\"a\",\"body\":\"b\"}");
}

// ---- entries without it -----------------------------------------------------

static void without_it_all_fields_are_an_object(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("kind"), VIEW("tick"), VIEW("price"), VIEW("1.5")), EVENT_OK);
    assert_object("{\"kind\":\"tick\",\"price\":\"1.5\"}");
    assert_int_equal(READ(100, VIEW(""), VIEW("")), EVENT_OK);
    assert_object("{\"\":\"\"}");
}

static void names_and_values_are_escaped(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("a\"b"), VIEW("c\\d\n\x01"), VIEW("\xc3\xa9"), VIEW("\0")),
                     EVENT_OK);
    assert_object("{\"a\\\"b\":\"c\\\\d\\n\\u0001\",\"\xc3\xa9\":\"\\u0000\"}");
}

static void the_scratch_is_emptied_first(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("a"), VIEW("long enough to be seen again")), EVENT_OK);
    assert_int_equal(READ(100, VIEW("b"), VIEW("c")), EVENT_OK);
    assert_object("{\"b\":\"c\"}");
    assert_int_equal(READ(100, VIEW("\xff"), VIEW("c")), EVENT_NOT_UTF8);
    assert_int_equal(READ(100, VIEW("d"), VIEW("e")), EVENT_OK);
    assert_object("{\"d\":\"e\"}");
}

// Redis writes neither, but a reader must not lose its place.
static void an_entry_may_be_empty_or_end_with_a_name(void **state)
{
    (void)state;
    write_reply(0, NULL);
    assert_int_equal(read_reply("data", 100), EVENT_OK);
    assert_object("{}");
    assert_int_equal(READ(100, VIEW("a"), VIEW("b"), VIEW("data")), EVENT_OK);
    assert_object("{\"a\":\"b\"}");
}

static void a_map_is_as_good_as_an_array(void **state)
{
    (void)state;
    reply.len = 0;
    buffer_printf(&reply,
                  "%%2\r\n$4\r\nkind\r\n$1\r\nx\r\n$4\r\ndata\r\n$3\r\nabc\r\n+" NEXT "\r\n");
    assert_int_equal(read_reply("data", 100), EVENT_OK);
    assert_verbatim("abc");
}

static void fields_within_fields_do_not_lead_astray(void **state)
{
    (void)state;
    reply.len = 0;
    buffer_printf(&reply, "*2\r\n*2\r\n+a\r\n*1\r\n:1\r\n$1\r\nb\r\n+" NEXT "\r\n");
    read_reply("data", 100);
}

// ---- what is refused --------------------------------------------------------

static void what_is_no_utf8_is_refused(void **state)
{
    (void)state;
    assert_int_equal(READ(100, VIEW("data"), VIEW("ab\xff")), EVENT_NOT_UTF8);
    assert_int_equal(READ(100, VIEW("data"), VIEW("\xed\xa0\x80")), EVENT_NOT_UTF8); // a surrogate
    assert_int_equal(READ(100, VIEW("data"), VIEW("cut \xe2\x82")), EVENT_NOT_UTF8);
    assert_int_equal(READ(100, VIEW("a"), VIEW("\xff")), EVENT_NOT_UTF8);
    assert_int_equal(READ(100, VIEW("\xff"), VIEW("a")), EVENT_NOT_UTF8);
    assert_int_equal(READ(100, VIEW("a"), VIEW("b"), VIEW("c"), VIEW("\xc3")), EVENT_NOT_UTF8);
}

static void what_is_too_big_is_refused(void **state)
{
    (void)state;
    assert_int_equal(READ(3, VIEW("data"), VIEW("abc")), EVENT_OK);
    assert_int_equal(READ(3, VIEW("data"), VIEW("abcd")), EVENT_TOO_BIG);
    assert_int_equal(READ(3, VIEW("data"), VIEW("\xff\xff\xff\xff")), EVENT_TOO_BIG);
}

static void an_object_counts_as_it_is_written(void **state)
{
    (void)state;
    const char *object = "{\"a\":\"b\",\"c\":\"\\\\\"}";
    for (size_t max = 0; max < strlen(object); max++)
        assert_int_equal(READ(max, VIEW("a"), VIEW("b"), VIEW("c"), VIEW("\\")), EVENT_TOO_BIG);
    assert_int_equal(READ(strlen(object), VIEW("a"), VIEW("b"), VIEW("c"), VIEW("\\")), EVENT_OK);
    assert_object(object);
    assert_int_equal(READ(1, VIEW("other")), EVENT_TOO_BIG); // {}
}

// Nothing like the whole entry is written before it is known to be too big.
static void little_is_written_of_what_is_too_big(void **state)
{
    (void)state;
    static char large[256 * 1024];
    memset(large, '\n', sizeof(large)); // two bytes each
    assert_int_equal(READ(1024, VIEW("a"), { large, sizeof(large) }), EVENT_TOO_BIG);
    assert_true(scratch.cap < 8192);
    struct view fields[FIELDS_MAX];
    for (size_t i = 0; i < FIELDS_MAX; i++)
        fields[i] = (struct view){ large, 500 };
    assert_int_equal(read_views(FIELDS_MAX, fields, 1024), EVENT_TOO_BIG);
    assert_true(scratch.cap < 8192);
}

static void verdicts_have_names(void **state)
{
    (void)state;
    assert_string_equal(event_verdict_name(EVENT_OK), "ok");
    assert_string_equal(event_verdict_name(EVENT_NOT_UTF8), "not_utf8");
    assert_string_equal(event_verdict_name(EVENT_TOO_BIG), "too_big");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_data_field_is_the_event, tear_down),
        cmocka_unit_test_teardown(it_goes_out_as_it_is, tear_down),
        cmocka_unit_test_teardown(other_fields_beside_it_do_not_matter, tear_down),
        cmocka_unit_test_teardown(of_two_the_last_counts, tear_down),
        cmocka_unit_test_teardown(a_value_called_data_is_no_field, tear_down),
        cmocka_unit_test_teardown(the_field_may_have_another_name, tear_down),
        cmocka_unit_test_teardown(without_it_all_fields_are_an_object, tear_down),
        cmocka_unit_test_teardown(names_and_values_are_escaped, tear_down),
        cmocka_unit_test_teardown(the_scratch_is_emptied_first, tear_down),
        cmocka_unit_test_teardown(an_entry_may_be_empty_or_end_with_a_name, tear_down),
        cmocka_unit_test_teardown(a_map_is_as_good_as_an_array, tear_down),
        cmocka_unit_test_teardown(fields_within_fields_do_not_lead_astray, tear_down),
        cmocka_unit_test_teardown(what_is_no_utf8_is_refused, tear_down),
        cmocka_unit_test_teardown(what_is_too_big_is_refused, tear_down),
        cmocka_unit_test_teardown(an_object_counts_as_it_is_written, tear_down),
        cmocka_unit_test_teardown(little_is_written_of_what_is_too_big, tear_down),
        cmocka_unit_test(verdicts_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
