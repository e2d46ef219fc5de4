#include "log/form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../model/decode.h"

#define STREAM VIEW("5f2c")
#define ID ((struct eventid){ 17, 3 })

static struct form_writer writer;
static struct buffer out, text;
static struct message message;

static int tear_down(void **state)
{
    (void)state;
    form_writer_done(&writer);
    buffer_free(&out);
    buffer_free(&text);
    message_free(&message);
    return 0;
}

static void event(enum form form, struct view payload)
{
    form_event(&writer, form, STREAM, ID, payload, &out);
}

static void assert_bytes(struct view expected)
{
    assert_int_equal(out.len, expected.len);
    assert_memory_equal(out.at, expected.at, expected.len);
    out.len = 0;
}

// One message and nothing behind it, none before its last byte.
static void assert_one_message(enum form form)
{
    size_t used;
    for (size_t len = 0; len < out.len; len += 1 + out.len / 500)
        assert_int_equal(decode_message(form, (struct view){ out.at, len }, &used, &message),
                         DECODED_MORE);
    assert_int_equal(decode_message(form, buffer_view(&out), &used, &message), DECODED_MESSAGE);
    assert_int_equal(used, out.len);
}

static void repeated(size_t len) // text becomes `len` bytes that deflate well
{
    text.len = 0;
    for (size_t i = 0; i < len; i++)
        buffer_add(&text, &"{\"a\":1},"[i % 8], 1);
}

static void scattered(size_t len) // text becomes `len` ASCII bytes that do not
{
    uint64_t z = 1;
    text.len = 0;
    for (size_t i = 0; i < len; i++) {
        z = z * 6364136223846793005u + 1442695040888963407u;
        char c = (char)(' ' + (z >> 33) % 95);
        buffer_add(&text, &c, 1);
    }
}

// ---- what they are ----------------------------------------------------------

static void each_form_has_two_traits(void **state)
{
    (void)state;
    static const struct {
        bool deflated, tells;
    } forms[FORM_COUNT] = {
        [FORM_RAW] = { false, false },     [FORM_RAW_DEFLATED] = { true, false },
        [FORM_ENVELOPE] = { false, true }, [FORM_ENVELOPE_DEFLATED] = { true, true },
        [FORM_SSE] = { false, true },
    };
    for (enum form form = 0; form < FORM_COUNT; form++) {
        assert_int_equal(form_is_deflated(form), forms[form].deflated);
        assert_int_equal(form_tells(form), forms[form].tells);
    }
}

// ---- raw --------------------------------------------------------------------

static void raw_is_a_text_frame_of_the_data(void **state)
{
    (void)state;
    event(FORM_RAW, VIEW("{\"p\":1}"));
    assert_bytes(VIEW("\x81\x07{\"p\":1}"));
    event(FORM_RAW, VIEW("not json"));
    assert_bytes(VIEW("\x81\x08not json"));
    event(FORM_RAW, VIEW(""));
    assert_bytes(VIEW("\x81\x00"));
}

static void the_payload_is_found_behind_each_kind_of_header(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 125, 126, 127, 65535, 65536, 100000 };
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        repeated(lengths[i]);
        event(FORM_RAW, (struct view){ text.at ? text.at : "", text.len });
        struct view payload = form_raw_payload(buffer_view(&out));
        assert_int_equal(payload.len, text.len);
        assert_true(view_eq(payload, buffer_view(&text)));
        assert_one_message(FORM_RAW);
        assert_true(view_eq(buffer_view(&message.text), buffer_view(&text)));
        out.len = 0;
    }
}

// ---- deflated ---------------------------------------------------------------

static void what_gets_shorter_is_deflated(void **state)
{
    (void)state;
    for (size_t len = 32; len <= 200000; len *= 3) {
        repeated(len);
        event(FORM_RAW_DEFLATED, buffer_view(&text));
        assert_one_message(FORM_RAW_DEFLATED);
        assert_true(message.deflated);
        assert_true(out.len < len);
        assert_true(view_eq(buffer_view(&message.text), buffer_view(&text)));
        out.len = 0;
    }
}

static void what_does_not_is_sent_plain(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 15, 16, 24 };
    event(FORM_RAW_DEFLATED, VIEW("{\"p\":1}"));
    assert_bytes(VIEW("\x81\x07{\"p\":1}"));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        scattered(lengths[i]);
        event(FORM_RAW_DEFLATED, (struct view){ text.at ? text.at : "", text.len });
        assert_one_message(FORM_RAW_DEFLATED);
        assert_false(message.deflated);
        assert_true(view_eq(buffer_view(&message.text), buffer_view(&text)));
        out.len = 0;
    }
}

static void no_message_needs_the_one_before(void **state)
{
    (void)state;
    struct buffer first = { 0 };
    repeated(3000);
    event(FORM_RAW_DEFLATED, buffer_view(&text));
    buffer_add_view(&first, buffer_view(&out));
    for (int i = 0; i < 3; i++) {
        out.len = 0;
        event(FORM_RAW_DEFLATED, buffer_view(&text));
        assert_true(view_eq(buffer_view(&out), buffer_view(&first)));
    }
    buffer_free(&first);
}

// ---- the envelope -----------------------------------------------------------

static void the_envelope_is_a_text_frame_of_json(void **state)
{
    (void)state;
    event(FORM_ENVELOPE, VIEW("{\"p\":1}"));
    assert_bytes(VIEW("\x81\x3b{\"type\":\"event\",\"stream\":\"5f2c\",\"id\":\"17-3\","
                      "\"data\":{\"p\":1}}"));
}

