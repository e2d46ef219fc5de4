#include "wire/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *text)
{
    return glob_match(view_of(pattern), view_of(text));
}

static void without_a_star_it_is_the_text_itself(void **state)
{
    (void)state;
    assert_true(matches("md:btc", "md:btc"));
    assert_false(matches("md:btc", "md:btc2"));
    assert_false(matches("md:btc", "md:bt"));
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("a?[b]\\c", "a?[b]\\c")); // Redis's other signs are letters
    assert_false(matches("a?", "ab"));
}

static void a_star_stands_for_any_run(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("md:*", "md:"));
    assert_true(matches("md:*", "md:btc/usdt"));
    assert_false(matches("md:*", "md"));
    assert_false(matches("md:*", "xmd:btc"));
    assert_true(matches("*:btc", "md:btc"));
    assert_false(matches("*:btc", "md:btc2"));
    assert_true(matches("md:*:trades", "md:btc:trades"));
    assert_false(matches("md:*:trades", "md:trades"));
    assert_true(matches("**", ""));
    assert_true(matches("a**b", "ab"));
    assert_true(matches("a*b*c", "a-b-b-c"));
    assert_false(matches("a*b*c", "a-c-b"));
    assert_true(matches("é*", "é流"));
}

static void the_start_and_the_end_do_not_overlap(void **state)
{
    (void)state;
    assert_false(matches("aba*aba", "aba"));
    assert_false(matches("aba*aba", "ababa"));
    assert_true(matches("aba*aba", "abaaba"));
    assert_false(matches("a*b*a", "aba2"));
    assert_false(matches("ab*b", "ab"));
    assert_false(matches("*a*a", "a"));
}

static void a_text_with_a_nul_is_a_text(void **state)
{
    (void)state;
    assert_true(glob_match(VIEW("a*\0c"), VIEW("ab\0c")));
    assert_false(glob_match(VIEW("a\0c"), VIEW("a\0d")));
}

// What would take a matcher that goes back for every star longer than the universe has.
static void many_stars_take_no_longer(void **state)
{
    (void)state;
    char pattern[512], text[512];
    for (size_t i = 0; i < sizeof(pattern); i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    memset(text, 'a', sizeof(text));
    assert_true(glob_match((struct view){ pattern, 512 }, (struct view){ text, 512 }));
    pattern[511] = 'b';
    assert_false(glob_match((struct view){ pattern, 512 }, (struct view){ text, 512 }));
    pattern[509] = 'b';
    pattern[511] = 'a';
    assert_false(glob_match((struct view){ pattern, 512 }, (struct view){ text, 512 }));
}

static void a_scope_covers_what_matches_less(void **state)
{
    (void)state;
    assert_true(glob_covers(VIEW("md:*"), VIEW("md:*")));
    assert_true(glob_covers(VIEW("md:*"), VIEW("md:b*")));
    assert_true(glob_covers(VIEW("md:*"), VIEW("md:*:trades")));
    assert_true(glob_covers(VIEW("*"), VIEW("*")));
    assert_false(glob_covers(VIEW("md:*"), VIEW("m*")));
    assert_false(glob_covers(VIEW("md:*"), VIEW("*")));
    assert_false(glob_covers(VIEW("md:b"), VIEW("md:*")));
    assert_false(glob_covers(VIEW("*:trades"), VIEW("md:*")));
    assert_false(glob_covers(VIEW("a*b"), VIEW("a*")));
}

static void the_literal_part_ends_at_the_first_star(void **state)
{
    (void)state;
    assert_true(view_eq(glob_literal(VIEW("md:*:x*")), VIEW("md:")));
    assert_true(view_eq(glob_literal(VIEW("md")), VIEW("md")));
    assert_int_equal(glob_literal(VIEW("*")).len, 0);
    assert_int_equal(glob_literal(VIEW("")).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_star_it_is_the_text_itself),
        cmocka_unit_test(a_star_stands_for_any_run),
        cmocka_unit_test(the_start_and_the_end_do_not_overlap),
        cmocka_unit_test(a_text_with_a_nul_is_a_text),
        cmocka_unit_test(many_stars_take_no_longer),
        cmocka_unit_test(a_scope_covers_what_matches_less),
        cmocka_unit_test(the_literal_part_ends_at_the_first_star),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
