#include "wire/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A reply is scanned whole and in every two pieces, then walked and told in one
// line: 'text', -error, :integer, ,double, #t, null, [array] {map} >[push].

static void tell(struct resp_reader *r, struct buffer *out);

static void tell_children(struct resp_reader *r, size_t count, const char *open, const char *close,
                          struct buffer *out)
{
    buffer_printf(out, "%s", open);
    for (size_t i = 0; i < count; i++) {
        buffer_printf(out, "%s", i ? " " : "");
        tell(r, out);
    }
    buffer_printf(out, "%s", close);
}

static void tell(struct resp_reader *r, struct buffer *out)
{
    struct resp_node n;
    assert_true(resp_next(r, &n));
    switch (n.type) {
    case RESP_STRING: buffer_printf(out, "'" VIEW_FMT "'", VIEW_ARG(n.text)); break;
    case RESP_ERROR: buffer_printf(out, "-" VIEW_FMT, VIEW_ARG(n.text)); break;
    case RESP_INTEGER: buffer_printf(out, ":%lld", (long long)n.integer); break;
    case RESP_DOUBLE: buffer_printf(out, "," VIEW_FMT, VIEW_ARG(n.text)); break;
    case RESP_BOOL: buffer_printf(out, n.integer ? "#t" : "#f"); break;
    case RESP_NULL: buffer_printf(out, "null"); break;
    case RESP_ARRAY: tell_children(r, n.count, "[", "]", out); break;
    case RESP_MAP: tell_children(r, n.count, "{", "}", out); break;
    case RESP_PUSH: tell_children(r, n.count, ">[", "]", out); break;
    }
}

// Scans as a socket would give it: first `split` bytes, then the rest.
static enum resp_result scan_split(struct view bytes, size_t split, size_t *used)
{
    struct resp_scan scan = { 0 };
    enum resp_result result = resp_scan(&scan, (struct view){ bytes.at, split }, used);
    return result == RESP_MORE ? resp_scan(&scan, bytes, used) : result;
}

// `text` begins with one reply of `len` bytes.
static void assert_reply_in(struct view text, size_t len, const char *expected)
{
    for (size_t split = 0; split <= text.len; split++) {
        size_t used = 0;
        assert_int_equal(scan_split(text, split, &used), RESP_DONE);
        assert_int_equal(used, len);
    }
    for (size_t part = 0; part < len; part++) { // each byte comes in its turn
        struct resp_scan scan = { 0 };
        size_t used;
        for (size_t n = 0; n <= part; n++)
            assert_int_equal(resp_scan(&scan, (struct view){ text.at, n }, &used), RESP_MORE);
    }

    struct buffer told = { 0 };
    struct resp_node node;
    struct resp_reader r = resp_open((struct view){ text.at, len });
    tell(&r, &told);
    buffer_add(&told, "", 1);
    assert_string_equal(told.at, expected);
    assert_false(resp_next(&r, &node));
    buffer_free(&told);
}

static void assert_reply(struct view text, const char *expected)
{
    assert_reply_in(text, text.len, expected);
}

static void assert_bad(struct view text)
{
    for (size_t split = 0; split <= text.len; split++) {
        size_t used;
        if (scan_split(text, split, &used) != RESP_BAD)
            fail_msg("'" VIEW_FMT "' was taken", VIEW_ARG(text));
    }
}

// ---- leaves -----------------------------------------------------------------

static void strings_come_in_five_forms(void **state)
{
    (void)state;
    assert_reply(VIEW("+OK\r\n"), "'OK'");
    assert_reply(VIEW("+\r\n"), "''");
    assert_reply(VIEW("$5\r\nhello\r\n"), "'hello'");
    assert_reply(VIEW("$0\r\n\r\n"), "''");
    assert_reply(VIEW("$4\r\n\r\n\r\n\r\n"), "'\r\n\r\n'");
    assert_reply(VIEW("=8\r\ntxt:text\r\n"), "'text'");
    assert_reply(VIEW("=4\r\nmkd:\r\n"), "''");
    assert_reply(VIEW("(3492890328409238509324850943850943825024385\r\n"),
                 "'3492890328409238509324850943850943825024385'");
}

static void errors_come_in_two(void **state)
{
    (void)state;
    assert_reply(VIEW("-ERR unknown command\r\n"), "-ERR unknown command");
    assert_reply(VIEW("!8\r\nERR a\r\nb\r\n"), "-ERR a\r\nb");
}

