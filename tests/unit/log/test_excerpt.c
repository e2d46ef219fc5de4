#include "log/excerpt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "log/form.h"

// ---- how the tests speak ----------------------------------------------------

static struct log l;
static struct form_writer writer;
static struct buffer out;

static int set_up(void **state)
{
    (void)state;
    log_init(&l);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_done(&l);
    form_writer_done(&writer);
    buffer_free(&out);
    return segment_bytes_in_use() != 0;
}

static void append(uint64_t id_ms, enum item_kind kind, struct view payload)
{
    struct segment *made;
    struct buffer frame = { 0 };
    struct item item = { .id = { id_ms, 0 }, .time_ms = (int64_t)id_ms, .kind = kind };
    if (kind == ITEM_EVENT)
        form_event(&writer, FORM_RAW, VIEW("s"), item.id, payload, &frame);
    assert_true(log_append(&l, item, buffer_view(&frame), VIEW(""), 256, &made));
    buffer_free(&frame);
}

static void event(uint64_t id_ms, const char *payload)
{
    append(id_ms, ITEM_EVENT, view_of(payload));
}

static void gap(uint64_t id_ms)
{
    append(id_ms, ITEM_GAP, VIEW(""));
}

// All of the pieces together; returns how many they were.
static size_t write_all(uint64_t seq, uint64_t limit, bool whole, struct view stream)
{
    struct excerpt e = excerpt_of(seq, limit, whole);
    struct log_part part;
    size_t pieces = 0;
    bool more;
    do {
        size_t before = out.len;
        more = excerpt_next(&e, &l, stream, &out, &part);
        assert_true(out.len - before < 2 * EXCERPT_PIECE);
        if (part.len > 0)
            buffer_add(&out, part.segment->data + part.at, part.len);
        pieces++;
    } while (more);
    return pieces;
}

// The text, and that it is JSON to somebody else.
static void assert_history(uint64_t seq, uint64_t limit, bool whole, const char *expected)
{
    json_error_t error;
    out.len = 0;
    write_all(seq, limit, whole, VIEW("s"));
    json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s: %.*s", error.text, (int)out.len, out.at);
    json_decref(json);
    assert_int_equal(out.at[--out.len], '\n');
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
}

#define EVENT(n) "{\"id\":\"" #n "-0\",\"data\":" #n "}"

// ---- what there is ----------------------------------------------------------

static void an_empty_stream_is_complete(void **state)
{
    (void)state;
    assert_history(0, 10, true, "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":true}");
    assert_history(0, 10, false,
                   "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":false}");
}

static void events_come_in_order(void **state)
{
    (void)state;
    event(1, "1");
    event(2, "2");
    event(3, "3");
    assert_history(0, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(2) "," EVENT(
                       3) "],\"last\":\"3-0\",\"complete\":true}");
    assert_history(2, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":true}");
    assert_history(3, 10, true, "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":true}");
}

static void data_is_as_in_the_envelope(void **state)
{
    (void)state;
    event(1, "{\"a\": 1.50}");
    event(2, "not json");
    event(3, "");
    assert_history(0, 10, true,
                   "{\"stream\":\"s\",\"events\":[{\"id\":\"1-0\",\"data\":{\"a\": 1.50}},"
                   "{\"id\":\"2-0\",\"data\":\"not json\"},{\"id\":\"3-0\",\"data\":\"\"}],"
                   "\"last\":\"3-0\",\"complete\":true}");
}

static void an_event_of(size_t size, char filler)
{
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, filler, size);
    append(1, ITEM_EVENT, (struct view){ text, size });
    free(text);
}

static void the_data_of_a_large_event_stays_where_it_is(void **state)
{
    (void)state;
    struct log_part part;
    struct excerpt e = excerpt_of(0, 10, true);
    event(1, "1");
    an_event_of(3 * MIB, '7');
    event(2, "2");
    assert_true(excerpt_next(&e, &l, VIEW("s"), &out, &part));
    assert_int_equal(part.len, 3 * MIB);
    assert_int_equal(part.segment->data[part.at], '7');
    assert_true(out.len < 100);
    assert_false(excerpt_next(&e, &l, VIEW("s"), &out, &part));
    assert_int_equal(part.len, 0);
    buffer_add(&out, "", 1);
    assert_string_equal(
        out.at, "{\"stream\":\"s\",\"events\":[" EVENT(1) ",{\"id\":\"1-0\",\"data\":}," EVENT(
                    2) "],\"last\":\"2-0\",\"complete\":true}\n");
}

