#include "wire/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A test puts a client's frames into `in` and says what a reader makes of them,
// one line per item:
//
//   text 'Hello'               a whole message
//   ping '', pong 'x'          control frames
//   close 1000 'bye'
//   bad 1002 <why>             and nothing behind it
//   open text 'Hel'            what was there of a message that did not end
//
// `deflated` stands before what had RSV1; what is long is given by its length.

// In payloads, \350 stands before letters where \xe8 would swallow them: 03 e8 is
// code 1000.

#define FIN 0x80
#define RSV1 0x40
#define RSV2 0x20
#define RSV3 0x10

static struct buffer in;

static void put(struct view raw)
{
    buffer_add_view(&in, raw);
}

static void put_length(size_t len)
{
    if (len < 126)
        put((struct view){ (char[]){ (char)(0x80 | len) }, 1 });
    else if (len <= UINT16_MAX)
        put((struct view){ (char[]){ (char)0xfe, (char)(len >> 8), (char)len }, 3 });
    else
        put((struct view){
            (char[]){ (char)0xff, 0, 0, 0, 0, 0, (char)(len >> 16), (char)(len >> 8), (char)len },
            9 });
}

// A frame as a client sends it; `first` is FIN, the reserved bits and the opcode.
static void put_frame(int first, struct view payload)
{
    static const char mask[4] = { 0x37, (char)0xfa, 0x21, 0x3d };
    put((struct view){ (char[]){ (char)first }, 1 });
    put_length(payload.len);
    put((struct view){ mask, 4 });
    for (size_t i = 0; i < payload.len; i++)
        put((struct view){ (char[]){ (char)(payload.at[i] ^ mask[i % 4]) }, 1 });
}

static void put_long(int first, size_t len)
{
    char *payload = must_alloc(len);
    memset(payload, 'x', len);
    put_frame(first, (struct view){ payload, len });
    free(payload);
}

static const struct ws_limits plain = { .message_max = 1 << 20 };
static const struct ws_limits from_server = { .message_max = 1 << 20, .from_server = true };
static const struct ws_limits deflating = { .message_max = 1 << 20, .allow_deflate = true };

struct transcript {
    struct ws_reader reader;
    const struct ws_limits *limits;
    struct buffer said;
    struct buffer message; // the open message so far
    bool over;             // after a WS_GOT_BAD
};

static void say_payload(struct buffer *out, struct view v)
{
    if (v.len <= 200)
        buffer_printf(out, "'" VIEW_FMT "'\n", VIEW_ARG(v));
    else
        buffer_printf(out, "%zu bytes\n", v.len);
}

static void say_message(struct transcript *t, uint8_t opcode, bool deflated)
{
    buffer_printf(&t->said, "%s%s ", deflated ? "deflated " : "",
                  opcode == WS_TEXT ? "text" : "binary");
    say_payload(&t->said, buffer_view(&t->message));
    buffer_free(&t->message);
}

static void say_data(struct transcript *t, const struct ws_item *item)
{
    assert_int_equal(item->message_start, t->message.cap == 0);
    buffer_reserve(&t->message, 1); // so that an empty piece shows that it began
    buffer_add(&t->message, item->at, item->len);
    if (item->message_end)
        say_message(t, (uint8_t)item->opcode, item->deflated);
}

static void say_item(struct transcript *t, enum ws_got got, const struct ws_item *item)
{
    switch (got) {
    case WS_GOT_MORE: break;
    case WS_GOT_DATA: say_data(t, item); break;
    case WS_GOT_PING:
    case WS_GOT_PONG:
        buffer_printf(&t->said, got == WS_GOT_PING ? "ping " : "pong ");
        say_payload(&t->said, (struct view){ item->at, item->len });
        break;
    case WS_GOT_CLOSE:
        buffer_printf(&t->said, "close %d ", item->code);
        say_payload(&t->said, (struct view){ item->at, item->len });
        break;
    case WS_GOT_BAD:
        assert_true(strlen(item->why) <= WS_REASON_MAX);
        buffer_printf(&t->said, "bad %d %s\n", item->code, item->why);
        t->over = true;
        break;
    }
}

