#include "base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *text)
{
    return glob_matches(view_of(pattern), view_of(text));
}

static void test_letters_stand_for_themselves(void **state)
{
    (void)state;
    assert_true(matches("btc", "btc"));
    assert_false(matches("btc", "bt"));
    assert_false(matches("bt", "btc"));
    assert_true(matches("", ""));
    assert_false(matches("", "b"));
    assert_false(matches("[a]", "a"));
}

static void test_a_star_is_any_run(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "btc"));
    assert_true(matches("md:*", "md:btc"));
    assert_true(matches("*btc", "xbtcbtc"));
    assert_true(matches("a*b*c", "aXbXbXc"));
    assert_false(matches("a*b*c", "aXbXbX"));
    assert_true(matches("a**c", "ac"));
    assert_false(matches("md:*", "md"));
}

static void test_a_question_mark_is_one_byte(void **state)
{
    (void)state;
    assert_true(matches("b?c", "btc"));
    assert_false(matches("b?c", "bc"));
    assert_true(matches("?*", "b"));
    assert_false(matches("?*", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_stand_for_themselves),
        cmocka_unit_test(test_a_star_is_any_run),
        cmocka_unit_test(test_a_question_mark_is_one_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
