#include "base/duration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// What a text means, in ms; a bare number counts seconds. -1: nothing.
static int64_t ms_of(const char *text)
{
    int64_t ms = 0;
    return duration_parse(view_of(text), MS_PER_S, &ms) ? ms : -1;
}

static void a_number_may_have_a_unit(void **state)
{
    (void)state;
    assert_int_equal(ms_of("250ms"), 250);
    assert_int_equal(ms_of("90s"), 90000);
    assert_int_equal(ms_of("15m"), 900000);
    assert_int_equal(ms_of("1h"), 3600000);
    assert_int_equal(ms_of("2d"), 172800000);
    assert_int_equal(ms_of("0s"), 0);
}

static void a_bare_number_counts_what_the_caller_says(void **state)
{
    (void)state;
    int64_t ms;
    assert_int_equal(ms_of("90"), 90000);
    assert_true(duration_parse(VIEW("90"), 1, &ms));
    assert_int_equal(ms, 90);
}

static void anything_else_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = { "",   "s",   "ms",   "h1",   "1 h", " 1h", "-1h", "+1h",
                                         "1w", "1hh", "1h1m", "1.5h", "01h", "1H",  "0x1s" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(ms_of(texts[i]), -1);
}

static void what_does_not_fit_is_none(void **state)
{
    (void)state;
    assert_int_equal(ms_of("9223372036854775807ms"), INT64_MAX);
    assert_int_equal(ms_of("9223372036854775808ms"), -1);
    assert_int_equal(ms_of("106751991167d"), INT64_C(106751991167) * 24 * 3600 * 1000);
    assert_int_equal(ms_of("106751991168d"), -1);
    assert_int_equal(ms_of("18446744073709551615d"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_may_have_a_unit),
        cmocka_unit_test(a_bare_number_counts_what_the_caller_says),
        cmocka_unit_test(anything_else_is_none),
        cmocka_unit_test(what_does_not_fit_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
