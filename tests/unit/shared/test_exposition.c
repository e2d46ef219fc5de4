#include "shared/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/json.h"

// ---- how the tests speak ----------------------------------------------------

static struct metrics worker, tail, source, asked;
static struct metric_rows rows;
static struct buffer out;
static size_t largest_piece;

static int set_up(void **state)
{
    (void)state;
    worker = tail = source = asked = (struct metrics){ 0 };
    worker.thread = "worker-0";
    tail.thread = "tail";
    source.source = asked.source = "redis\"1\":6379";
    rows = (struct metric_rows){ 0 };
    metric_rows_add(&rows, &worker);
    metric_rows_add(&rows, &tail);
    metric_rows_add(&rows, &source);
    metric_rows_add(&rows, &asked);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&out);
    return 0;
}

static const char *written(enum exposition_format format)
{
    struct exposition e = { .format = format };
    out.len = largest_piece = 0;
    if (format == EXPOSITION_JSON)
        buffer_add_view(&out, VIEW("{"));
    for (size_t before = out.len; exposition_next(&e, &rows, &out); before = out.len)
        if (out.len - before > largest_piece)
            largest_piece = out.len - before;
    assert_false(exposition_next(&e, &rows, &out)); // and stays at its end
    if (format == EXPOSITION_JSON)
        buffer_add_view(&out, VIEW("}"));
    buffer_add(&out, "", 1);
    out.len--;
    return out.at;
}

static void assert_line(enum exposition_format format, const char *line)
{
    char whole[512];
    snprintf(whole, sizeof(whole), "\n%s\n", line);
    const char *text = written(format);
    if (strncmp(text, whole + 1, strlen(whole + 1)) != 0 && !strstr(text, whole))
        fail_msg("no line '%s' in:\n%s", line, text);
}

#define PROMETHEUS EXPOSITION_PROMETHEUS
#define OPENMETRICS EXPOSITION_OPENMETRICS

// ---- Prometheus -----------------------------------------------------------------

static void test_a_counter_is_the_sum_of_all_rows(void **state)
{
    (void)state;
    metrics_add(&worker, METRIC_WRITES, 2);
    metrics_add(&tail, METRIC_WRITES, 3);
    assert_line(PROMETHEUS, "# TYPE bond_writes_total counter");
    assert_line(PROMETHEUS, "bond_writes_total 5");
}

static void test_labels_stand_in_braces(void **state)
{
    (void)state;
    metrics_add(&worker, METRIC_CLIENTS + CLIENT_KIND_ENVELOPE, 4);
    metrics_add(&tail, METRIC_GAPS + GAP_RESET, 1);
    metrics_add(&worker, METRIC_CONNECTIONS_CLOSED + ws_close_index(4008), 6);
    assert_line(PROMETHEUS, "bond_clients{route=\"ws\",format=\"envelope\"} 4");
    assert_line(PROMETHEUS, "bond_gaps_total{reason=\"reset\"} 1");
    assert_line(PROMETHEUS, "bond_connections_closed_total{code=\"4008\"} 6");
    assert_line(PROMETHEUS, "bond_connections_closed_total{code=\"none\"} 0");
}

static void test_rows_of_one_source_add_up_and_its_name_is_escaped(void **state)
{
    (void)state;
    metrics_add(&source, METRIC_REDIS_READS, 5);
    metrics_set(&asked, METRIC_REDIS_UP, 1);
    assert_line(PROMETHEUS, "bond_redis_up{source=\"redis\\\"1\\\":6379\"} 1");
    assert_line(PROMETHEUS, "bond_redis_reads_total{source=\"redis\\\"1\\\":6379\"} 5");
    const char *text = written(PROMETHEUS);
    text = strstr(text, "\nbond_redis_up{") + 1;
    assert_null(strstr(text, "\nbond_redis_up{")); // one line for both rows
}

