#include "wire/deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

#include <cmocka.h>

static struct deflater *deflater;
static struct inflater *inflater;
static struct buffer text, packed, plain;

static int set_up(void **state)
{
    (void)state;
    deflater = deflater_new();
    inflater = inflater_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    deflater_free(deflater);
    inflater_free(inflater);
    buffer_free(&text);
    buffer_free(&packed);
    buffer_free(&plain);
    return 0;
}

// ---- how the tests speak ----------------------------------------------------

static uint64_t chance = 1;

static uint8_t some_byte(void)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(chance >> 40);
}

static void ticks(size_t len) // text becomes prices as Bond publishes them
{
    text.len = 0;
    while (text.len < len)
        buffer_printf(&text, "{\"symbol\":\"BTCUSDT\",\"price\":%d.%02d,\"side\":\"buy\"}",
                      90000 + some_byte(), some_byte() % 100);
    text.len = len;
}

static void noise(size_t len)
{
    text.len = 0;
    for (size_t i = 0; i < len; i++)
        buffer_add(&text, &(char){ (char)some_byte() }, 1);
}

// As a client does it: zlib, the four bytes put back, a state without a past.
static void assert_client_reads(struct view expected)
{
    z_stream z = { 0 };
    assert_int_equal(inflateInit2(&z, -15), Z_OK);
    buffer_add(&packed, "\x00\x00\xff\xff", 4);
    plain.len = 0;
    buffer_reserve(&plain, expected.len + 1);
    z.next_in = (Bytef *)packed.at;
    z.avail_in = (uInt)packed.len;
    z.next_out = (Bytef *)plain.at;
    z.avail_out = (uInt)expected.len + 1;
    assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(z.avail_in, 0);
    plain.len = expected.len + 1 - z.avail_out;
    packed.len -= 4;
    inflateEnd(&z);
    assert_int_equal(plain.len, expected.len);
    assert_memory_equal(plain.at, expected.at, expected.len);
}

// As a client sends: packed becomes what zlib makes of text.
static void client_packs(int level, int window_bits, int flush)
{
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -window_bits, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    packed.len = 0;
    buffer_reserve(&packed, text.len + text.len / 100 + 1024);
    z.next_in = (Bytef *)text.at;
    z.avail_in = (uInt)text.len;
    z.next_out = (Bytef *)packed.at;
    z.avail_out = (uInt)packed.cap;
    int result = deflate(&z, flush);
    assert_true(result == (flush == Z_FINISH ? Z_STREAM_END : Z_OK));
    packed.len = packed.cap - z.avail_out;
    deflateEnd(&z);
    if (flush == Z_FINISH) {
        buffer_add(&packed, "", 1); // RFC 7692 s. 7.2.3.4
    } else {
        assert_memory_equal(packed.at + packed.len - 4, "\x00\x00\xff\xff", 4);
        packed.len -= 4;
    }
}

static enum inflate_result unpack(size_t max_bytes)
{
    plain.len = 0;
    return inflater_run(inflater, (struct view){ packed.at ? packed.at : "", packed.len },
                        max_bytes, &plain);
}

static void assert_unpacks(void)
{
    assert_int_equal(unpack(text.len), INFLATE_OK);
    assert_int_equal(plain.len, text.len);
    assert_true(view_eq(buffer_view(&plain), buffer_view(&text)));
}

// ---- what we send -----------------------------------------------------------

static void a_client_reads_what_we_pack(void **state)
{
    (void)state;
    for (size_t len = 80; len <= 400000; len = len * 2 + 7) {
        ticks(len);
        packed.len = 0;
        assert_true(deflater_run(deflater, buffer_view(&text), &packed));
        assert_true(packed.len < text.len);
        assert_client_reads(buffer_view(&text));
        assert_unpacks();
    }
}

static void each_message_stands_alone(void **state)
{
    (void)state;
    struct buffer first = { 0 };
    ticks(5000);
    assert_true(deflater_run(deflater, buffer_view(&text), &first));
    for (int i = 0; i < 3; i++) {
        packed.len = 0;
        assert_true(deflater_run(deflater, buffer_view(&text), &packed));
        assert_true(view_eq(buffer_view(&packed), buffer_view(&first)));
    }
    buffer_free(&first);
}

static void a_packed_message_is_appended(void **state)
{
    (void)state;
    ticks(500);
    buffer_add_view(&packed, VIEW("before"));
    assert_true(deflater_run(deflater, buffer_view(&text), &packed));
    assert_memory_equal(packed.at, "before", 6);
    buffer_drop(&packed, 6);
    assert_client_reads(buffer_view(&text));
}

