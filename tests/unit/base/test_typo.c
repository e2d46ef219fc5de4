#include "base/typo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_distance(const char *a, const char *b, size_t expected)
{
    size_t there = typo_distance(view_of(a), view_of(b));
    if (there != expected)
        fail_msg("from %s to %s: %zu", a, b, there);
    assert_int_equal(typo_distance(view_of(b), view_of(a)), expected);
}

static void a_name_is_not_far_from_itself(void **state)
{
    (void)state;
    assert_distance("", "", 0);
    assert_distance("ping-seconds", "ping-seconds", 0);
    assert_distance("PING_SECONDS", "ping-seconds", 0); // case and dashes do not count
}

static void each_slip_counts_one(void **state)
{
    (void)state;
    assert_distance("port", "ports", 1);
    assert_distance("port", "prt", 1);
    assert_distance("port", "pont", 1);
    assert_distance("port", "prot", 1); // two that changed places
    assert_distance("secret", "secert", 1);
    assert_distance("ring-seconds", "rnig-secnods", 2);
    assert_distance("", "port", 4);
    assert_distance("kitten", "sitting", 3);
    assert_distance("abc", "xyz", 3);
    assert_distance("ca", "abc", 3); // what changed places is not changed again
}

static void names_have_a_length(void **state)
{
    (void)state;
    char longest[TYPO_NAME_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[TYPO_NAME_MAX + 1] = '\0';
    assert_distance(longest, "a", SIZE_MAX);
    longest[TYPO_NAME_MAX] = '\0';
    assert_distance(longest, longest, 0);
    assert_distance(longest, "", TYPO_NAME_MAX);
}

static void a_third_of_a_name_may_be_wrong(void **state)
{
    (void)state;
    assert_true(typo_is_near(VIEW("prt"), 1));
    assert_false(typo_is_near(VIEW("pt"), 1));
    assert_true(typo_is_near(VIEW("ring-second"), 3));
    assert_false(typo_is_near(VIEW("ring-second"), 4));
    assert_true(typo_is_near(VIEW(""), 0));
    assert_false(typo_is_near(VIEW("anything"), SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_not_far_from_itself),
        cmocka_unit_test(each_slip_counts_one),
        cmocka_unit_test(names_have_a_length),
        cmocka_unit_test(a_third_of_a_name_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
