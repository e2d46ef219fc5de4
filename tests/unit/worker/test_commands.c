#include "worker/commands.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

static struct command c;

static int tear_down(void **state)
{
    (void)state;
    command_done(&c);
    return 0;
}

static void read_text(const char *text)
{
    command_done(&c);
    command_read(&c, view_of(text));
}

static void assert_bad(const char *text)
{
    read_text(text);
    if (c.kind != COMMAND_BAD || c.why == NULL || strchr(c.why, ' ') == NULL)
        fail_msg("%s: %d, %s", text, (int)c.kind, c.why ? c.why : "no reason");
}

static void assert_view(struct view v, const char *text)
{
    if (text == NULL)
        assert_int_equal(v.len, 0);
    else if (!view_eq(v, view_of(text)))
        fail_msg("\"" VIEW_FMT "\" is not \"%s\"", VIEW_ARG(v), text);
}

static struct command_item next(void)
{
    struct command_item item;
    assert_true(command_next(&c, &item));
    return item;
}

static void assert_no_more(void)
{
    struct command_item item;
    assert_false(command_next(&c, &item));
}

// ---- messages ---------------------------------------------------------------

static void what_is_no_command_says_why(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "null",
        "[]",
        "\"subscribe\"",
        "{}",
        "{\"type\":7}",
        "{\"type\":\"dance\"}",
        "{\"type\":\"subscribe\"}",
        "{\"type\":\"unsubscribe\"}",
        "{\"type\":\"subscribe\",\"streams\":{}}",
        "{\"type\":\"subscribe\",\"streams\":[],\"token\":7}",
        "{\"type\":\"ping\",\"ref\":{}}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"} {}",
        "{\"type\":\"ping\",\"ref\":\"a\\u0000b\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_bad(texts[i]);
}

static void a_reference_has_at_most_64_bytes(void **state)
{
    (void)state;
    char text[200];
    for (int len = 63; len <= 65; len++) {
        snprintf(text, sizeof(text), "{\"type\":\"ping\",\"ref\":\"%0*d\"}", len, 0);
        read_text(text);
        assert_int_equal(c.kind, len <= 64 ? COMMAND_PING : COMMAND_BAD);
        if (len <= 64)
            assert_int_equal(c.ref.len, len);
    }
    read_text("{\"type\":\"ping\"}");
    assert_null(c.ref.at);
    read_text("{\"type\":\"ping\",\"ref\":\"\"}");
    assert_non_null(c.ref.at); // and is echoed
}

static void the_four_kinds(void **state)
{
    (void)state;
    read_text("{\"type\":\"subscribe\",\"streams\":[\"a\"]}");
    assert_int_equal(c.kind, COMMAND_SUBSCRIBE);
    read_text("{\"streams\":[],\"type\":\"unsubscribe\"}");
    assert_int_equal(c.kind, COMMAND_UNSUBSCRIBE);
    assert_no_more();
    read_text("{\"type\":\"auth\",\"token\":\"t\",\"scope\":\"s\",\"unknown\":[1]}");
    assert_int_equal(c.kind, COMMAND_AUTH);
    assert_view(c.options.token, "t");
    assert_view(c.options.scope, "s");
}

// ---- streams ----------------------------------------------------------------

static void streams_come_in_their_order_with_their_options(void **state)
{
    (void)state;
    read_text("{\"type\":\"subscribe\",\"token\":\"T\",\"scope\":\"P\",\"from\":\"first\","
              "\"slow\":\"skip\",\"every\":\"1s\",\"streams\":[\"a\",{\"stream\":\"b\"},"
              "{\"stream\":\"c\",\"token\":\"U\",\"after\":\"1-0\",\"slow\":\"close\"}]}");
    struct command_item a = next(), b = next(), own = next();
    assert_no_more();
    assert_view(a.name, "a");
    assert_view(b.name, "b");
    assert_view(own.name, "c");
    for (int i = 0; i < 2; i++) {
        const struct command_item *item = i ? &b : &a;
        assert_null(item->wrong);
        assert_view(item->options.token, "T");
        assert_view(item->options.scope, "P");
        assert_view(item->options.from, "first");
        assert_view(item->options.slow, "skip");
        assert_view(item->options.every, "1s");
    }
    assert_view(own.options.token, "U");
    assert_view(own.options.scope, NULL); // it belongs to the other token
    assert_view(own.options.after, "1-0");
    assert_view(own.options.from, NULL); // an own after takes the place of both
    assert_view(own.options.slow, "close");
    assert_view(own.options.every, "1s");
}

static void an_element_that_makes_no_sense_is_wrong_alone(void **state)
{
    (void)state;
    char text[2000];
    snprintf(text, sizeof(text),
             "{\"type\":\"subscribe\",\"streams\":[\"\",7,null,[],{},{\"stream\":7},"
             "{\"stream\":\"a\",\"from\":1},\"%0513d\",\"%0512d\",\"good\"]}",
             0, 0);
    read_text(text);
    assert_int_equal(c.kind, COMMAND_SUBSCRIBE);
    for (int i = 0; i < 8; i++)
        assert_non_null(next().wrong);
    assert_null(next().wrong);
    assert_view(next().name, "good");
    assert_no_more();
}

static void patterns_follow_the_streams(void **state)
{
    (void)state;
    read_text("{\"type\":\"subscribe\",\"patterns\":[\"md:*\"],\"streams\":[\"a\"]}");
    assert_false(next().is_pattern);
    struct command_item pattern = next();
    assert_true(pattern.is_pattern);
    assert_view(pattern.name, "md:*");
    assert_no_more();
}

static void the_handshakes_options_lie_under_those_of_a_command(void **state)
{
    (void)state;
    const struct subscribe_options handshake = {
        .token = VIEW("h"), .scope = VIEW("s"), .after = VIEW("1-0"), .every = VIEW("1s")
    };
    struct subscribe_options o =
        subscribe_options_over((struct subscribe_options){ .from = VIEW("last") }, handshake);
    assert_view(o.token, "h");
    assert_view(o.scope, "s");
    assert_view(o.from, "last");
    assert_view(o.after, NULL);
    assert_view(o.every, "1s");
    o = subscribe_options_over((struct subscribe_options){ .scope = VIEW("x") }, handshake);
    assert_view(o.token, "h");
    assert_view(o.scope, "x");
    assert_view(o.after, "1-0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_no_command_says_why),
        TEST(a_reference_has_at_most_64_bytes),
        TEST(the_four_kinds),
        TEST(streams_come_in_their_order_with_their_options),
        TEST(an_element_that_makes_no_sense_is_wrong_alone),
        TEST(patterns_follow_the_streams),
        TEST(the_handshakes_options_lie_under_those_of_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