// Reads a piece from an allocation of its own. A reader that is idle between two
// pieces is forgotten, as a quiet client's is.
static void read_piece(struct transcript *t, struct view piece)
{
    char *at = must_alloc(piece.len ? piece.len : 1);
    memcpy(at, piece.at, piece.len);
    if (ws_reader_idle(&t->reader))
        t->reader = (struct ws_reader){ 0 };
    for (size_t done = 0, used; !t->over; done += used) {
        struct ws_item item;
        enum ws_got got = ws_read(&t->reader, t->limits, at + done, piece.len - done, &used, &item);
        say_item(t, got, &item);
        assert_true(used <= piece.len - done);
        if (got == WS_GOT_MORE) {
            assert_int_equal(done + used, piece.len);
            break;
        }
    }
    free(at);
}

static void assert_transcript(struct transcript *t, const char *expected)
{
    if (!t->over && t->reader.message_opcode) {
        buffer_printf(&t->said, "open ");
        say_message(t, t->reader.message_opcode, t->reader.message_deflated);
    }
    buffer_add(&t->said, "", 1); // its NUL
    assert_string_equal(t->said.at, expected);
    buffer_free(&t->said);
    buffer_free(&t->message);
}

static void assert_read_cut(const struct ws_limits *limits, size_t cut, const char *expected)
{
    struct transcript t = { .limits = limits };
    read_piece(&t, (struct view){ in.at, cut });
    read_piece(&t, (struct view){ in.at + cut, in.len - cut });
    assert_transcript(&t, expected);
}

static void assert_read_bytewise(const struct ws_limits *limits, const char *expected)
{
    struct transcript t = { .limits = limits };
    for (size_t i = 0; i < in.len; i++)
        read_piece(&t, (struct view){ in.at + i, 1 });
    assert_transcript(&t, expected);
}

// Whole, cut in two at every byte (of long frames, near both ends), byte by byte.
static void assert_read_with(const struct ws_limits *limits, const char *expected)
{
    for (size_t cut = 0; cut <= in.len; cut++) {
        if (cut < 200 || in.len - cut < 200)
            assert_read_cut(limits, cut, expected);
    }
    assert_read_bytewise(limits, expected);
    buffer_free(&in);
}

static void assert_read(const char *expected)
{
    assert_read_with(&plain, expected);
}

// ---- the handshake ----------------------------------------------------------

static void keys_are_accepted(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_LEN];
    assert_true(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25jZQ=="), accept)); // RFC 6455 s. 1.3
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN);
}

static void keys_that_are_not_16_bytes_are_refused(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_LEN];
    assert_false(ws_accept_key(VIEW(""), accept));
    assert_false(ws_accept_key((struct view){ 0 }, accept));
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25jZQ"), accept));       // no padding
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25j"), accept));         // 15 bytes
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25jZTE="), accept));     // 17 bytes
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25jZTEy"), accept));     // 18 bytes
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBub25jZQ==AAAA"), accept)); // goes on
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBu_25jZQ=="), accept));     // base64url
    assert_false(ws_accept_key(VIEW("dGhlIHNhbXBsZSBu 25jZQ=="), accept));
}

// ---- frames out -------------------------------------------------------------

static void assert_header(enum ws_opcode opcode, bool deflated, uint64_t len, struct view expected)
{
    uint8_t out[WS_HEADER_MAX];
    assert_int_equal(ws_header(out, opcode, deflated, len), expected.len);
    assert_memory_equal(out, expected.at, expected.len);
}

