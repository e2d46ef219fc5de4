#include "worker/history.h"

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

// The text, and that it is JSON to somebody else.
static void assert_history(uint64_t seq, uint64_t limit, size_t max_bytes, bool whole,
                           const char *expected)
{
    json_error_t error;
    out.len = 0;
    history_write(&out, &l, VIEW("s"), seq, limit, max_bytes, whole);
    json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s: %.*s", error.text, (int)out.len, out.at);
    json_decref(json);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
}

#define EVENT(n) "{\"id\":\"" #n "-0\",\"data\":" #n "}"

// ---- what there is ----------------------------------------------------------

static void an_empty_stream_is_complete(void **state)
{
    (void)state;
    assert_history(0, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":true}");
    assert_history(0, 10, 1000, false,
                   "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":false}");
}

static void events_come_in_order(void **state)
{
    (void)state;
    event(1, "1");
    event(2, "2");
    event(3, "3");
    assert_history(0, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(2) "," EVENT(
                       3) "],\"last\":\"3-0\",\"complete\":true}");
    assert_history(2, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":true}");
    assert_history(3, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[],\"last\":null,\"complete\":true}");
}

static void data_is_as_in_the_envelope(void **state)
{
    (void)state;
    event(1, "{\"a\": 1.50}");
    event(2, "not json");
    event(3, "");
    assert_history(0, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[{\"id\":\"1-0\",\"data\":{\"a\": 1.50}},"
                   "{\"id\":\"2-0\",\"data\":\"not json\"},{\"id\":\"3-0\",\"data\":\"\"}],"
                   "\"last\":\"3-0\",\"complete\":true}");
}

static void large_events_too(void **state)
{
    (void)state;
    char text[70001];
    memset(text, '7', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    event(1, text);
    out.len = 0;
    history_write(&out, &l, VIEW("s"), 0, 10, MIB, true);
    assert_non_null(memmem(out.at, out.len, text, sizeof(text) - 1));
}

static void the_streams_id_is_escaped(void **state)
{
    (void)state;
    history_write(&out, &l, VIEW("a\"b"), 0, 1, 1, true);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at,
                        "{\"stream\":\"a\\\"b\",\"events\":[],\"last\":null,\"complete\":true}");
}

// ---- what is left out -------------------------------------------------------

static void a_limit_is_told(void **state)
{
    (void)state;
    event(1, "1");
    event(2, "2");
    assert_history(0, 1, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
    assert_history(0, 2, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(
                       2) "],\"last\":\"2-0\",\"complete\":true}");
}

static void so_is_a_limit_of_bytes(void **state)
{
    (void)state;
    event(1, "1");
    event(2, "2");
    // What is begun is finished, so that there is always something to go on from.
    assert_history(0, 10, 30, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
}

static void what_was_missed_before_is_told(void **state)
{
    (void)state;
    event(1, "1");
    assert_history(0, 10, 1000, false,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
}

static void so_is_a_gap(void **state)
{
    (void)state;
    event(1, "1");
    gap(1);
    event(3, "3");
    assert_history(0, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "," EVENT(
                       3) "],\"last\":\"3-0\",\"complete\":false}");
    assert_history(1, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":false}");
    assert_history(2, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(3) "],\"last\":\"3-0\","
                                                             "\"complete\":true}");
}

static void a_gap_at_the_end_too(void **state)
{
    (void)state;
    event(1, "1");
    gap(1);
    assert_history(0, 10, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
    assert_history(0, 1, 1000, true,
                   "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                             "\"complete\":false}");
}

static void it_is_appended_and_bounded_by_what_it_adds(void **state)
{
    (void)state;
    event(1, "1");
    for (int i = 0; i < 100; i++)
        buffer_add_view(&out, VIEW("0123456789"));
    size_t before = out.len;
    history_write(&out, &l, VIEW("s"), 0, 10, 500, true);
    buffer_drop(&out, before);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, "{\"stream\":\"s\",\"events\":[" EVENT(1) "],\"last\":\"1-0\","
                                                                          "\"complete\":true}");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_stream_is_complete),
        TEST(events_come_in_order),
        TEST(data_is_as_in_the_envelope),
        TEST(large_events_too),
        TEST(the_streams_id_is_escaped),
        TEST(a_limit_is_told),
        TEST(so_is_a_limit_of_bytes),
        TEST(what_was_missed_before_is_told),
        TEST(so_is_a_gap),
        TEST(a_gap_at_the_end_too),
        TEST(it_is_appended_and_bounded_by_what_it_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
