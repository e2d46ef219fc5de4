#include "tail/burst.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// Each burst is written as the reads that would bring it if each came at once: "3+7" is
// three events, and then seven a millisecond after them; "1" is a lone event. What is likely to
// go on is read once more, as the tail does it: waits, and those that were in vain, are counted.

static struct burst burst;
static int waits, in_vain;

static int set_up(void **state)
{
    (void)state;
    burst = (struct burst){ 0 };
    waits = in_vain = 0;
    return 0;
}

// False: it is told at once.
static bool read_waits(size_t events, uint64_t apart_ms, uint64_t span_ms)
{
    burst_read(&burst, &(struct piece){ events, apart_ms, span_ms });
    waits += burst_is_likely(&burst);
    return burst_is_likely(&burst);
}

static void comes(const char *reads)
{
    uint64_t apart_ms = 10;
    bool waiting = false;
    for (char *end; *reads; reads = *end ? end + 1 : end) {
        size_t events = strtoul(reads, &end, 10);
        if (waiting) {
            burst_read(&burst, &(struct piece){ events, apart_ms, 0 });
            waiting = false;
        } else {
            waiting = read_waits(events, apart_ms, 0);
        }
        apart_ms = 1;
    }
    if (waiting) {
        burst_read_in_vain(&burst);
        in_vain++;
    }
}

static void come(int count, const char *reads)
{
    while (count-- > 0)
        comes(reads);
}

static void forget_waits(void)
{
    waits = in_vain = 0;
}

// ---- events that come singly ------------------------------------------------

static void lone_events_never_wait(void **state)
{
    (void)state;
    come(1000, "1");
    assert_int_equal(waits, 0);
}

static void a_thousand_a_second_never_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        read_waits(1, 1, 0);
    assert_int_equal(waits, 0);
}

// Now and then one was late, and is read with those behind it.
static void a_thousand_a_second_may_be_read_by_twos_and_threes(void **state)
{
    (void)state;
    static const size_t events[] = { 1, 2, 1, 1, 3, 2, 2, 1 };
    for (size_t i = 0; i < 1000; i++) {
        size_t n = events[i % ARRAY_LEN(events)];
        read_waits(n, 1, n - 1);
    }
    assert_int_equal(waits, 0);
}

// Redis itself had no processor for a while: it gives what it finds then one time.
static void a_steady_stream_may_be_held_up(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        bool held_up = i % 50 == 49;
        read_waits(held_up ? 6 : 1, held_up ? 6 : 1, 0);
    }
    assert_int_equal(waits, 0);
}

static void five_hundred_a_second_may_be_held_up(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        read_waits(i % 10 == 9 ? 2 : 1, 2, 0);
    assert_int_equal(waits, 0);
}

static void one_burst_among_lone_events_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        comes("1+2");
        come(3, "1");
    }
    assert_int_equal(waits, 0);
}

// ---- bursts -----------------------------------------------------------------

static void bursts_that_come_whole_never_wait(void **state)
{
    (void)state;
    come(1000, "10");
    assert_int_equal(waits, 0);
}

static void after_three_bursts_in_pieces_it_waits_for_each(void **state)
{
    (void)state;
    come(3, "3+7");
    forget_waits();
    come(100, "3+7");
    assert_int_equal(waits, 100);
    assert_int_equal(in_vain, 0);
}

static void a_burst_may_begin_with_one_event(void **state)
{
    (void)state;
    come(3, "1+9");
    forget_waits();
    come(100, "1+9");
    assert_int_equal(waits, 100);
}

static void a_burst_may_pause(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        read_waits(3, 10, 0);
        read_waits(7, 2, 1);
    }
    assert_true(burst_is_likely(&burst));
}

static void three_pieces_are_waited_for_twice_at_most(void **state)
{
    (void)state;
    come(3, "3+7");
    forget_waits();
    come(100, "1+4+5");
    assert_int_equal(waits, 200);
}

static void it_goes_on_while_one_burst_in_four_comes_in_pieces(void **state)
{
    (void)state;
    come(4, "3+7");
    forget_waits();
    for (int i = 0; i < 100; i++) {
        comes("3+7");
        come(3, "10");
    }
    assert_int_equal(waits, 400);
}

static void it_ends_when_bursts_come_whole(void **state)
{
    (void)state;
    come(100, "3+7");
    forget_waits();
    come(100, "10");
    assert_in_range(waits, 1, 10);
}

static void it_ends_within_three_lone_events(void **state)
{
    (void)state;
    come(100, "3+7");
    forget_waits();
    come(100, "1");
    assert_in_range(waits, 1, 3);
    assert_int_equal(in_vain, waits);
}

static void it_ends_within_three_events_of_a_quick_steady_stream(void **state)
{
    (void)state;
    come(100, "3+7");
    forget_waits();
    for (int i = 0; i < 100; i++)
        if (read_waits(1, i == 0 ? 10 : 1, 0))
            burst_read_in_vain(&burst);
    assert_in_range(waits, 1, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(lone_events_never_wait),
        TEST(a_thousand_a_second_never_wait),
        TEST(a_thousand_a_second_may_be_read_by_twos_and_threes),
        TEST(a_steady_stream_may_be_held_up),
        TEST(five_hundred_a_second_may_be_held_up),
        TEST(one_burst_among_lone_events_changes_nothing),
        TEST(bursts_that_come_whole_never_wait),
        TEST(after_three_bursts_in_pieces_it_waits_for_each),
        TEST(a_burst_may_begin_with_one_event),
        TEST(a_burst_may_pause),
        TEST(three_pieces_are_waited_for_twice_at_most),
        TEST(it_goes_on_while_one_burst_in_four_comes_in_pieces),
        TEST(it_ends_when_bursts_come_whole),
        TEST(it_ends_within_three_lone_events),
        TEST(it_ends_within_three_events_of_a_quick_steady_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