static void offers_of_extensions_have_a_grammar(void **state) // RFC 6455 s. 9.1
{
    (void)state;
    static const char *const good[] = {
        "a",
        "permessage-deflate; client_max_window_bits",
        "a;b",
        "a; b=c; d",
        "a; b=1",
        "a; b=\"1\"",
        " a ; b\t",
        "a; b = c",
        "a;b= \"c\" ",
        "a; b=\"\\1\\5\"",
        "!#$%&'*+-.^_`|~",
    };
    static const char *const bad[] = {
        "",
        " ",
        ";",
        "a;",
        "a; ",
        "a;;b",
        ";a",
        "a b",
        "a; b c",
        "a=b",
        "a; =b",
        "a; b=",
        "a; b=;",
        "a; b==c",
        "a; b=\"",
        "a; b=\"\"",
        "a; b=\"c",
        "a; b=\"c d\"",
        "a; b=c\"",
        "\"a\"",
        "a; \"b\"",
        "a/b",
        "a; b=(c)",
        "a; b=\"c;d\"",
        "a; b=\"c\"d",
        "a; b=\"c\\\"",
        "a; b=\"c \"",
        "a; b=\\c",
        "caf\xc3\xa9",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!ws_offer_valid(view_of(good[i])))
            fail_msg("an offer: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (ws_offer_valid(view_of(bad[i])))
            fail_msg("no offer: %s", bad[i]);
}

static void headers_take_the_shortest_length(void **state)
{
    (void)state;
    assert_header(WS_TEXT, false, 0, VIEW("\x81\x00"));
    assert_header(WS_TEXT, false, 5, VIEW("\x81\x05"));
    assert_header(WS_TEXT, false, 125, VIEW("\x81\x7d"));
    assert_header(WS_TEXT, false, 126, VIEW("\x81\x7e\x00\x7e"));
    assert_header(WS_BINARY, false, 256, VIEW("\x82\x7e\x01\x00"));
    assert_header(WS_TEXT, true, 65535, VIEW("\xc1\x7e\xff\xff"));
    assert_header(WS_BINARY, false, 65536, VIEW("\x82\x7f\0\0\0\0\0\x01\0\0"));
    assert_header(WS_TEXT, false, INT64_MAX, VIEW("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"));
}

static void control_frames_are_whole(void **state)
{
    (void)state;
    uint8_t out[2 + WS_CONTROL_MAX];
    assert_int_equal(ws_control(out, WS_PING, VIEW("Hello")), 7);
    assert_memory_equal(out, "\x89\x05Hello", 7); // RFC 6455 s. 5.7
    assert_int_equal(ws_control(out, WS_PONG, (struct view){ 0 }), 2);
    assert_memory_equal(out, "\x8a\x00", 2);

    char longest[WS_CONTROL_MAX];
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(ws_control(out, WS_PING, (struct view){ longest, sizeof(longest) }), 127);
    assert_memory_equal(out, "\x89\x7dx", 3);
}

static void a_close_has_a_code_and_a_reason_or_neither(void **state)
{
    (void)state;
    uint8_t out[2 + WS_CONTROL_MAX];
    assert_int_equal(ws_close(out, WS_CLOSE_NORMAL, VIEW("bye")), 7);
    assert_memory_equal(out, "\x88\x05\x03\350bye", 7);
    assert_int_equal(ws_close(out, WS_CLOSE_BEHIND, (struct view){ 0 }), 4);
    assert_memory_equal(out, "\x88\x02\x0f\xa8", 4);
    assert_int_equal(ws_close(out, WS_CLOSE_NONE, VIEW("unheard")), 2);
    assert_memory_equal(out, "\x88\x00", 2);
}

static void a_long_reason_is_cut_between_characters(void **state)
{
    (void)state;
    uint8_t out[2 + WS_CONTROL_MAX];
    char reason[200];
    memset(reason, 'x', sizeof(reason));
    assert_int_equal(ws_close(out, 1000, (struct view){ reason, WS_REASON_MAX }), 127);
    assert_int_equal(ws_close(out, 1000, (struct view){ reason, sizeof(reason) }), 127);
    assert_int_equal(out[1], 125);
    memcpy(reason + 121, "\xe2\x82\xac", 3); // a euro sign whose last byte would be the 124th
    assert_int_equal(ws_close(out, 1000, (struct view){ reason, sizeof(reason) }), 4 + 121);
    assert_int_equal(out[1], 2 + 121);
}

// ---- messages ---------------------------------------------------------------

static void the_examples_of_the_rfc_are_read(void **state) // s. 5.7
{
    (void)state;
    put(VIEW("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"));
    put(VIEW("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"));
    assert_read("text 'Hello'\n"
                "pong 'Hello'\n");
}

static void messages_of_every_length_are_read(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW(""));
    put_frame(FIN | WS_BINARY, VIEW("a"));
    assert_read("text ''\n"
                "binary 'a'\n");
    put_long(FIN | WS_TEXT, 125);
    put_frame(FIN | WS_PING, VIEW(""));
    assert_read("text 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\n"
                "ping ''\n");
    put_long(FIN | WS_BINARY, 126);
    put_long(FIN | WS_BINARY, 201);
    assert_read("binary 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\n"
                "binary 201 bytes\n");
    put_long(FIN | WS_TEXT, 65535);
    assert_read("text 65535 bytes\n");
    put_long(FIN | WS_TEXT, 65536);
    put_frame(FIN | WS_PONG, VIEW("x"));
    assert_read("text 65536 bytes\n"
                "pong 'x'\n");
}

