#include "tail/telling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// read_brings() is what the feed makes of an answer; sends() and is_answered() are what the
// tail does with the read that is due; and is_told() is the end of a turn.

static struct config config;
static struct metrics metrics;
static struct loop loop;
static struct pulse pulse;
static struct feeds feeds;
static struct feed *feed;

static int set_up(void **state)
{
    (void)state;
    static char prefix[] = "stream:";
    config = (struct config){ .ring_seconds = 60, .stream_prefix = prefix };
    assert_true(loop_init(&loop));
    loop.now_ms = 1000000;
    feeds = (struct feeds){ .config = &config, .pulse = &pulse, .loop = &loop, .metrics = &metrics };
    feeds_init(&feeds);
    telling_init(&feeds);
    rings_init(&feeds.rings, &config, &metrics, &loop);
    feed = feed_new(&feeds, VIEW("one"));
    list_remove(&feed->in_dirty);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    telling_forget(feed);
    ring_done(&feed->ring);
    list_remove(&feed->in_dirty);
    list_remove(&feed->in_changed);
    list_remove(&feed->in_sweep);
    free(feed);
    rings_done(&feeds.rings);
    feeds_done(&feeds);
    loop_done(&loop);
    return 0;
}

static void bursts_come_in_pieces(void)
{
    while (!burst_is_likely(&feed->burst))
        burst_read(&feed->burst, &(struct piece){ .events = 5 });
}

static void read_brings(size_t events)
{
    if (feed->untold.events == 0)
        feed->untold.apart_ms = 10;
    feed->untold.events += events;
    feed_mark_changed(feed);
}

static bool is_told(void)
{
    struct feed *f = telling_next(&feeds);
    assert_true(f == NULL || f == feed);
    assert_null(telling_next(&feeds));
    return f != NULL;
}

static bool is_dirty(void)
{
    return !list_empty(&feed->in_dirty);
}

static void sends(void)
{
    assert_true(is_dirty());
    list_remove(&feed->in_dirty);
    feed->asked = true;
    telling_read_sent(feed);
}

static void is_answered(size_t events)
{
    feed->asked = false;
    telling_read_answered(feed);
    if (events > 0)
        read_brings(events);
}

// ---- at once ----------------------------------------------------------------

static void a_lone_event_is_told_at_once(void **state)
{
    (void)state;
    read_brings(1);
    assert_true(is_told());
    assert_false(is_dirty());
    assert_false(is_told());
}

static void what_is_no_event_is_told_at_once(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    feed_mark_changed(feed); // somebody subscribed
    assert_true(is_told());
    assert_false(is_dirty());
}

static void a_read_that_was_under_way_is_not_waited_for(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    feed->asked = true;
    read_brings(3);
    assert_true(is_told());
}

// ---- behind a second read ---------------------------------------------------

static void a_burst_is_read_once_more_before_it_is_told(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(is_told());
    sends();
    assert_false(is_told());
    is_answered(7);
    assert_true(is_told());
    assert_false(is_dirty());
    assert_false(deadline_armed(&feed->second_read_end));
}

static void a_burst_that_was_whole_is_told_behind_that_read(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(10);
    assert_false(is_told());
    sends();
    is_answered(0);
    assert_true(is_told());
    assert_false(is_dirty());
}

// The hotline brings more while the second read waits for its turn on the link.
static void what_comes_meanwhile_waits_too(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(is_told());
    read_brings(2);
    assert_false(is_told());
    sends();
    read_brings(2);
    assert_false(is_told());
    is_answered(3);
    assert_true(is_told());
}

static void a_burst_is_told_when_its_read_is_lost(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(is_told());
    sends();
    is_answered(0); // the link broke: answers_lost says so
    assert_true(is_told());
}

static void a_burst_is_told_when_redis_takes_too_long(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(is_told());
    sends();
    deadline_queue_run(&feeds.second_reads, loop.now_ms + SECOND_READ_MS - 1);
    assert_false(is_told());
    deadline_queue_run(&feeds.second_reads, loop.now_ms + SECOND_READ_MS);
    assert_true(is_told());
    is_answered(7);
    assert_true(is_told());
}

static void a_burst_is_told_when_its_read_is_not_sent(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(is_told());
    deadline_queue_run(&feeds.second_reads, loop.now_ms + SECOND_READ_MS);
    assert_true(is_told());
}

static void lone_events_end_it(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    int waited = 0;
    for (int i = 0; i < 10; i++) {
        read_brings(1);
        if (is_told())
            continue;
        waited++;
        sends();
        is_answered(0);
        assert_true(is_told());
    }
    assert_in_range(waited, 0, 3);
}

// ---- pushes -----------------------------------------------------------------

static void a_push_that_the_second_read_answers_asks_for_no_third(void **state)
{
    (void)state;
    bursts_come_in_pieces();
    read_brings(3);
    assert_false(telling_read_will_show(feed));
    assert_false(is_told());
    assert_false(telling_read_will_show(feed)); // it may have been pushed already
    sends();
    assert_true(telling_read_will_show(feed));
    is_answered(7);
    assert_false(telling_read_will_show(feed)); // in the same turn, but behind the answer
    assert_true(is_told());
    assert_false(telling_read_will_show(feed));
}

static void a_read_that_nothing_waits_for_says_nothing_of_pushes(void **state)
{
    (void)state;
    feed_mark_dirty(feed);
    sends();
    assert_false(telling_read_will_show(feed));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_lone_event_is_told_at_once),
        TEST(what_is_no_event_is_told_at_once),
        TEST(a_read_that_was_under_way_is_not_waited_for),
        TEST(a_burst_is_read_once_more_before_it_is_told),
        TEST(a_burst_that_was_whole_is_told_behind_that_read),
        TEST(what_comes_meanwhile_waits_too),
        TEST(a_burst_is_told_when_its_read_is_lost),
        TEST(a_burst_is_told_when_redis_takes_too_long),
        TEST(a_burst_is_told_when_its_read_is_not_sent),
        TEST(lone_events_end_it),
        TEST(a_push_that_the_second_read_answers_asks_for_no_third),
        TEST(a_read_that_nothing_waits_for_says_nothing_of_pushes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
