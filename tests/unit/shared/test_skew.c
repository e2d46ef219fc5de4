#include "shared/skew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define START_MS 1000000
#define AHEAD INT64_C(1760000000000) // Redis's Unix time less our monotonic time

static struct skew skew;
static int64_t now_ms, ahead_ms;

static int set_up(void **state)
{
    (void)state;
    skew = (struct skew){ 0 };
    now_ms = START_MS;
    ahead_ms = AHEAD;
    return 0;
}

// TIME is on its way for so long, Redis answers, and the answer is on its way for so long.
static int64_t ask(int64_t there_ms, int64_t back_ms)
{
    int64_t sent_ms = now_ms, redis_ms = now_ms + there_ms + ahead_ms;
    now_ms = sent_ms + there_ms + back_ms;
    int64_t difference_ms = skew_learn(&skew, sent_ms, now_ms, redis_ms);
    now_ms += 5000;
    return difference_ms;
}

static void the_first_answer_counts_from_the_middle_of_its_round_trip(void **state)
{
    (void)state;
    assert_int_equal(ask(10, 10), AHEAD);
}

static void a_slow_answer_does_not_move_a_better_estimate(void **state)
{
    (void)state;
    ask(1, 1);
    assert_int_equal(ask(0, 900), AHEAD);
    assert_int_equal(ask(900, 0), AHEAD);
}

static void a_faster_answer_replaces_a_slow_one(void **state)
{
    (void)state;
    assert_int_equal(ask(0, 900), AHEAD - 450);
    assert_int_equal(ask(1, 1), AHEAD);
}

static void of_equally_fast_answers_the_latest_counts(void **state)
{
    (void)state;
    ask(1, 1);
    ahead_ms += 3; // drift
    assert_int_equal(ask(1, 1), AHEAD + 3);
}

static void only_the_last_answers_count(void **state)
{
    (void)state;
    ask(1, 1);
    ahead_ms += 6;
    for (int i = 0; i < SKEW_SAMPLES - 1; i++)
        assert_int_equal(ask(5, 5), AHEAD);
    assert_int_equal(ask(5, 5), AHEAD + 6);
}

static void an_old_answer_does_not_count(void **state)
{
    (void)state;
    ask(1, 1);
    now_ms += SKEW_AGE_MAX_MS;
    ahead_ms += 15;
    assert_int_equal(ask(5, 5), AHEAD + 15);
}

static void a_step_of_the_clock_of_redis_is_followed_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < SKEW_SAMPLES; i++)
        ask(0, 0);
    ahead_ms -= 3000;
    assert_int_equal(ask(20, 20), AHEAD - 3000);
    ahead_ms += 60000;
    assert_int_equal(ask(20, 20), AHEAD + 57000);
}

static void an_answer_so_slow_that_it_could_be_right_is_no_step(void **state)
{
    (void)state;
    ask(0, 0);
    assert_int_equal(ask(0, 8000), AHEAD);
    assert_int_equal(skew.count, 2);
}

static void a_forgotten_server_leaves_no_trace(void **state)
{
    (void)state;
    ask(0, 0);
    skew_forget(&skew);
    ahead_ms += 10;
    assert_int_equal(ask(100, 100), AHEAD + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_answer_counts_from_the_middle_of_its_round_trip, set_up),
        cmocka_unit_test_setup(a_slow_answer_does_not_move_a_better_estimate, set_up),
        cmocka_unit_test_setup(a_faster_answer_replaces_a_slow_one, set_up),
        cmocka_unit_test_setup(of_equally_fast_answers_the_latest_counts, set_up),
        cmocka_unit_test_setup(only_the_last_answers_count, set_up),
        cmocka_unit_test_setup(an_old_answer_does_not_count, set_up),
        cmocka_unit_test_setup(a_step_of_the_clock_of_redis_is_followed_at_once, set_up),
        cmocka_unit_test_setup(an_answer_so_slow_that_it_could_be_right_is_no_step, set_up),
        cmocka_unit_test_setup(a_forgotten_server_leaves_no_trace, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