static void fragments_make_one_message(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("Hel"));
    put_frame(FIN | WS_CONT, VIEW("lo"));
    put_frame(WS_BINARY, VIEW(""));
    put_frame(WS_CONT, VIEW("ab"));
    put_frame(WS_CONT, VIEW(""));
    put_frame(WS_CONT, VIEW("c"));
    put_frame(FIN | WS_CONT, VIEW(""));
    assert_read("text 'Hello'\n"
                "binary 'abc'\n");
}

static void control_frames_may_stand_between_fragments(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("He"));
    put_frame(FIN | WS_PING, VIEW("are you there?"));
    put_frame(WS_CONT, VIEW("l"));
    put_frame(FIN | WS_PONG, VIEW(""));
    put_frame(FIN | WS_PONG, VIEW("\xff\xfe"));
    put_frame(FIN | WS_CONT, VIEW("lo"));
    assert_read("ping 'are you there?'\n"
                "pong ''\n"
                "pong '\xff\xfe'\n"
                "text 'Hello'\n");
}

static void a_close_may_stand_inside_a_message(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("Hel"));
    put_frame(FIN | WS_CLOSE, VIEW("\x03\350bye"));
    assert_read("close 1000 'bye'\n"
                "open text 'Hel'\n");
}

static void control_frames_hold_125_bytes(void **state)
{
    (void)state;
    put_long(FIN | WS_PING, 125);
    assert_read("ping 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\n");
    put(VIEW("\x89\xfe"));
    assert_read("bad 1002 A control frame is over 125 bytes.\n");
    put(VIEW("\x8a\xff"));
    assert_read("bad 1002 A control frame is over 125 bytes.\n");
    put(VIEW("\x88\xfe"));
    assert_read("bad 1002 A control frame is over 125 bytes.\n");
}

static void pieces_come_before_their_frame_is_whole(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW("Hello, world"));
    in.len -= 5;
    assert_read("open text 'Hello, '\n");
}

// ---- text -------------------------------------------------------------------

static void characters_may_be_split_across_frames(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("\xf0"));
    put_frame(WS_CONT, VIEW("\x9f\x98"));
    put_frame(FIN | WS_PING, VIEW("\xff")); // not text, and none of its bytes
    put_frame(FIN | WS_CONT, VIEW("\x80"));
    assert_read("ping '\xff'\n"
                "text '\xf0\x9f\x98\x80'\n");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = { "\xff",     "abc\x80", "\xc0\xaf",         "\xed\xa0\x80",
                                "\xe2\x82", "ok \xc3", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_frame(FIN | WS_TEXT, view_of(bad[i]));
        assert_read("bad 1007 A text message is not UTF-8.\n");
    }
}

static void half_a_character_may_not_end_a_message(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("\xe2\x82"));
    put_frame(FIN | WS_CONT, VIEW(""));
    assert_read("bad 1007 A text message is not UTF-8.\n");
}

static void a_bad_byte_is_refused_before_its_frame_is_whole(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW("a\xff and much behind it"));
    in.len -= strlen(" and much behind it");
    assert_read("bad 1007 A text message is not UTF-8.\n");
}

static void nothing_of_one_message_is_left_in_the_next(void **state)
{
    (void)state;
    put_frame(FIN | WS_BINARY, VIEW("\xe2\x82"));
    put_frame(FIN | WS_TEXT, VIEW("a"));
    assert_read("binary '\xe2\x82'\n"
                "text 'a'\n");
}

// ---- compression ------------------------------------------------------------

static void compressed_messages_are_marked_and_not_looked_into(void **state)
{
    (void)state;
    put_frame(FIN | RSV1 | WS_TEXT, VIEW("\xff\xfe"));
    put_frame(RSV1 | WS_TEXT, VIEW("\xe2"));
    put_frame(FIN | WS_CONT, VIEW("\xff"));
    put_frame(FIN | WS_TEXT, VIEW("plain"));
    put_frame(FIN | RSV1 | WS_BINARY, VIEW(""));
    assert_read_with(&deflating, "deflated text '\xff\xfe'\n"
                                 "deflated text '\xe2\xff'\n"
                                 "text 'plain'\n"
                                 "deflated binary ''\n");
}

static void text_that_is_not_compressed_is_checked_all_the_same(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW("\xff"));
    assert_read_with(&deflating, "bad 1007 A text message is not UTF-8.\n");
}

