#include "tail/answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// A source without a link: what was asked is put into its queue by hand.

static struct config config;
static struct metrics metrics;
static struct loop loop;
static struct pulse pulse;
static struct source source;
static struct feed *feed;

static int set_up(void **state)
{
    (void)state;
    static char prefix[] = "stream:", field[] = "data";
    config = (struct config){ .ring_seconds = 60,
                              .ring_bytes = (int64_t)MIB,
                              .memory_bytes = (int64_t)(8 * MIB),
                              .stream_prefix = prefix,
                              .data_field = field };
    atomic_store(&pulse.epoch, 1);
    assert_true(loop_init(&loop));
    source = (struct source){ .config = &config, .pulse = &pulse, .metrics = &metrics, .loop = &loop };
    source.feeds =
        (struct feeds){ .config = &config, .pulse = &pulse, .loop = &loop, .metrics = &metrics };
    source_init(&source);
    feed = feed_new(&source.feeds, VIEW("one"));
    list_remove(&feed->in_dirty); // it has been read, and nothing has changed since
    feed->placed = feed->healthy = feed->ring.ready = true;
    feed->ring.epoch = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ring_done(&feed->ring);
    list_remove(&feed->in_dirty);
    list_remove(&feed->in_changed);
    list_remove(&feed->in_sweep);
    free(feed);
    source_done(&source);
    loop_done(&loop);
    return 0;
}

static void fence_was_asked(void)
{
    source.asks = must_alloc(sizeof(*source.asks));
    source.asks[0] = (struct ask){ .kind = ASK_FENCE, .epoch = pulse_epoch(&pulse) };
    source.ask_head = 0;
    source.ask_len = source.ask_cap = 1;
}

static void redis_recovers(void)
{
    atomic_fetch_add(&pulse.epoch, 1);
}

static bool is_dirty(void)
{
    return !list_empty(&feed->in_dirty);
}

static void a_fence_brings_what_did_not_change_up_to_date(void **state)
{
    (void)state;
    redis_recovers();
    fence_was_asked();
    answers_take(&source, VIEW("+PONG\r\n"));
    assert_int_equal(feed->ring.epoch, 2);
    assert_false(list_empty(&feed->in_changed));
    assert_false(is_dirty());
}

// Redis answered before it was silent again, and the answer came after. What changed in
// between is said behind it.
static void a_fence_tells_nothing_of_a_later_recovery(void **state)
{
    (void)state;
    redis_recovers();
    fence_was_asked();
    redis_recovers();
    answers_take(&source, VIEW("+PONG\r\n"));
    assert_int_equal(feed->ring.epoch, 2);
}

static void a_fence_that_is_refused_tells_nothing(void **state)
{
    (void)state;
    redis_recovers();
    fence_was_asked();
    answers_take(&source, VIEW("-BUSY a script runs\r\n"));
    assert_int_equal(feed->ring.epoch, 1);
    assert_true(is_dirty());
}

static void a_fence_tells_nothing_of_what_is_in_doubt(void **state)
{
    (void)state;
    redis_recovers();
    fence_was_asked();
    feed->unsure = true;
    answers_take(&source, VIEW("+PONG\r\n"));
    assert_int_equal(feed->ring.epoch, 1);
    assert_true(is_dirty());
}

// A replica that is filled anew goes this way, too: what it has then may be less of the same.
static void when_all_keys_go_every_stream_is_in_doubt(void **state)
{
    (void)state;
    answers_take_push(&source, VIEW(">2\r\n$10\r\ninvalidate\r\n_\r\n"));
    assert_true(feed->unsure);
    assert_true(is_dirty());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_fence_brings_what_did_not_change_up_to_date),
        TEST(a_fence_tells_nothing_of_a_later_recovery),
        TEST(a_fence_that_is_refused_tells_nothing),
        TEST(a_fence_tells_nothing_of_what_is_in_doubt),
        TEST(when_all_keys_go_every_stream_is_in_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