static void a_message_that_would_not_be_shorter_is_not_packed(void **state)
{
    (void)state;
    buffer_add_view(&packed, VIEW("before"));
    for (size_t len = 1; len < 100000; len = len * 3 + 1) {
        noise(len);
        assert_false(deflater_run(deflater, buffer_view(&text), &packed));
        assert_int_equal(packed.len, 6);
    }
    assert_false(deflater_run(deflater, VIEW(""), &packed));
    assert_false(deflater_run(deflater, VIEW("aaaaaaaaaaaaaaa"), &packed));
    assert_false(deflater_run(deflater, VIEW("{\"p\":1,\"q\":\"xyz\"}"), &packed));
    assert_int_equal(packed.len, 6);
    ticks(500); // and the next one is none the worse
    packed.len = 0;
    assert_true(deflater_run(deflater, buffer_view(&text), &packed));
    assert_client_reads(buffer_view(&text));
}

// Every length around where a gain begins: shorter, or not at all.
static void a_packed_message_is_shorter_or_not_there(void **state)
{
    (void)state;
    for (size_t len = 0; len < 300; len++) {
        ticks(len);
        for (size_t i = 0; i < len; i += 3)
            text.at[i] = (char)some_byte();
        packed.len = 0;
        bool shorter =
            deflater_run(deflater, (struct view){ text.at ? text.at : "", len }, &packed);
        assert_true(shorter ? packed.len < len : packed.len == 0);
        if (shorter)
            assert_client_reads(buffer_view(&text));
    }
}

// ---- what clients send ------------------------------------------------------

static void whatever_a_client_packs_is_read(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 2, 100, 5000, 70000 };
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (int level = 0; level <= 9; level += 3)
            for (int bits = 9; bits <= 15; bits += 3) {
                i % 2 ? ticks(lengths[i]) : noise(lengths[i]);
                client_packs(level, bits, Z_SYNC_FLUSH);
                assert_unpacks();
            }
}

static void a_final_block_is_read_too(void **state)
{
    (void)state;
    ticks(2000);
    client_packs(6, 15, Z_FINISH);
    assert_unpacks();
    // The example of RFC 7692 s. 7.2.3.4.
    packed.len = text.len = 0;
    buffer_add_view(&text, VIEW("Hello"));
    buffer_add_view(&packed, VIEW("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"));
    assert_unpacks();
}

static void the_examples_of_the_rfc_are_read(void **state)
{
    (void)state;
    static const struct view examples[] = {
        { "\xf2\x48\xcd\xc9\xc9\x07\x00", 7 },                          // s. 7.2.3.1
        { "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11 },         // s. 7.2.3.3
        { "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13 }, // s. 7.2.3.5
    };
    buffer_add_view(&text, VIEW("Hello"));
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        packed.len = 0;
        buffer_add_view(&packed, examples[i]);
        assert_unpacks();
    }
}

static void an_empty_message_is_empty(void **state)
{
    (void)state;
    assert_unpacks();                       // of no bytes
    buffer_add_view(&packed, VIEW("\x00")); // s. 7.2.3.6
    assert_unpacks();
}

static void an_unpacked_message_is_bounded(void **state)
{
    (void)state;
    const size_t large = 64 * MIB;
    buffer_reserve(&text, large);
    text.len = large;
    memset(text.at, 'a', large);
    client_packs(9, 15, Z_SYNC_FLUSH);
    assert_true(packed.len < 70000);
    assert_int_equal(unpack(64 * KIB), INFLATE_TOO_BIG);
    assert_true(plain.cap <= 256 * KIB); // no memory but for what is allowed
    assert_int_equal(unpack(0), INFLATE_TOO_BIG);
    assert_int_equal(unpack(large - 1), INFLATE_TOO_BIG);
    assert_int_equal(unpack(large), INFLATE_OK);
    assert_int_equal(plain.len, large);
}

static void the_bound_of_an_unpacked_message_is_exact(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 100, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 50000 };
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        for (int flush = 0; flush < 2; flush++) {
            ticks(lengths[i]);
            client_packs(6, 15, flush ? Z_FINISH : Z_SYNC_FLUSH);
            assert_int_equal(unpack(lengths[i] - 1), INFLATE_TOO_BIG);
            assert_true(plain.len <= lengths[i]);
            assert_unpacks();
        }
}

static void the_bound_counts_only_what_is_appended(void **state)
{
    (void)state;
    ticks(100);
    client_packs(6, 15, Z_SYNC_FLUSH);
    buffer_add_view(&plain, VIEW("before"));
    assert_int_equal(inflater_run(inflater, buffer_view(&packed), 100, &plain), INFLATE_OK);
    assert_int_equal(plain.len, 106);
    assert_memory_equal(plain.at, "before", 6);
}