static void compression_must_have_been_agreed_on(void **state)
{
    (void)state;
    put_frame(FIN | RSV1 | WS_TEXT, VIEW("x"));
    assert_read("bad 1002 Compression was not agreed on.\n");
    put_frame(FIN | RSV1 | WS_BINARY, VIEW("x"));
    assert_read("bad 1002 Compression was not agreed on.\n");
}

static void only_a_first_frame_says_that_it_is_compressed(void **state)
{
    (void)state;
    put_frame(RSV1 | WS_TEXT, VIEW("x"));
    put_frame(FIN | RSV1 | WS_CONT, VIEW("x"));
    assert_read_with(&deflating,
                     "bad 1002 Only the first frame of a message says that it is compressed.\n");
    put_frame(FIN | RSV1 | WS_PING, VIEW("x"));
    assert_read_with(&deflating, "bad 1002 A control frame cannot be compressed.\n");
}

// ---- refused with 1002 ------------------------------------------------------

static void frames_must_be_masked(void **state)
{
    (void)state;
    put(VIEW("\x81\x05Hello"));
    assert_read("bad 1002 A frame from a client is not masked.\n");
    put(VIEW("\x89\x00"));
    assert_read("bad 1002 A frame from a client is not masked.\n");
}

static void reserved_bits_are_refused(void **state)
{
    (void)state;
    put_frame(FIN | RSV2 | WS_TEXT, VIEW("x"));
    assert_read_with(&deflating, "bad 1002 Reserved bits are set.\n");
    put_frame(FIN | RSV3 | WS_PING, VIEW("x"));
    assert_read_with(&deflating, "bad 1002 Reserved bits are set.\n");
}

static void reserved_opcodes_are_refused(void **state)
{
    (void)state;
    const int reserved[] = { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 };
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        put_frame(FIN | reserved[i], VIEW(""));
        assert_read("bad 1002 The opcode is reserved.\n");
    }
}

static void control_frames_cannot_be_fragmented(void **state)
{
    (void)state;
    const int controls[] = { WS_CLOSE, WS_PING, WS_PONG };
    for (size_t i = 0; i < ARRAY_LEN(controls); i++) {
        put_frame(controls[i], VIEW("\x03\xe8"));
        assert_read("bad 1002 A control frame cannot be fragmented.\n");
    }
}

static void a_continuation_needs_a_message(void **state)
{
    (void)state;
    put_frame(FIN | WS_CONT, VIEW("x"));
    assert_read("bad 1002 A continuation belongs to no message.\n");
    put_frame(FIN | WS_TEXT, VIEW("x"));
    put_frame(WS_CONT, VIEW("x"));
    assert_read("text 'x'\n"
                "bad 1002 A continuation belongs to no message.\n");
}

static void messages_cannot_be_nested(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("x"));
    put_frame(FIN | WS_TEXT, VIEW("y"));
    assert_read("bad 1002 A new message starts inside another one.\n");
    put_frame(WS_TEXT, VIEW(""));
    put_frame(FIN | WS_BINARY, VIEW("y"));
    assert_read("bad 1002 A new message starts inside another one.\n");
}

static void lengths_must_be_in_their_shortest_form(void **state)
{
    (void)state;
    const char *shortest = "bad 1002 A length is not in its shortest form.\n";
    put(VIEW("\x82\xfe\x00\x00"));
    assert_read(shortest);
    put(VIEW("\x82\xfe\x00\x7d"));
    assert_read(shortest);
    put(VIEW("\x82\xff\0\0\0\0\0\0\0\x05"));
    assert_read(shortest);
    put(VIEW("\x82\xff\0\0\0\0\0\0\xff\xff"));
    assert_read(shortest);
    put(VIEW("\x82\xff\x80\0\0\0\0\x01\0\0"));
    assert_read("bad 1002 A length has its highest bit set.\n");
}

// ---- too big ----------------------------------------------------------------

static const struct ws_limits ten = { .message_max = 10 };

static void a_message_has_a_limit(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW("0123456789"));
    put_frame(FIN | WS_TEXT, VIEW("0123456789"));
    assert_read_with(&ten, "text '0123456789'\n"
                           "text '0123456789'\n");
    put(VIEW("\x81\x8b")); // the header is enough
    assert_read_with(&ten, "bad 1009 A message is too big.\n");
    put(VIEW("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"));
    assert_read_with(&ten, "bad 1009 A message is too big.\n");
}