static void test_a_histogram_has_buckets_that_only_grow_a_sum_and_a_count(void **state)
{
    (void)state;
    metrics_observe(&worker, HISTOGRAM_DELIVERY_LATENCY, 1000, 3);
    metrics_observe(&worker, HISTOGRAM_DELIVERY_LATENCY, 2000, 1);
    metrics_observe(&worker, HISTOGRAM_DELIVERY_LATENCY, UINT64_C(1) << 40, 1);
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_bucket{le=\"0.000768\"} 0");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_bucket{le=\"0.001024\"} 3");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_bucket{le=\"0.002048\"} 4");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_bucket{le=\"67.108864\"} 4");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_bucket{le=\"+Inf\"} 5");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_count 5");
    assert_line(PROMETHEUS, "bond_delivery_latency_seconds_sum 1099511.632776");
}

static void test_each_thread_has_its_turns(void **state)
{
    (void)state;
    metrics_observe(&tail, HISTOGRAM_TURN, 100, 2);
    assert_line(PROMETHEUS, "bond_turn_seconds_count{thread=\"tail\"} 2");
    assert_line(PROMETHEUS, "bond_turn_seconds_count{thread=\"worker-0\"} 0");
}

static void test_numbers_are_of_base_units_and_may_be_negative(void **state)
{
    (void)state;
    metrics_set(&asked, METRIC_REDIS_CLOCK_DIFFERENCE_SECONDS, (uint64_t)-1250);
    metrics_set(&asked, METRIC_PROCESS_CPU_SECONDS, 1500000);
    assert_line(PROMETHEUS,
                "bond_redis_clock_difference_seconds{source=\"redis\\\"1\\\":6379\"} -1.250");
    assert_line(PROMETHEUS, "process_cpu_seconds_total 1.500000");
}

// ---- OpenMetrics ----------------------------------------------------------------

static void test_openmetrics_has_units_and_an_end(void **state)
{
    (void)state;
    assert_line(OPENMETRICS, "# TYPE bond_sent_bytes counter");
    assert_line(OPENMETRICS, "# UNIT bond_sent_bytes bytes");
    assert_line(OPENMETRICS, "bond_sent_bytes_total 0");
    assert_line(OPENMETRICS, "bond_client_lag_events_bucket{le=\"1.0\"} 0");
    assert_line(PROMETHEUS, "bond_client_lag_events_bucket{le=\"1\"} 0");
    const char *text = written(OPENMETRICS);
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
}

// ---- JSON -----------------------------------------------------------------------

static void test_json_is_json(void **state)
{
    (void)state;
    metrics_observe(&worker, HISTOGRAM_DELIVERY_LATENCY, 1000, 3);
    metrics_observe(&worker, HISTOGRAM_DELIVERY_LATENCY, UINT64_C(1) << 40, 1);
    metrics_add(&worker, METRIC_WRITES, 7);
    const char *text = written(EXPOSITION_JSON);
    assert_true(json_valid(view_of(text)));
    assert_non_null(strstr(text, "\"writes_total\":7,"));
    assert_non_null(strstr(text, "{\"route\":\"sse\",\"format\":\"sse\",\"value\":0}"));
    assert_non_null(strstr(text, "\"buckets\":[[0.001024,3],[null,1]]"));
    assert_non_null(strstr(text, "{\"source\":\"redis\\\"1\\\":6379\",\"value\":0}"));
}

static void test_no_piece_is_large_however_many_threads_there_are(void **state)
{
    (void)state;
    static struct metrics more[256];
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        more[i].thread = "worker-255";
        metric_rows_add(&rows, &more[i]);
    }
    for (enum exposition_format f = PROMETHEUS; f <= EXPOSITION_JSON; f++) {
        written(f);
        assert_true(largest_piece < 8 * KIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_counter_is_the_sum_of_all_rows, set_up),
        cmocka_unit_test_setup(test_labels_stand_in_braces, set_up),
        cmocka_unit_test_setup(test_rows_of_one_source_add_up_and_its_name_is_escaped, set_up),
        cmocka_unit_test_setup(test_a_histogram_has_buckets_that_only_grow_a_sum_and_a_count,
                               set_up),
        cmocka_unit_test_setup(test_each_thread_has_its_turns, set_up),
        cmocka_unit_test_setup(test_numbers_are_of_base_units_and_may_be_negative, set_up),
        cmocka_unit_test_setup(test_openmetrics_has_units_and_an_end, set_up),
        cmocka_unit_test_setup(test_json_is_json, set_up),
        cmocka_unit_test_setup(test_no_piece_is_large_however_many_threads_there_are, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