static void numbers(void **state)
{
    (void)state;
    assert_reply(VIEW(":0\r\n"), ":0");
    assert_reply(VIEW(":+7\r\n"), ":7");
    assert_reply(VIEW(":-1\r\n"), ":-1");
    assert_reply(VIEW(":9223372036854775807\r\n"), ":9223372036854775807");
    assert_reply(VIEW(":-9223372036854775808\r\n"), ":-9223372036854775808");
    assert_reply(VIEW(",3.25\r\n"), ",3.25");
    assert_reply(VIEW(",-inf\r\n"), ",-inf");
}

static void truth_and_nothing(void **state)
{
    (void)state;
    assert_reply(VIEW("#t\r\n"), "#t");
    assert_reply(VIEW("#f\r\n"), "#f");
    assert_reply(VIEW("_\r\n"), "null");
    assert_reply(VIEW("$-1\r\n"), "null");
    assert_reply(VIEW("*-1\r\n"), "null");
}

// ---- aggregates -------------------------------------------------------------

static void aggregates_hold_what_follows(void **state)
{
    (void)state;
    assert_reply(VIEW("*0\r\n"), "[]");
    assert_reply(VIEW("*2\r\n:1\r\n*1\r\n+a\r\n"), "[:1 ['a']]");
    assert_reply(VIEW("~2\r\n+a\r\n+b\r\n"), "['a' 'b']");
    assert_reply(VIEW("*3\r\n*0\r\n*0\r\n%0\r\n"), "[[] [] {}]");
}

static void a_map_counts_keys_and_values(void **state)
{
    (void)state;
    assert_reply(VIEW("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n"), "{'a' :1 'b' [null]}");
}

static void an_xread_reply(void **state)
{
    (void)state;
    assert_reply(VIEW("%1\r\n$10\r\nstream:btc\r\n*1\r\n*2\r\n$15\r\n1760000000000-0\r\n"
                      "*2\r\n$4\r\ndata\r\n$8\r\n{\"p\": 1}\r\n"),
                 "{'stream:btc' [['1760000000000-0' ['data' '{\"p\": 1}']]]}");
}

static void invalidations(void **state)
{
    (void)state;
    assert_reply(VIEW(">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"), ">['invalidate' ['key']]");
    assert_reply(VIEW(">2\r\n$10\r\ninvalidate\r\n_\r\n"), ">['invalidate' null]");
}

static void only_the_first_reply_is_taken(void **state)
{
    (void)state;
    assert_reply_in(VIEW("+OK\r\n:1\r\n"), 5, "'OK'");
    assert_reply_in(VIEW("*1\r\n:1\r\nnonsense"), 8, "[:1]");
}

// ---- attributes -------------------------------------------------------------

static void attributes_are_not_seen(void **state)
{
    (void)state;
    assert_reply(VIEW("|1\r\n+ttl\r\n:3600\r\n+value\r\n"), "'value'");
    assert_reply(VIEW("|0\r\n+value\r\n"), "'value'");
    assert_reply(VIEW("|1\r\n+a\r\n%1\r\n+b\r\n*2\r\n:1\r\n:2\r\n*1\r\n+c\r\n"), "['c']");
    assert_reply(VIEW("*2\r\n+a\r\n|1\r\n+x\r\n+y\r\n+b\r\n"), "['a' 'b']");
    assert_reply(VIEW("|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n+value\r\n"), "'value'");
    assert_reply(VIEW("|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n+value\r\n"), "'value'");
}

// ---- walking ----------------------------------------------------------------

static void children_can_be_passed_over(void **state)
{
    (void)state;
    struct resp_reader r =
        resp_open(VIEW("*3\r\n*2\r\n+a\r\n|1\r\n+x\r\n+y\r\n*1\r\n+b\r\n+c\r\n+d\r\n"));
    struct resp_node node;

    assert_true(resp_next(&r, &node));
    assert_int_equal(node.count, 3);
    assert_true(resp_next(&r, &node));
    assert_int_equal(node.count, 2);
    resp_skip(&r, &node);
    assert_true(resp_next(&r, &node));
    assert_true(view_eq(node.text, VIEW("c")));
    resp_skip(&r, &node); // a leaf: nothing
    assert_true(resp_next(&r, &node));
    assert_true(view_eq(node.text, VIEW("d")));
    assert_false(resp_next(&r, &node));
}

// ---- what is refused --------------------------------------------------------