static void fragments_are_counted_together(void **state)
{
    (void)state;
    put_frame(WS_TEXT, VIEW("01234"));
    put_frame(WS_CONT, VIEW("5678"));
    put_frame(FIN | WS_PING, VIEW("a control frame is not counted"));
    put_frame(FIN | WS_CONT, VIEW("9"));
    assert_read_with(&ten, "ping 'a control frame is not counted'\n"
                           "text '0123456789'\n");
    put_frame(WS_TEXT, VIEW("01234"));
    put_frame(WS_CONT, VIEW("5678"));
    put(VIEW("\x80\x82"));
    assert_read_with(&ten, "bad 1009 A message is too big.\n");
    put_frame(WS_TEXT, VIEW("0"));
    put(VIEW("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff"));
    assert_read_with(&ten, "bad 1009 A message is too big.\n");
}

// ---- closing ----------------------------------------------------------------

static void put_close(int code)
{
    char payload[] = { (char)(code >> 8), (char)code };
    put_frame(FIN | WS_CLOSE, (struct view){ payload, 2 });
}

static void closes_are_read(void **state)
{
    (void)state;
    put_frame(FIN | WS_CLOSE, VIEW(""));
    assert_read("close 1005 ''\n");
    put_close(1001);
    assert_read("close 1001 ''\n");
    put_frame(FIN | WS_CLOSE, VIEW("\x0f\241caf\xc3\xa9"));
    assert_read("close 4001 'caf\xc3\xa9'\n");
}

static void half_a_code_is_refused(void **state)
{
    (void)state;
    put_frame(FIN | WS_CLOSE, VIEW("\x03"));
    assert_read("bad 1002 A close has half a code.\n");
}

static void codes_that_may_be_sent_are_taken(void **state)
{
    (void)state;
    const int good[] = { 1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999 };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "close %d ''\n", good[i]);
        put_close(good[i]);
        assert_read(expected);
    }
}

static void codes_that_may_not_be_sent_are_refused(void **state)
{
    (void)state;
    const int bad[] = { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put_close(bad[i]);
        assert_read("bad 1002 A close has a code that may not be sent.\n");
    }
}

static void a_reason_must_be_utf8(void **state)
{
    (void)state;
    put_frame(FIN | WS_CLOSE, VIEW("\x03\350bye \xff"));
    assert_read("bad 1007 The reason of a close is not UTF-8.\n");
    put_frame(FIN | WS_CLOSE, VIEW("\x03\350bye \xe2\x82"));
    assert_read("bad 1007 The reason of a close is not UTF-8.\n");
}

// ---- the reader between two calls -------------------------------------------

static bool idle_after(size_t len)
{
    struct transcript t = { .limits = &plain };
    read_piece(&t, (struct view){ in.at, len });
    bool idle = ws_reader_idle(&t.reader);
    buffer_free(&t.said);
    buffer_free(&t.message);
    return idle;
}

static void a_reader_is_idle_between_messages_only(void **state)
{
    (void)state;
    put_frame(FIN | WS_PONG, VIEW("abc"));
    size_t pong = in.len;
    put_frame(WS_TEXT, VIEW("a"));
    put_frame(FIN | WS_PING, VIEW(""));
    put_frame(FIN | WS_CONT, VIEW("b"));
    for (size_t len = 0; len <= in.len; len++)
        assert_int_equal(idle_after(len), len == 0 || len == pong || len == in.len);
    buffer_free(&in);
}

// ---- the client's end -------------------------------------------------------

// A frame as a server sends it, from the code that does.
static void put_server_frame(enum ws_opcode opcode, struct view payload)
{
    uint8_t header[WS_HEADER_MAX];
    put((struct view){ (char *)header, ws_header(header, opcode, false, payload.len) });
    put(payload);
}

static void a_client_reads_what_a_server_sends(void **state)
{
    (void)state;
    put_server_frame(WS_TEXT, VIEW("{\"type\":\"hello\"}"));
    put_server_frame(WS_PING, VIEW("1"));
    put_server_frame(WS_TEXT, VIEW(""));
    put_server_frame(WS_CLOSE, VIEW("\3\351going"));
    assert_read_with(&from_server,
                     "text '{\"type\":\"hello\"}'\nping '1'\ntext ''\nclose 1001 'going'\n");
}

