#include "base/deadline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct item {
    char name;
    struct deadline deadline;
};

static struct deadline_queue queue, slow;
static struct item a, b, c;
static char fallen_due[16];
static struct item *rearmed; // arms itself once more when it falls due
static int64_t now_ms;

static void due(struct deadline *d)
{
    struct item *item = CONTAINER_OF(d, struct item, deadline);
    assert_false(deadline_armed(d));
    strncat(fallen_due, &item->name, 1);
    if (item == rearmed) {
        rearmed = NULL;
        deadline_arm(&queue, d, now_ms);
    }
}

static int set_up(void **state)
{
    (void)state;
    deadline_queue_init(&queue, 100, due);
    deadline_queue_init(&slow, 1000, due);
    a.name = 'a', b.name = 'b', c.name = 'c';
    deadline_init(&a.deadline);
    deadline_init(&b.deadline);
    deadline_init(&c.deadline);
    rearmed = NULL;
    fallen_due[0] = '\0';
    return 0;
}

static void arm_at(struct item *item, int64_t at_ms)
{
    deadline_arm(&queue, &item->deadline, at_ms);
}

// What falls due when the clock says `at_ms`.
static void assert_due_at(int64_t at_ms, const char *expected)
{
    fallen_due[0] = '\0';
    now_ms = at_ms;
    deadline_queue_run(&queue, at_ms);
    assert_string_equal(fallen_due, expected);
}

static void they_fall_due_in_the_order_of_arming(void **state)
{
    (void)state;
    arm_at(&a, 0);
    arm_at(&b, 10);
    arm_at(&c, 20);
    assert_int_equal(deadline_queue_next(&queue), 100);
    assert_due_at(99, "");
    assert_due_at(100, "a");
    assert_int_equal(deadline_queue_next(&queue), 110);
    assert_due_at(500, "bc");
    assert_int_equal(deadline_queue_next(&queue), INT64_MAX);
    assert_due_at(1000, "");
}

static void arming_again_starts_anew(void **state)
{
    (void)state;
    arm_at(&a, 0);
    arm_at(&b, 10);
    arm_at(&a, 50);
    assert_due_at(149, "b");
    assert_due_at(150, "a");
}

static void a_cancelled_one_never_falls_due(void **state)
{
    (void)state;
    deadline_cancel(&a.deadline); // nothing, if not armed
    arm_at(&a, 0);
    arm_at(&b, 0);
    assert_true(deadline_armed(&a.deadline));
    deadline_cancel(&a.deadline);
    assert_false(deadline_armed(&a.deadline));
    deadline_cancel(&a.deadline);
    assert_due_at(1000, "b");
}

static void one_can_move_to_another_queue(void **state)
{
    (void)state;
    arm_at(&a, 0);
    deadline_arm(&slow, &a.deadline, 0);
    assert_due_at(500, "");
    assert_int_equal(deadline_queue_next(&slow), 1000);
    deadline_queue_run(&slow, 1000);
    assert_string_equal(fallen_due, "a");
}

static void one_that_arms_itself_waits_for_its_next_time(void **state)
{
    (void)state;
    arm_at(&a, 0);
    rearmed = &a;
    assert_due_at(100, "a");
    assert_true(deadline_armed(&a.deadline));
    assert_due_at(199, "");
    assert_due_at(200, "a");
}

// ---- other durations --------------------------------------------------------

static void one_may_be_due_at_another_time(void **state)
{
    (void)state;
    arm_at(&a, 0);
    deadline_arm_at(&queue, &b.deadline, 30);
    deadline_arm_at(&queue, &c.deadline, 100);
    assert_int_equal(deadline_queue_next(&queue), 30);
    assert_due_at(30, "b");
    assert_due_at(100, "ac");
    arm_at(&a, 100);
    deadline_arm_at(&queue, &a.deadline, 110);
    assert_due_at(110, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(they_fall_due_in_the_order_of_arming, set_up),
        cmocka_unit_test_setup(arming_again_starts_anew, set_up),
        cmocka_unit_test_setup(a_cancelled_one_never_falls_due, set_up),
        cmocka_unit_test_setup(one_can_move_to_another_queue, set_up),
        cmocka_unit_test_setup(one_that_arms_itself_waits_for_its_next_time, set_up),
        cmocka_unit_test_setup(one_may_be_due_at_another_time, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