static void what_is_not_resp_is_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "+a\nb\r\n",
        "+a\rb\r\n",
        ":\r\n",
        ":1a\r\n",
        ":01\r\n",
        ":--1\r\n",
        ":9223372036854775808\r\n",
        ":-9223372036854775809\r\n",
        "$x\r\n",
        "$\r\n",
        "$-2\r\n",
        "$+1\r\na\r\n",
        "$1\r\nab\r\n",
        "$1\r\na\n\n",
        "#x\r\n",
        "#\r\n",
        "#tt\r\n",
        "_x\r\n",
        ",\r\n",
        "(\r\n",
        "=3\r\ntxt\r\n",
        "=5\r\nabcde\r\n",
        "=-1\r\n",
        "!-1\r\n",
        "*x\r\n",
        "*-2\r\n",
        "%-1\r\n",
        "~-1\r\n",
        ">-1\r\n",
        "*1\r\n*x\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_bad(view_of(bad[i]));
    assert_bad(VIEW("\0"));
}

static void streamed_types_are_bad(void **state)
{
    (void)state;
    assert_bad(VIEW("$?\r\n"));
    assert_bad(VIEW("*?\r\n"));
    assert_bad(VIEW(".\r\n"));
}

static void a_push_stands_alone(void **state)
{
    (void)state;
    assert_bad(VIEW("*1\r\n>1\r\n+a\r\n"));
    assert_bad(VIEW("|1\r\n+a\r\n+b\r\n>1\r\n+a\r\n"));
}

static void lengths_end_at_a_gibibyte(void **state)
{
    (void)state;
    struct resp_scan scan = { 0 };
    size_t used;
    assert_int_equal(resp_scan(&scan, VIEW("$1073741824\r\n"), &used), RESP_MORE);
    assert_int_equal(resp_scan(&scan, VIEW("*1073741824\r\n"), &used), RESP_MORE);
    assert_bad(VIEW("$1073741825\r\n"));
    assert_bad(VIEW("*1073741825\r\n"));
    assert_bad(VIEW("%99999999999999999999\r\n"));
}

static void lines_end_at_64_kibibytes(void **state)
{
    (void)state;
    struct resp_scan scan = { 0 };
    size_t used;
    char *line = must_alloc(1 + RESP_LINE_MAX);
    memset(line, '+', 1 + RESP_LINE_MAX);
    assert_int_equal(resp_scan(&scan, (struct view){ line, RESP_LINE_MAX }, &used), RESP_MORE);
    assert_int_equal(resp_scan(&scan, (struct view){ line, 1 + RESP_LINE_MAX }, &used), RESP_BAD);
    free(line);
}

static enum resp_result scan_nested(size_t depth)
{
    struct buffer text = { 0 };
    struct resp_scan scan = { 0 };
    size_t used;
    for (size_t i = 0; i < depth; i++)
        buffer_add_view(&text, VIEW("*1\r\n"));
    buffer_add_view(&text, VIEW("_\r\n"));
    enum resp_result result = resp_scan(&scan, buffer_view(&text), &used);
    buffer_free(&text);
    return result;
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    assert_int_equal(scan_nested(RESP_DEPTH_MAX), RESP_DONE);
    assert_int_equal(scan_nested(RESP_DEPTH_MAX + 1), RESP_BAD);
}

// ---- commands ---------------------------------------------------------------

static void a_command_is_an_array_of_bulk_strings(void **state)
{
    (void)state;
    struct buffer out = { 0 };
    resp_command(&out, 1, (struct view[]){ VIEW("PING") });
    resp_command(&out, 3, (struct view[]){ VIEW("SET"), VIEW("k"), VIEW("a\r\n\0") });
    assert_true(
        view_eq(buffer_view(&out), VIEW("*1\r\n$4\r\nPING\r\n"
                                        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\n\0\r\n")));
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_come_in_five_forms),
        cmocka_unit_test(errors_come_in_two),
        cmocka_unit_test(numbers),
        cmocka_unit_test(truth_and_nothing),
        cmocka_unit_test(aggregates_hold_what_follows),
        cmocka_unit_test(a_map_counts_keys_and_values),
        cmocka_unit_test(an_xread_reply),
        cmocka_unit_test(invalidations),
        cmocka_unit_test(only_the_first_reply_is_taken),
        cmocka_unit_test(attributes_are_not_seen),
        cmocka_unit_test(children_can_be_passed_over),
        cmocka_unit_test(what_is_not_resp_is_bad),
        cmocka_unit_test(streamed_types_are_bad),
        cmocka_unit_test(a_push_stands_alone),
        cmocka_unit_test(lengths_end_at_a_gibibyte),
        cmocka_unit_test(lines_end_at_64_kibibytes),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_command_is_an_array_of_bulk_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