static void a_client_reads_long_frames(void **state)
{
    (void)state;
    for (size_t len = 125; len < 70000; len += len < 130 ? 1 : 69000) {
        char *payload = must_alloc(len);
        memset(payload, 'x', len);
        put_server_frame(WS_TEXT, (struct view){ payload, len });
        free(payload);
        char expected[300];
        if (len <= 200)
            snprintf(expected, sizeof(expected), "text '%.*s'\n", (int)len, in.at + in.len - len);
        else
            snprintf(expected, sizeof(expected), "text %zu bytes\n", len);
        assert_read_with(&from_server, expected);
    }
}

static void a_server_must_not_mask(void **state)
{
    (void)state;
    put_frame(FIN | WS_TEXT, VIEW("Hello"));
    assert_read_with(&from_server, "bad 1002 A frame from a server is masked.\n");
}

// What a client writes, a server reads.
static void a_clients_frames_are_masked(void **state)
{
    (void)state;
    static const uint8_t mask[WS_MASK_LEN] = { 0x37, 0xfa, 0x21, 0x3d };
    ws_add_masked(&in, WS_TEXT, VIEW("Hello"), mask); // RFC 6455 s. 5.7
    assert_int_equal(in.len, 11);
    assert_memory_equal(in.at, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    char longer[300];
    memset(longer, 'y', sizeof(longer));
    ws_add_masked(&in, WS_TEXT, (struct view){ longer, sizeof(longer) }, mask);
    ws_add_masked(&in, WS_PONG, VIEW("x"), mask);
    ws_add_masked(&in, WS_CLOSE, VIEW("\3\350bye"), mask);
    assert_read("text 'Hello'\ntext 300 bytes\npong 'x'\nclose 1000 'bye'\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_reads_what_a_server_sends),
        cmocka_unit_test(a_client_reads_long_frames),
        cmocka_unit_test(a_server_must_not_mask),
        cmocka_unit_test(a_clients_frames_are_masked),
        cmocka_unit_test(keys_are_accepted),
        cmocka_unit_test(keys_that_are_not_16_bytes_are_refused),
        cmocka_unit_test(offers_of_extensions_have_a_grammar),
        cmocka_unit_test(headers_take_the_shortest_length),
        cmocka_unit_test(control_frames_are_whole),
        cmocka_unit_test(a_close_has_a_code_and_a_reason_or_neither),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test(the_examples_of_the_rfc_are_read),
        cmocka_unit_test(messages_of_every_length_are_read),
        cmocka_unit_test(fragments_make_one_message),
        cmocka_unit_test(control_frames_may_stand_between_fragments),
        cmocka_unit_test(a_close_may_stand_inside_a_message),
        cmocka_unit_test(control_frames_hold_125_bytes),
        cmocka_unit_test(pieces_come_before_their_frame_is_whole),
        cmocka_unit_test(characters_may_be_split_across_frames),
        cmocka_unit_test(text_that_is_not_utf8_is_refused),
        cmocka_unit_test(half_a_character_may_not_end_a_message),
        cmocka_unit_test(a_bad_byte_is_refused_before_its_frame_is_whole),
        cmocka_unit_test(nothing_of_one_message_is_left_in_the_next),
        cmocka_unit_test(compressed_messages_are_marked_and_not_looked_into),
        cmocka_unit_test(text_that_is_not_compressed_is_checked_all_the_same),
        cmocka_unit_test(compression_must_have_been_agreed_on),
        cmocka_unit_test(only_a_first_frame_says_that_it_is_compressed),
        cmocka_unit_test(frames_must_be_masked),
        cmocka_unit_test(reserved_bits_are_refused),
        cmocka_unit_test(reserved_opcodes_are_refused),
        cmocka_unit_test(control_frames_cannot_be_fragmented),
        cmocka_unit_test(a_continuation_needs_a_message),
        cmocka_unit_test(messages_cannot_be_nested),
        cmocka_unit_test(lengths_must_be_in_their_shortest_form),
        cmocka_unit_test(a_message_has_a_limit),
        cmocka_unit_test(fragments_are_counted_together),
        cmocka_unit_test(closes_are_read),
        cmocka_unit_test(half_a_code_is_refused),
        cmocka_unit_test(codes_that_may_be_sent_are_taken),
        cmocka_unit_test(codes_that_may_not_be_sent_are_refused),
        cmocka_unit_test(a_reason_must_be_utf8),
        cmocka_unit_test(a_reader_is_idle_between_messages_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
