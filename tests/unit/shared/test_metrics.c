#include "shared/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/token.h"

// ---- how the tests speak ----------------------------------------------------

static const struct metric *metric_named(const char *name)
{
    for (size_t i = 0; i < metric_table_len; i++)
        if (strcmp(metric_table[i].name, name) == 0)
            return &metric_table[i];
    fail_msg("no metric %s", name);
    return NULL;
}

static const struct metric *latency(void)
{
    return metric_named("bond_delivery_latency_seconds");
}

// Where a value is counted: the one bucket that is not empty.
static size_t bucket_of(enum histogram histogram, const struct metric *m, uint64_t value)
{
    static struct metrics row;
    memset(&row, 0, sizeof(row));
    metrics_observe(&row, histogram, value, 1);
    for (size_t i = 0; i < metric_buckets(m); i++)
        if (metrics_get(&row, m->cell + i) > 0)
            return i;
    fail_msg("%ju is in no bucket", (uintmax_t)value);
    return 0;
}

static size_t cells_of(const struct metric *m)
{
    if (m->kind == KIND_HISTOGRAM)
        return metric_buckets(m) + 1;
    return m->labels->by_thread || m->labels->by_source ? 1 : m->labels->count;
}

// ---- the table ----------------------------------------------------------------

static void test_each_cell_belongs_to_exactly_one_metric(void **state)
{
    (void)state;
    size_t cell = 0;
    for (size_t i = 0; i < metric_table_len; i++) {
        assert_int_equal(metric_table[i].cell, cell);
        cell += cells_of(&metric_table[i]);
    }
    assert_int_equal(cell, METRIC_CELLS);
}

static void test_names_are_different_and_prefixed_and_say_their_unit(void **state)
{
    (void)state;
    for (size_t i = 0; i < metric_table_len; i++) {
        const struct metric *m = &metric_table[i];
        size_t len = strlen(m->name), unit = strlen(m->unit);
        assert_true(strncmp(m->name, "bond_", 5) == 0 || strncmp(m->name, "process_", 8) == 0);
        assert_true(unit == 0 || strcmp(m->name + len - unit, m->unit) == 0 ||
                    strcmp(m->name, "process_start_time_seconds") == 0);
        assert_true(len < 6 || strcmp(m->name + len - 6, "_total") != 0);
        assert_true(strlen(m->help) > 0 && strchr(m->help, '\n') == NULL &&
                    strchr(m->help, '\\') == NULL);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(m->name, metric_table[j].name);
    }
}

static void test_a_label_has_each_value_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < metric_table_len; i++) {
        const struct metric_labels *l = metric_table[i].labels;
        for (size_t a = 0; l->values && a < l->count; a++)
            for (size_t b = 0; b < a; b++)
                assert_true(strcmp(l->values[a][0], l->values[b][0]) != 0 ||
                            strcmp(l->values[a][1], l->values[b][1]) != 0);
    }
}

static void test_the_codes_of_tokens_are_listed(void **state)
{
    (void)state;
    for (enum token_verdict v = TOKEN_MISSING; v <= TOKEN_EXPIRED; v++)
        assert_int_not_equal(refusal_code(token_verdict_name(v)), REFUSAL_other);
    assert_int_equal(refusal_code("never heard of"), REFUSAL_other);
}

static void test_close_codes_have_their_places(void **state)
{
    (void)state;
    assert_int_equal(ws_close_index(WS_CLOSE_NORMAL), 0);
    assert_int_equal(ws_close_index(WS_CLOSE_BEHIND), WS_CLOSE_CODES_COUNT - 1);
    assert_int_equal(ws_close_index(4999), CLOSED_OTHER);
}

// ---- histograms -----------------------------------------------------------------