static void a_large_event_that_is_no_json_is_quoted(void **state)
{
    (void)state;
    struct log_part part;
    struct excerpt e = excerpt_of(0, 10, true);
    an_event_of(70000, 'x');
    excerpt_next(&e, &l, VIEW("s"), &out, &part);
    assert_int_equal(part.len, 0);
    assert_true(out.len > 70000);
}

static void many_events_are_many_pieces(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++)
        event(1, "1234567890");
    assert_in_range(write_all(0, 10000, true, VIEW("s")), 10, 30);
    json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "events")), 10000);
    json_decref(json);
}

static void the_streams_id_is_escaped(void **state)
{
    (void)state;
    write_all(0, 1, true, VIEW("a\"b"));
    buffer_add(&out, "", 1);
    assert_string_equal(out.at,
                        "{\"stream\":\"a\\\"b\",\"events\":[],\"last\":null,\"complete\":true}\n");
}

// ---- what is left out -------------------------------------------------------

static void a_limit_is_told(void **state)
{
    (void)state;
    event(1, "1");
    event(2, "2");
    assert_history(0, 1, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
    assert_history(0, 2, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(
                       2) "],\"last\":\"2-0\",\"complete\":true}");
}

// What is begun is finished, so that there is always something to go on from.
static void so_is_a_limit_of_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        an_event_of(EXCERPT_MAX / 2 + 1, '7');
    write_all(0, 10, true, VIEW("s"));
    json_t *json = json_loadb(out.at, out.len, JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, NULL);
    json_decref(json);
    assert_in_range(out.len, EXCERPT_MAX, EXCERPT_MAX + 1000);
    assert_non_null(memmem(out.at, out.len, "\"complete\":false", 16));
}

static void what_the_log_drops_meanwhile_is_left_out(void **state)
{
    (void)state;
    struct log_part part;
    struct excerpt e = excerpt_of(0, 10000, true);
    for (int i = 0; i < 10000; i++)
        event(1, "1234567890");
    assert_true(excerpt_next(&e, &l, VIEW("s"), &out, &part));
    uint64_t first = e.seq + 100;
    excerpt_skip_to(&e, e.seq - 1); // has been had
    excerpt_skip_to(&e, first);
    assert_int_equal(e.seq, first);
    while (excerpt_next(&e, &l, VIEW("s"), &out, &part))
        ;
    json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "events")), 10000 - 100);
    assert_true(json_is_false(json_object_get(json, "complete")));
    json_decref(json);
}

static void what_was_missed_before_is_told(void **state)
{
    (void)state;
    event(1, "1");
    assert_history(0, 10, false,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
}

static void so_is_a_gap(void **state)
{
    (void)state;
    event(1, "1");
    gap(1);
    event(3, "3");
    assert_history(0, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(
                       3) "],\"last\":\"3-0\",\"complete\":false}");
    assert_history(1, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":false}");
    assert_history(2, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":true}");
}

static void a_gap_at_the_end_too(void **state)
{
    (void)state;
    event(1, "1");
    gap(1);
    assert_history(0, 10, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
    assert_history(0, 1, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_stream_is_complete),
        TEST(events_come_in_order),
        TEST(data_is_as_in_the_envelope),
        TEST(the_data_of_a_large_event_stays_where_it_is),
        TEST(a_large_event_that_is_no_json_is_quoted),
        TEST(many_events_are_many_pieces),
        TEST(the_streams_id_is_escaped),
        TEST(a_limit_is_told),
        TEST(so_is_a_limit_of_bytes),
        TEST(what_was_missed_before_is_told),
        TEST(so_is_a_gap),
        TEST(a_gap_at_the_end_too),
        TEST(what_the_log_drops_meanwhile_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
