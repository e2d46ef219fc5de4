#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- views ------------------------------------------------------------------

static void views_are_compared_byte_by_byte(void **state)
{
    (void)state;
    assert_true(view_eq(VIEW("abc"), view_of("abc")));
    assert_true(view_eq(VIEW(""), (struct view){ 0 }));
    assert_true(view_eq(view_of(NULL), VIEW("")));
    assert_true(view_eq(VIEW("a\0b"), VIEW("a\0b")));
    assert_false(view_eq(VIEW("a\0b"), VIEW("a\0c")));
    assert_false(view_eq(VIEW("abc"), VIEW("ab")));
    assert_false(view_eq(VIEW("abc"), VIEW("aBc")));
}

static void case_may_be_ignored(void **state)
{
    (void)state;
    assert_true(view_eq_nocase(VIEW("Upgrade"), VIEW("uPGRADE")));
    assert_true(view_eq_nocase(VIEW(""), (struct view){ 0 }));
    assert_false(view_eq_nocase(VIEW("Upgrade"), VIEW("Upgrad")));
    assert_false(view_eq_nocase(VIEW("Upgrade"), VIEW("Upgrads")));
}

static void a_prefix_begins_a_view(void **state)
{
    (void)state;
    assert_true(view_starts(VIEW("stream:btc"), VIEW("stream:")));
    assert_true(view_starts(VIEW("stream:"), VIEW("stream:")));
    assert_true(view_starts(VIEW("x"), VIEW("")));
    assert_false(view_starts(VIEW("stream"), VIEW("stream:")));
    assert_false(view_starts(VIEW(""), VIEW("s")));
}

static void assert_trimmed(const char *text, const char *expected)
{
    if (!view_eq(view_trim(view_of(text)), view_of(expected)))
        fail_msg("'%s' did not become '%s'", text, expected);
}

static void blanks_are_trimmed_at_both_ends(void **state)
{
    (void)state;
    assert_trimmed("a", "a");
    assert_trimmed(" \ta b\t ", "a b");
    assert_trimmed(" \t ", "");
    assert_trimmed("", "");
    assert_trimmed("\na\r", "\na\r"); // these are no blanks
}

// ---- numbers ----------------------------------------------------------------

static void canonical_digits_are_a_number(void **state)
{
    (void)state;
    uint64_t n;
    assert_true(view_u64(VIEW("0"), &n));
    assert_int_equal(n, 0);
    assert_true(view_u64(VIEW("1760000000"), &n));
    assert_int_equal(n, 1760000000);
    assert_true(view_u64(VIEW("18446744073709551615"), &n));
    assert_int_equal(n, UINT64_MAX);
}

static void anything_else_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "00",
                                       "01",
                                       "-1",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1.0",
                                       "1a",
                                       "0x1",
                                       "1_0",
                                       "/",
                                       ":",
                                       "١",
                                       "18446744073709551616",
                                       "99999999999999999999",
                                       "100000000000000000000" };
    uint64_t n = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (view_u64(view_of(bad[i]), &n))
            fail_msg("'%s' was taken", bad[i]);
    assert_false(view_u64(VIEW("1\0"), &n));
    assert_int_equal(n, 7);
}

// ---- buffers ----------------------------------------------------------------

static void assert_holds(const struct buffer *b, const char *expected)
{
    assert_true(view_eq(buffer_view(b), view_of(expected)));
    assert_true(b->len <= b->cap);
}

static void a_buffer_grows_by_what_is_added(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_add(&b, "he", 2);
    buffer_add_view(&b, VIEW("llo"));
    buffer_printf(&b, " %s %d", "world", 7);
    assert_holds(&b, "hello world 7");
    buffer_free(&b);
}

static void an_empty_buffer_holds_no_memory(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_add(&b, NULL, 0);
    buffer_add_view(&b, (struct view){ 0 });
    assert_null(b.at);
    buffer_add(&b, "x", 1);
    assert_non_null(b.at);
    buffer_free(&b);
    assert_null(b.at);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, 0);
}

static void the_front_of_a_buffer_can_go(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_add_view(&b, VIEW("hello world"));
    buffer_drop(&b, 0);
    buffer_drop(&b, 6);
    assert_holds(&b, "world");
    buffer_drop(&b, 5);
    assert_holds(&b, "");
    buffer_free(&b);
}

static void room_is_reserved_once(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_reserve(&b, 1000);
    assert_true(b.cap >= 1000);
    const char *at = b.at;
    for (int i = 0; i < 1000; i++)
        buffer_add(&b, "x", 1);
    assert_ptr_equal(b.at, at);
    buffer_free(&b);
}

static void what_is_printed_may_be_long(void **state)
{
    (void)state;
    struct buffer b = { 0 };
    buffer_printf(&b, "%0*d", 5000, 7);
    assert_int_equal(b.len, 5000);
    assert_int_equal(b.at[4999], '7');
    buffer_printf(&b, "%s", "");
    assert_int_equal(b.len, 5000);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_are_compared_byte_by_byte),
        cmocka_unit_test(case_may_be_ignored),
        cmocka_unit_test(a_prefix_begins_a_view),
        cmocka_unit_test(blanks_are_trimmed_at_both_ends),
        cmocka_unit_test(canonical_digits_are_a_number),
        cmocka_unit_test(anything_else_is_none),
        cmocka_unit_test(a_buffer_grows_by_what_is_added),
        cmocka_unit_test(an_empty_buffer_holds_no_memory),
        cmocka_unit_test(the_front_of_a_buffer_can_go),
        cmocka_unit_test(room_is_reserved_once),
        cmocka_unit_test(what_is_printed_may_be_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
