#include "worker/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

static struct budget b;
static struct holder early, late;

static int set_up(void **state)
{
    (void)state;
    budget_init(&b, 100);
    holder_init(&early);
    holder_init(&late);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    budget_release(&b, &early);
    budget_release(&b, &late);
    budget_done(&b);
    return 0;
}

// ---- the worst --------------------------------------------------------------

static void within_the_limit_nobody_is_the_worst(void **state)
{
    (void)state;
    assert_null(budget_worst(&b));
    budget_count(&b, &early, 60, false);
    budget_count(&b, &late, 40, false);
    assert_null(budget_worst(&b));
    assert_int_equal(b.bytes, 100);
}

static void the_one_that_has_held_longest_is(void **state)
{
    (void)state;
    budget_count(&b, &early, 60, false);
    budget_count(&b, &late, 60, false);
    assert_ptr_equal(budget_worst(&b), &early);
    budget_count(&b, &early, 61, false); // more is no progress
    assert_ptr_equal(budget_worst(&b), &early);
    budget_release(&b, &early);
    assert_null(budget_worst(&b));
}

static void progress_puts_it_behind_the_others(void **state)
{
    (void)state;
    budget_count(&b, &early, 60, false);
    budget_count(&b, &late, 60, false);
    budget_count(&b, &early, 59, true);
    assert_ptr_equal(budget_worst(&b), &late);
}

static void who_had_nothing_begins_anew(void **state)
{
    (void)state;
    budget_count(&b, &early, 60, false);
    budget_count(&b, &early, 0, false);
    budget_count(&b, &late, 60, false);
    budget_count(&b, &early, 60, false);
    assert_ptr_equal(budget_worst(&b), &late);
}

// ---- segments ---------------------------------------------------------------

static void a_segment_counts_once(void **state)
{
    (void)state;
    struct segment *s = segment_new(1000, 1), *other = segment_new(64, 1);
    budget_hold(&b, s);
    budget_hold(&b, s);
    budget_hold(&b, other);
    assert_int_equal(b.bytes, s->size + other->size);
    budget_let_go(&b, s);
    assert_int_equal(b.bytes, s->size + other->size);
    budget_let_go(&b, other);
    assert_int_equal(b.bytes, s->size);
    budget_let_go(&b, s);
    assert_int_equal(b.bytes, 0);
    segment_unref(s);
    segment_unref(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(within_the_limit_nobody_is_the_worst),
        TEST(the_one_that_has_held_longest_is),
        TEST(progress_puts_it_behind_the_others),
        TEST(who_had_nothing_begins_anew),
        TEST(a_segment_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
