#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

// Feeds the text in two pieces, and in three, for every place to cut it.
static bool valid_in_pieces(struct view text, size_t cut, size_t second_cut)
{
    struct utf8_state s = { 0 };
    return utf8_feed(&s, (struct view){ text.at, cut }) &&
           utf8_feed(&s, (struct view){ text.at + cut, second_cut - cut }) &&
           utf8_feed(&s, (struct view){ text.at + second_cut, text.len - second_cut }) &&
           utf8_whole(&s);
}

static void assert_judged(struct view text, bool valid)
{
    assert_int_equal(utf8_valid(text), valid);
    for (size_t cut = 0; cut <= text.len; cut++) {
        for (size_t second = cut; second <= text.len; second++)
            assert_int_equal(valid_in_pieces(text, cut, second), valid);
    }
}

#define ASSERT_VALID(text) assert_judged(VIEW(text), true)
#define ASSERT_INVALID(text) assert_judged(VIEW(text), false)

static void ascii_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_valid((struct view){ 0 }));
    ASSERT_VALID("");
    ASSERT_VALID("a");
    ASSERT_VALID("\0\x01\x7f");
    ASSERT_VALID("exactly8");
    ASSERT_VALID("a longer text, so that whole words are looked at");
}

static void first_and_last_of_each_length_are_valid(void **state)
{
    (void)state;
    ASSERT_VALID("\xc2\x80");         // U+0080
    ASSERT_VALID("\xdf\xbf");         // U+07FF
    ASSERT_VALID("\xe0\xa0\x80");     // U+0800
    ASSERT_VALID("\xef\xbf\xbf");     // U+FFFF
    ASSERT_VALID("\xf0\x90\x80\x80"); // U+10000
    ASSERT_VALID("\xf4\x8f\xbf\xbf"); // U+10FFFF
}

static void overlong_forms_are_not(void **state)
{
    (void)state;
    ASSERT_INVALID("\xc0\x80");
    ASSERT_INVALID("\xc0\xaf"); // a slash
    ASSERT_INVALID("\xc1\xbf");
    ASSERT_INVALID("\xe0\x80\x80");
    ASSERT_INVALID("\xe0\x9f\xbf");
    ASSERT_INVALID("\xf0\x80\x80\x80");
    ASSERT_INVALID("\xf0\x8f\xbf\xbf");
}

static void surrogates_are_not_but_their_neighbours_are(void **state)
{
    (void)state;
    ASSERT_VALID("\xed\x9f\xbf");   // U+D7FF
    ASSERT_INVALID("\xed\xa0\x80"); // U+D800
    ASSERT_INVALID("\xed\xbf\xbf"); // U+DFFF
    ASSERT_VALID("\xee\x80\x80");   // U+E000
}

static void nothing_lies_above_10ffff(void **state)
{
    (void)state;
    ASSERT_INVALID("\xf4\x90\x80\x80");
    ASSERT_INVALID("\xf5\x80\x80\x80");
    ASSERT_INVALID("\xf8\x88\x80\x80\x80");
    ASSERT_INVALID("\xfe");
    ASSERT_INVALID("\xff");
}

static void a_character_must_be_whole(void **state)
{
    (void)state;
    ASSERT_INVALID("\x80");
    ASSERT_INVALID("\xbf");
    ASSERT_INVALID("\xc3");
    ASSERT_INVALID("\xe2\x82");
    ASSERT_INVALID("\xf0\x9f\x98");
    ASSERT_INVALID("\xe2\202a");
    ASSERT_INVALID("\xc3\xa9\xa9");
}

static void a_bad_byte_is_found_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        char text[20];
        memset(text, 'x', sizeof(text));
        text[i] = '\xff';
        assert_judged((struct view){ text, sizeof(text) }, false);
    }
}

static void every_code_point_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t c = 0x800; c <= 0xffff; c++) {
        char text[3] = { (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                         (char)(0x80 | (c & 0x3f)) };
        assert_int_equal(utf8_valid((struct view){ text, 3 }), c < 0xd800 || c > 0xdfff);
    }
    for (uint32_t c = 0; c <= 0x1fffff; c++) {
        char text[4] = { (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                         (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)) };
        assert_int_equal(utf8_valid((struct view){ text, 4 }), c >= 0x10000 && c <= 0x10ffff);
    }
}

static void feed_fails_at_the_first_byte_that_cannot_be_right(void **state)
{
    (void)state;
    struct utf8_state s = { 0 };
    assert_true(utf8_feed(&s, VIEW("\xed")));
    assert_false(utf8_whole(&s));
    assert_false(utf8_feed(&s, VIEW("\xa0")));
}

static void assert_prefix(const char *text, size_t max, const char *expected)
{
    struct view got = utf8_prefix(view_of(text), max);
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.at, expected, got.len);
}

static void a_prefix_ends_between_two_characters(void **state)
{
    (void)state;
    assert_prefix("abc", 3, "abc");
    assert_prefix("abc", 2, "ab");
    assert_prefix("abc", 0, "");
    assert_prefix("a\xc3\xa9z", 3, "a\xc3\xa9");
    assert_prefix("a\xc3\xa9z", 2, "a");
    assert_prefix("\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80");
    assert_prefix("\xf0\x9f\x98\x80", 3, "");
    assert_prefix("\xe2\x82\xac\xe2\x82\xac", 5, "\xe2\x82\xac");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ascii_is_valid),
        cmocka_unit_test(first_and_last_of_each_length_are_valid),
        cmocka_unit_test(overlong_forms_are_not),
        cmocka_unit_test(surrogates_are_not_but_their_neighbours_are),
        cmocka_unit_test(nothing_lies_above_10ffff),
        cmocka_unit_test(a_character_must_be_whole),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_stands),
        cmocka_unit_test(every_code_point_is_judged_right),
        cmocka_unit_test(feed_fails_at_the_first_byte_that_cannot_be_right),
        cmocka_unit_test(a_prefix_ends_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