static void an_envelope_may_be_deflated(void **state)
{
    (void)state;
    repeated(2000);
    event(FORM_ENVELOPE_DEFLATED, buffer_view(&text));
    assert_one_message(FORM_ENVELOPE_DEFLATED);
    assert_true(message.deflated);
    assert_true(message_is_event(&message, FORM_ENVELOPE_DEFLATED, STREAM, ID, buffer_view(&text)));
}

// ---- server-sent events -----------------------------------------------------

static void an_event_stream_has_an_id_and_data(void **state)
{
    (void)state;
    event(FORM_SSE, VIEW("{\"p\":1}"));
    assert_bytes(VIEW("id: 17-3\ndata: {\"p\":1}\n\n"));
}

static void each_line_is_a_data_line(void **state)
{
    (void)state;
    static const struct {
        struct view payload, lines;
    } cases[] = {
        { { "", 0 }, { "data: \n", 7 } },
        { { "a", 1 }, { "data: a\n", 8 } },
        { { "a\nb", 3 }, { "data: a\ndata: b\n", 16 } },
        { { "a\r\nb", 4 }, { "data: a\ndata: b\n", 16 } },
        { { "a\rb", 3 }, { "data: a\ndata: b\n", 16 } },
        { { "a\n\rb", 4 }, { "data: a\ndata: \ndata: b\n", 23 } },
        { { "\n", 1 }, { "data: \ndata: \n", 14 } },
        { { "a\n", 2 }, { "data: a\ndata: \n", 15 } },
        { { "a\r", 2 }, { "data: a\ndata: \n", 15 } },
        { { "a\r\n", 3 }, { "data: a\ndata: \n", 15 } },
        { { " a", 2 }, { "data:  a\n", 9 } },
        { { "id: 1", 5 }, { "data: id: 1\n", 12 } },
        { { "a\0b", 3 }, { "data: a\0b\n", 10 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        event(FORM_SSE, cases[i].payload);
        assert_one_message(FORM_SSE);
        assert_true(message_is_event(&message, FORM_SSE, STREAM, ID, cases[i].payload));
        buffer_drop(&out, strlen("id: 17-3\n"));
        assert_int_equal(out.len, cases[i].lines.len + 1);
        assert_memory_equal(out.at, cases[i].lines.at, cases[i].lines.len);
        out.len = 0;
    }
}

// ---- what is no event -------------------------------------------------------

static void a_gap_is_told_where_it_can_be(void **state)
{
    (void)state;
    const struct gap gap = { GAP_TRIMMED, { 5, 0 }, { 9, 1 }, 3 };
    for (enum form form = 0; form < FORM_COUNT; form++) {
        out.len = 0;
        form_gap(&writer, form, STREAM, &gap, &out);
        if (!form_tells(form)) {
            assert_int_equal(out.len, 0);
            continue;
        }
        assert_one_message(form);
        assert_true(message_is_gap(&message, form, STREAM, &gap));
    }
}

static void a_notice_is_a_frame_or_a_named_event(void **state)
{
    (void)state;
    form_notice(FORM_ENVELOPE, "live", VIEW("{\"type\":\"live\"}"), &out);
    assert_bytes(VIEW("\x81\x0f{\"type\":\"live\"}"));
    form_notice(FORM_ENVELOPE_DEFLATED, "live", VIEW("{\"type\":\"live\"}"), &out);
    assert_bytes(VIEW("\x81\x0f{\"type\":\"live\"}"));
    form_notice(FORM_SSE, "live", VIEW("{\"type\":\"live\"}"), &out);
    assert_bytes(VIEW("event: live\ndata: {\"type\":\"live\"}\n\n"));
}

// ---- one writer for all -----------------------------------------------------

static void forms_may_take_turns(void **state)
{
    (void)state;
    const struct gap gap = { GAP_RESET, { 5, 0 }, { 0, 0 }, MISSED_UNKNOWN };
    for (size_t len = 1; len < 5000; len = len * 2 + 1)
        for (enum form form = 0; form < FORM_COUNT; form++) {
            repeated(len);
            out.len = 0;
            event(form, buffer_view(&text));
            assert_one_message(form);
            assert_true(message_is_event(&message, form, STREAM, ID, buffer_view(&text)));
            form_gap(&writer, form, STREAM, &gap, &out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_form_has_two_traits, tear_down),
        cmocka_unit_test_teardown(raw_is_a_text_frame_of_the_data, tear_down),
        cmocka_unit_test_teardown(the_payload_is_found_behind_each_kind_of_header, tear_down),
        cmocka_unit_test_teardown(what_gets_shorter_is_deflated, tear_down),
        cmocka_unit_test_teardown(what_does_not_is_sent_plain, tear_down),
        cmocka_unit_test_teardown(no_message_needs_the_one_before, tear_down),
        cmocka_unit_test_teardown(the_envelope_is_a_text_frame_of_json, tear_down),
        cmocka_unit_test_teardown(an_envelope_may_be_deflated, tear_down),
        cmocka_unit_test_teardown(an_event_stream_has_an_id_and_data, tear_down),
        cmocka_unit_test_teardown(each_line_is_a_data_line, tear_down),
        cmocka_unit_test_teardown(a_gap_is_told_where_it_can_be, tear_down),
        cmocka_unit_test_teardown(a_notice_is_a_frame_or_a_named_event, tear_down),
        cmocka_unit_test_teardown(forms_may_take_turns, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
