#include "shared/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/json.h"

// ---- how the tests speak ----------------------------------------------------

static struct listing *begin(const char *sort, size_t limit)
{
    struct listing_request request = { .limit = limit, .ticket = 7 };
    assert_true(listing_order_read(view_of(sort), &request.order));
    return listing_new(&request);
}

static void add(struct listing *l, const char *id, uint64_t listeners)
{
    const struct listed s = { .id = view_of(id), .listeners = listeners, .source = "r:1" };
    listing_add(l, &s);
}

static void assert_order(struct listing *l, const char *ids)
{
    struct buffer got = { 0 };
    listing_finish(l);
    for (size_t i = 0; i < l->count; i++)
        buffer_printf(&got, "%s" VIEW_FMT, i ? " " : "", VIEW_ARG(l->streams[i]->id));
    buffer_add(&got, "", 1);
    assert_string_equal(got.at, ids);
    buffer_free(&got);
    listing_free(l);
}

static struct listing *three(const char *sort)
{
    struct listing *l = begin(sort, 10);
    add(l, "b", 1);
    add(l, "a", 1);
    add(l, "c", 5);
    return l;
}

// ---- order --------------------------------------------------------------------

static void test_numbers_go_down_names_go_up_and_a_minus_turns_them_round(void **state)
{
    (void)state;
    assert_order(three("listeners"), "c a b");
    assert_order(three("-listeners"), "a b c");
    assert_order(three("stream"), "a b c");
    assert_order(three("-stream"), "c b a");
}

static void test_other_orders_are_none(void **state)
{
    (void)state;
    struct listing_order order;
    assert_false(listing_order_read(VIEW(""), &order));
    assert_false(listing_order_read(VIEW("-"), &order));
    assert_false(listing_order_read(VIEW("listener"), &order));
    assert_false(listing_order_read(VIEW("--rate"), &order));
}

static void test_a_short_prefix_comes_first(void **state)
{
    (void)state;
    struct listing *l = begin("stream", 10);
    add(l, "ab", 0);
    add(l, "a", 0);
    assert_order(l, "a ab");
}

// ---- bounds -------------------------------------------------------------------

static void test_of_many_the_first_are_kept_and_all_are_counted(void **state)
{
    (void)state;
    struct listing *l = begin("listeners", 3);
    for (uint64_t i = 0; i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%03d", (int)(i * 7 % 1000));
        add(l, id, i * 7 % 1000);
        assert_true(l->count <= 6);
    }
    assert_int_equal(l->total, 1000);
    assert_order(l, "999 998 997");
}

// ---- JSON ---------------------------------------------------------------------

static void test_a_stream_as_json(void **state)
{
    (void)state;
    struct buffer out = { 0 };
    const struct listed s = {
        .listeners = 3,
        .rate_milli = 1500,
        .first = { 1000, 0 },
        .last = { 2000, 1 },
        .age_ms = 12005,
        .ring_span_ms = -1,
        .ring_bytes = 4096,
        .slowest_lag_events = 7,
        .slowest_lag_ms = 250,
        .source = "redis:6379",
        .id = VIEW("a\"b"),
    };
    listed_write(&s, &out);
    assert_true(json_valid(buffer_view(&out)));
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, "{\"stream\":\"a\\\"b\",\"listeners\":3,\"rate\":1.500,"
                                "\"first\":\"1000-0\",\"last\":\"2000-1\",\"age_s\":12.005,"
                                "\"ring_span_s\":null,\"ring_bytes\":4096,"
                                "\"slowest_lag_events\":7,\"slowest_lag_s\":0.250,"
                                "\"source\":\"redis:6379\"}");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_go_down_names_go_up_and_a_minus_turns_them_round),
        cmocka_unit_test(test_other_orders_are_none),
        cmocka_unit_test(test_a_short_prefix_comes_first),
        cmocka_unit_test(test_of_many_the_first_are_kept_and_all_are_counted),
        cmocka_unit_test(test_a_stream_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
