#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// ---- checking ---------------------------------------------------------------

// The text is copied to its own allocation: reading behind its end is then seen.
static bool judge(const char *at, size_t len)
{
    char *copy = must_alloc(len ? len : 1);
    memcpy(copy, at, len);
    bool valid = json_valid((struct view){ copy, len });
    free(copy);
    return valid;
}

#define ASSERT_VALID(text) assert_true(judge("" text, sizeof(text) - 1))
#define ASSERT_INVALID(text) assert_false(judge("" text, sizeof(text) - 1))

// A value that ends with a bracket or a quote is whole only at its very end.
static void assert_valid_only_whole(struct view text)
{
    assert_true(judge(text.at, text.len));
    for (size_t len = 0; len < text.len; len++)
        assert_false(judge(text.at, len));
}

static void values_are_valid(void **state)
{
    (void)state;
    ASSERT_VALID("null");
    ASSERT_VALID("true");
    ASSERT_VALID("false");
    ASSERT_VALID("{}");
    ASSERT_VALID("[]");
    ASSERT_VALID("\"\"");
    ASSERT_VALID("[1,\"two\",[3],{\"four\":null},true]");
    ASSERT_VALID(" \t\r\n { \"a\" : [ 1 , 2 ] , \"b\" : { } } \n");
    ASSERT_VALID("{\"a\":1,\"a\":2}"); // twice the same name: odd, but the grammar's
}

static void half_a_value_is_not(void **state)
{
    (void)state;
    assert_valid_only_whole(VIEW("{\"id\":\"a\\u00e9\\n\",\"n\":[-1.5e+3,{}],\"t\":true}"));
    assert_valid_only_whole(VIEW("[[[\"x\"],{\"y\":[]}],null]"));
    assert_valid_only_whole(VIEW("\"\\\"\\\\\""));
}

static void nothing_and_too_much_are_not(void **state)
{
    (void)state;
    assert_false(json_valid((struct view){ 0 }));
    ASSERT_INVALID("");
    ASSERT_INVALID("  ");
    ASSERT_INVALID("1 2");
    ASSERT_INVALID("{}{}");
    ASSERT_INVALID("null,");
    ASSERT_INVALID("[]]");
    ASSERT_INVALID("{}\0");
    ASSERT_INVALID("\xef\xbb\xbf{}"); // a byte order mark
}

static void other_languages_are_not(void **state)
{
    (void)state;
    ASSERT_INVALID("NaN");
    ASSERT_INVALID("Infinity");
    ASSERT_INVALID("undefined");
    ASSERT_INVALID("True");
    ASSERT_INVALID("nul");
    ASSERT_INVALID("nulll");
    ASSERT_INVALID("'a'");
    ASSERT_INVALID("{a:1}");
    ASSERT_INVALID("[1,]");
    ASSERT_INVALID("[,1]");
    ASSERT_INVALID("{\"a\":1,}");
    ASSERT_INVALID("{\"a\"}");
    ASSERT_INVALID("{\"a\":}");
    ASSERT_INVALID("{1:2}");
    ASSERT_INVALID("[1 2]");
    ASSERT_INVALID("[1}");
    ASSERT_INVALID("// note\n1");
    ASSERT_INVALID("\v1");
    ASSERT_INVALID(" 1\xc2\xa0");
}

static void numbers(void **state)
{
    (void)state;
    ASSERT_VALID("0");
    ASSERT_VALID("-0");
    ASSERT_VALID("10");
    ASSERT_VALID("0.0");
    ASSERT_VALID("1e5");
    ASSERT_VALID("1E-05");
    ASSERT_VALID("-12.50e+09");
    ASSERT_VALID("123456789012345678901234567890");
    ASSERT_INVALID("-");
    ASSERT_INVALID("+1");
    ASSERT_INVALID("01");
    ASSERT_INVALID("-01");
    ASSERT_INVALID(".5");
    ASSERT_INVALID("1.");
    ASSERT_INVALID("1.e5");
    ASSERT_INVALID("1e");
    ASSERT_INVALID("1e+");
    ASSERT_INVALID("1e+-1");
    ASSERT_INVALID("0x10");
    ASSERT_INVALID("1_000");
}

static void strings(void **state)
{
    (void)state;
    ASSERT_VALID("\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u12aF\"");
    ASSERT_VALID("\"\\ud83d\\ude00\"");
    ASSERT_VALID("\"\\ud83d\""); // half a pair
    ASSERT_VALID("\"\x7f caf\xc3\xa9\"");
    ASSERT_INVALID("\"");
    ASSERT_INVALID("\"\\\"");
    ASSERT_INVALID("\"\\x41\"");
    ASSERT_INVALID("\"\\u12g4\"");
    ASSERT_INVALID("\"\\u123\"");
    ASSERT_INVALID("\"\\U1234\"");
    ASSERT_INVALID("\"\\\0\"");
    ASSERT_INVALID("\"a\nb\"");
    ASSERT_INVALID("\"a\tb\"");
    ASSERT_INVALID("\"a\0b\"");
    ASSERT_INVALID("\"\xff\"");
    ASSERT_INVALID("\"\xed\xa0\x80\"");
}