static void test_bounds_grow_and_octaves_are_cut_into_equal_parts(void **state)
{
    (void)state;
    const struct metric *m = latency();
    assert_int_equal(metric_bucket_bound(m, 0), 512);
    assert_int_equal(metric_bucket_bound(m, 1), 768);
    assert_int_equal(metric_bucket_bound(m, 2), 1024);
    assert_int_equal(metric_bucket_bound(m, 3), 1536);
    assert_int_equal(metric_bucket_bound(m, metric_buckets(m) - 2), 1 << 26);
}

static void test_a_value_is_in_the_first_bucket_whose_bound_is_not_below_it(void **state)
{
    (void)state;
    static const struct {
        enum histogram histogram;
        const char *name;
    } all[] = { { HISTOGRAM_DELIVERY_LATENCY, "bond_delivery_latency_seconds" },
                { HISTOGRAM_CLIENT_LAG_EVENTS, "bond_client_lag_events" },
                { HISTOGRAM_CLIENT_LAG_BYTES, "bond_client_lag_bytes" },
                { HISTOGRAM_CLIENT_LAG_SECONDS, "bond_client_lag_seconds" },
                { HISTOGRAM_REDIS_ROUND_TRIP, "bond_redis_round_trip_seconds" },
                { HISTOGRAM_TURN, "bond_turn_seconds" } };
    assert_int_equal(ARRAY_LEN(all), HISTOGRAMS_COUNT);
    for (size_t h = 0; h < ARRAY_LEN(all); h++) {
        const struct metric *m = metric_named(all[h].name);
        size_t last = metric_buckets(m) - 1;
        assert_int_equal(bucket_of(all[h].histogram, m, 0), 0);
        for (size_t i = 0; i < last; i++) {
            uint64_t bound = metric_bucket_bound(m, i);
            assert_int_equal(bucket_of(all[h].histogram, m, bound), i);
            assert_int_equal(bucket_of(all[h].histogram, m, bound + 1), i + 1);
        }
        assert_int_equal(bucket_of(all[h].histogram, m, UINT64_MAX / 2), last);
    }
}

static void test_a_sample_has_a_weight(void **state)
{
    (void)state;
    static struct metrics row;
    const struct metric *m = latency();
    metrics_observe(&row, HISTOGRAM_DELIVERY_LATENCY, 1000, 7);
    metrics_observe(&row, HISTOGRAM_DELIVERY_LATENCY, 1000, 3);
    assert_int_equal(metrics_get(&row, m->cell + 2), 10);
    assert_int_equal(metrics_get(&row, m->cell + metric_buckets(m)), 10000);
}

// ---- rows -----------------------------------------------------------------------

static void test_rows_are_summed_and_a_gauge_may_fall_in_another_row(void **state)
{
    (void)state;
    static struct metrics one, two;
    struct metric_rows rows = { 0 };
    metric_rows_add(&rows, &one);
    metric_rows_add(&rows, &two);
    metrics_add(&one, METRIC_SUBSCRIPTIONS, 2);
    metrics_subtract(&two, METRIC_SUBSCRIPTIONS, 1);
    assert_int_equal(metric_rows_sum(&rows, METRIC_SUBSCRIPTIONS), 1);
    metrics_set(&one, METRIC_CLIENT_LAG_MAX_EVENTS, 5);
    metrics_set(&two, METRIC_CLIENT_LAG_MAX_EVENTS, 9);
    assert_int_equal(metric_rows_peak(&rows, METRIC_CLIENT_LAG_MAX_EVENTS), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_cell_belongs_to_exactly_one_metric),
        cmocka_unit_test(test_names_are_different_and_prefixed_and_say_their_unit),
        cmocka_unit_test(test_a_label_has_each_value_once),
        cmocka_unit_test(test_the_codes_of_tokens_are_listed),
        cmocka_unit_test(test_close_codes_have_their_places),
        cmocka_unit_test(test_bounds_grow_and_octaves_are_cut_into_equal_parts),
        cmocka_unit_test(test_a_value_is_in_the_first_bucket_whose_bound_is_not_below_it),
        cmocka_unit_test(test_a_sample_has_a_weight),
        cmocka_unit_test(test_rows_are_summed_and_a_gauge_may_fall_in_another_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