static void bytes_that_are_no_deflate_data_are_bad(void **state)
{
    (void)state;
    static const struct view bad[] = {
        { "\x07", 1 },                 // a kind of block that there is not
        { "\x00\x05\x00\xfa\xfe", 5 }, // a length that does not fit its complement
        { "\x00\x05\x00\x00\x00Hello", 10 },
        { "\xff\xff\xff\xff\xff\xff", 6 },
        { "\x03\x02\x00\x00", 4 }, // a copy of what is before the beginning
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        packed.len = 0;
        buffer_add_view(&packed, bad[i]);
        assert_int_equal(unpack(1000), INFLATE_BAD);
    }
    ticks(3000);
    client_packs(6, 15, Z_SYNC_FLUSH);
    assert_unpacks(); // and the next message is none the worse
}

static void a_broken_message_never_goes_beyond_the_bound(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) {
        ticks(200 + some_byte());
        client_packs(6, 15, Z_SYNC_FLUSH);
        packed.at[(size_t)some_byte() % packed.len] = (char)some_byte();
        packed.len -= some_byte() % 4;
        enum inflate_result result = unpack(300);
        assert_true(plain.len <= 301);
        assert_true(result != INFLATE_OK || plain.len <= 300);
        assert_true(result != INFLATE_TOO_BIG || plain.len == 301);
    }
}

// ---- offers -----------------------------------------------------------------

static void offers_that_we_can_keep_are_taken(void **state)
{
    (void)state;
    static const char *const offers[] = {
        "permessage-deflate",
        "Permessage-Deflate",
        "permessage-deflate; client_max_window_bits", // browsers, websockets, ws
        "permessage-deflate;client_max_window_bits",
        "permessage-deflate ; client_max_window_bits ",
        "permessage-deflate; client_max_window_bits=15",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; client_max_window_bits=\"10\"",
        "permessage-deflate; client_max_window_bits = 10",
        "permessage-deflate; server_max_window_bits=15",
        "permessage-deflate; server_max_window_bits=\"15\"",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER; Client_Max_Window_Bits=12",
        "permessage-deflate;server_no_context_takeover;server_max_window_bits=15",
    };
    for (size_t i = 0; i < ARRAY_LEN(offers); i++)
        if (!deflate_answer(view_of(offers[i])))
            fail_msg("declined: %s", offers[i]);
}

static void offers_that_we_cannot_keep_are_declined(void **state)
{
    (void)state;
    static const char *const offers[] = {
        "",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
        "permessage-deflatex",
        "permessage-deflate=1",
        "permessage-deflate; server_max_window_bits", // must have a value (RFC 7692 s. 7.1.2.1)
        "permessage-deflate; server_max_window_bits=14",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=015",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=\"",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=-9",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover=",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; no_context_takeover",
        "permessage-deflate; mux",
        "permessage-deflate; ; client_max_window_bits",
        "client_max_window_bits; permessage-deflate",
    };
    for (size_t i = 0; i < ARRAY_LEN(offers); i++)
        if (deflate_answer(view_of(offers[i])))
            fail_msg("taken: %s", offers[i]);
}

// What we answer is itself an offer that we would take.
static void the_answer_is_what_we_do(void **state)
{
    (void)state;
    assert_string_equal(deflate_answer(VIEW(DEFLATE_ANSWER)), DEFLATE_ANSWER);
    assert_string_equal(deflate_answer(VIEW(DEFLATE_ANSWER_WINDOW)), DEFLATE_ANSWER_WINDOW);
    assert_non_null(strstr(DEFLATE_ANSWER, "server_no_context_takeover"));
    assert_non_null(strstr(DEFLATE_ANSWER, "client_no_context_takeover"));
}

// RFC 7692 s. 7.1.2.1; Python's websockets fails the connection without it.
static void the_answer_repeats_a_window_that_was_asked_of_us(void **state)
{
    (void)state;
    static const char *const asked[] = {
        "permessage-deflate; server_max_window_bits=15",
        "permessage-deflate; SERVER_MAX_WINDOW_BITS = \"15\"; client_max_window_bits",
    };
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        assert_string_equal(deflate_answer(view_of(asked[i])), DEFLATE_ANSWER_WINDOW);
    assert_string_equal(deflate_answer(VIEW("permessage-deflate; client_max_window_bits=15")),
                        DEFLATE_ANSWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_client_reads_what_we_pack, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_message_stands_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_packed_message_is_appended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_message_that_would_not_be_shorter_is_not_packed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_packed_message_is_shorter_or_not_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(whatever_a_client_packs_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_final_block_is_read_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_examples_of_the_rfc_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_message_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unpacked_message_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bound_of_an_unpacked_message_is_exact, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_bound_counts_only_what_is_appended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_deflate_data_are_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_message_never_goes_beyond_the_bound, set_up,
                                        tear_down),
        cmocka_unit_test(offers_that_we_can_keep_are_taken),
        cmocka_unit_test(offers_that_we_cannot_keep_are_declined),
        cmocka_unit_test(the_answer_is_what_we_do),
        cmocka_unit_test(the_answer_repeats_a_window_that_was_asked_of_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