static bool nested_is_valid(const char *open, const char *close, int depth)
{
    struct buffer b = { 0 };
    for (int i = 0; i < depth; i++)
        buffer_add_view(&b, view_of(open));
    buffer_add_view(&b, VIEW("1"));
    for (int i = 0; i < depth; i++)
        buffer_add_view(&b, view_of(close));
    bool valid = json_valid(buffer_view(&b));
    buffer_free(&b);
    return valid;
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    assert_true(nested_is_valid("[", "]", JSON_DEPTH_MAX));
    assert_false(nested_is_valid("[", "]", JSON_DEPTH_MAX + 1));
    assert_true(nested_is_valid("{\"a\":", "}", JSON_DEPTH_MAX));
    assert_false(nested_is_valid("{\"a\":", "}", JSON_DEPTH_MAX + 1));
    assert_false(nested_is_valid("[", "]", 100000));
}

// ---- writing ----------------------------------------------------------------

static void assert_written(struct view text, const char *expected)
{
    struct buffer b = { 0 };
    json_add_string(&b, text);
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.at, expected, b.len);
    assert_true(json_valid(buffer_view(&b)));
    buffer_free(&b);
}

static void strings_are_written(void **state)
{
    (void)state;
    assert_written(VIEW(""), "\"\"");
    assert_written((struct view){ 0 }, "\"\"");
    assert_written(VIEW("plain"), "\"plain\"");
    assert_written(VIEW("say \"hi\""), "\"say \\\"hi\\\"\"");
    assert_written(VIEW("C:\\x"), "\"C:\\\\x\"");
    assert_written(VIEW("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    assert_written(VIEW("\0\x01\x1f"), "\"\\u0000\\u0001\\u001f\"");
    assert_written(VIEW("a/b \x7f"), "\"a/b \x7f\"");
    assert_written(VIEW("caf\xc3\xa9 \xf0\x9f\x98\x80"), "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"");
}

static void a_string_goes_behind_what_is_there(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_add_view(&b, VIEW("{\"stream\":"));
    json_add_string(&b, VIEW("s\n1"));
    buffer_add_view(&b, VIEW("}"));
    assert_true(view_eq(buffer_view(&b), VIEW("{\"stream\":\"s\\n1\"}")));
    buffer_free(&b);
}

// ---- reading ----------------------------------------------------------------

// The object is copied to its own allocation: reading behind its end is then seen.
static void assert_member(struct view object, const char *name, const char *expected)
{
    char *copy = must_alloc(object.len);
    memcpy(copy, object.at, object.len);
    struct view text = { copy, object.len }, value = { 0 };
    assert_true(json_valid(text));
    assert_int_equal(json_member(text, view_of(name), &value), expected != NULL);
    if (expected)
        assert_true(view_eq(value, view_of(expected)));
    free(copy);
}

static void a_member_is_found_as_it_stands(void **state)
{
    (void)state;
    struct view object =
        VIEW(" { \"type\" : \"event\",\"id\":\"1-0\", \"data\": {\"id\": [1, 2.50]} , "
             "\"n\":1e3,\"id\":2,\"a\\u0062\":true } ");
    assert_member(object, "type", "\"event\"");
    assert_member(object, "id", "\"1-0\"");
    assert_member(object, "data", "{\"id\": [1, 2.50]}");
    assert_member(object, "n", "1e3");
    assert_member(object, "ab", NULL);
    assert_member(object, "", NULL);
    assert_member(object, "typ", NULL);
}

static void what_is_no_object_has_no_members(void **state)
{
    (void)state;
    assert_member(VIEW("{}"), "a", NULL);
    assert_member(VIEW(" { } "), "a", NULL);
    assert_member(VIEW("[{\"a\":1}]"), "a", NULL);
    assert_member(VIEW("\"a\""), "a", NULL);
    assert_member(VIEW("1"), "a", NULL);
}

static void assert_means(const char *value, struct view expected)
{
    struct buffer out = { 0 };
    assert_true(json_unescape(view_of(value), &out));
    assert_int_equal(out.len, expected.len);
    if (out.len)
        assert_memory_equal(out.at, expected.at, out.len);
    buffer_free(&out);
}

static void a_string_is_read(void **state)
{
    (void)state;
    assert_means("\"\"", VIEW(""));
    assert_means("\"btc\"", VIEW("btc"));
    assert_means("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", VIEW("\"\\/\b\f\n\r\t"));
    assert_means("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"",
                 VIEW("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    assert_means("\"a\\u0000b\"", VIEW("a\0b"));
    assert_means("\"\\ud83d\\n\\ude00\\ud83d\\u0041\"",
                 VIEW("\xef\xbf\xbd\n\xef\xbf\xbd\xef\xbf\xbd"
                      "A"));
}

static void what_is_no_string_is_left_alone(void **state)
{
    (void)state;
    static const char *const values[] = {
        "", "1", "null", "{}", "\"a", "a\"", "\"a\"b\"", "\"\\x\""
    };
    struct buffer out = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_false(json_unescape(view_of(values[i]), &out));
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_found_as_it_stands),
        cmocka_unit_test(what_is_no_object_has_no_members),
        cmocka_unit_test(a_string_is_read),
        cmocka_unit_test(what_is_no_string_is_left_alone),
        cmocka_unit_test(values_are_valid),
        cmocka_unit_test(half_a_value_is_not),
        cmocka_unit_test(nothing_and_too_much_are_not),
        cmocka_unit_test(other_languages_are_not),
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(strings_are_written),
        cmocka_unit_test(a_string_goes_behind_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
