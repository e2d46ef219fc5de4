#include "redis/unanswered.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct unanswered u;

static int start(void **state)
{
    (void)state;
    unanswered_init(&u);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    unanswered_clear(&u);
    return 0;
}

static void answers(const char *kinds) // 'c' for a command, 'p' for a ping
{
    bool is_ping;
    for (; *kinds; kinds++) {
        assert_true(unanswered_take(&u, &is_ping));
        assert_int_equal(is_ping ? 'p' : 'c', *kinds);
    }
}

static void answers_come_in_the_order_of_the_questions(void **state)
{
    (void)state;
    bool is_ping;
    for (int i = 0; i < 3; i++)
        unanswered_add(&u, false, 10, 1);
    unanswered_add(&u, true, 10, 1);
    unanswered_add(&u, false, 10, 2);
    answers("cccpc");
    assert_false(unanswered_any(&u));
    assert_false(unanswered_take(&u, &is_ping));
}

static void the_oldest_is_stuck_since_it_was_asked(void **state)
{
    (void)state;
    unanswered_add(&u, false, 10, 100);
    unanswered_add(&u, false, 20, 200);
    assert_int_equal(unanswered_stuck_since_ms(&u), 100);
    answers("c");
    assert_int_equal(unanswered_stuck_since_ms(&u), 200);
}

static void a_byte_of_an_answer_is_progress(void **state)
{
    (void)state;
    unanswered_heard(&u, 50); // before it was asked
    unanswered_add(&u, false, 10, 100);
    assert_int_equal(unanswered_stuck_since_ms(&u), 100);
    unanswered_heard(&u, 150);
    assert_int_equal(unanswered_stuck_since_ms(&u), 150);
}

static void bytes_of_the_oldest_that_leave_are_progress(void **state)
{
    (void)state;
    unanswered_left(&u, 7, 50); // the greeting's
    unanswered_add(&u, false, 10, 100);
    unanswered_left(&u, 9, 110);
    assert_int_equal(unanswered_stuck_since_ms(&u), 110);
    unanswered_left(&u, 1, 120);
    assert_int_equal(unanswered_stuck_since_ms(&u), 120);
}

static void bytes_of_later_ones_are_not(void **state)
{
    (void)state;
    unanswered_add(&u, false, 10, 100);
    unanswered_left(&u, 10, 110);
    unanswered_add(&u, false, 10, 120);
    unanswered_left(&u, 10, 120);
    assert_int_equal(unanswered_stuck_since_ms(&u), 110);
}

static void a_connection_that_ended_leaves_nothing(void **state)
{
    (void)state;
    unanswered_add(&u, false, 10, 100);
    unanswered_left(&u, 10, 100);
    unanswered_clear(&u);
    assert_false(unanswered_any(&u));
    unanswered_add(&u, false, 10, 200);
    unanswered_left(&u, 10, 210);
    assert_int_equal(unanswered_stuck_since_ms(&u), 210);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_come_in_the_order_of_the_questions),
        TEST(the_oldest_is_stuck_since_it_was_asked),
        TEST(a_byte_of_an_answer_is_progress),
        TEST(bytes_of_the_oldest_that_leave_are_progress),
        TEST(bytes_of_later_ones_are_not),
        TEST(a_connection_that_ended_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
