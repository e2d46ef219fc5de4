#include "base/say.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TS_LEN (sizeof("2026-11-23T14:30:00.123Z") - 1)

// ---- standard error, caught -------------------------------------------------

static int pipe_fds[2], real_stderr;

static void catch_stderr(void)
{
    assert_int_equal(pipe(pipe_fds), 0);
    real_stderr = dup(STDERR_FILENO);
    assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
}

// All that was written since, with a NUL; the caller frees it.
static char *release_stderr(void)
{
    char *text = must_alloc(65536);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], text, 65535);
    assert_true(n >= 0);
    close(pipe_fds[0]);
    text[n] = '\0';
    return text;
}

// The line must be `before`, a time, then `after` and a line end.
static void assert_line(const char *before, const char *after)
{
    char *line = release_stderr();
    size_t head = strlen(before), len = strlen(line);
    assert_true(len > head + TS_LEN);
    assert_memory_equal(line, before, head);
    assert_int_equal(line[head + 10], 'T');
    assert_int_equal(line[head + TS_LEN - 1], 'Z');
    assert_int_equal(line[len - 1], '\n');
    line[len - 1] = '\0';
    assert_string_equal(line + head + TS_LEN, after);
    free(line);
}

static void assert_logfmt(struct view text, const char *expected)
{
    char after[4096];
    snprintf(after, sizeof(after), " level=info event=test text=%s", expected);
    say_setup(SAY_INFO, SAY_LOGFMT);
    catch_stderr();
    say(SAY_INFO, "test", SAY_V("text", text));
    assert_line("ts=", after);
}

static void assert_json(struct view text, const char *expected)
{
    char after[4096];
    snprintf(after, sizeof(after), "\",\"level\":\"info\",\"event\":\"test\",\"text\":%s}",
             expected);
    say_setup(SAY_INFO, SAY_JSON);
    catch_stderr();
    say(SAY_INFO, "test", SAY_V("text", text));
    assert_line("{\"ts\":\"", after);
}

// ---- lines ------------------------------------------------------------------

static void a_line_is_an_event_and_its_values(void **state)
{
    (void)state;
    say_setup(SAY_INFO, SAY_LOGFMT);
    catch_stderr();
    say(SAY_INFO, "listening", SAY_S("host", "0.0.0.0"), SAY_I("port", 8080));
    assert_line("ts=", " level=info event=listening host=0.0.0.0 port=8080");

    say_setup(SAY_INFO, SAY_JSON);
    catch_stderr();
    say(SAY_INFO, "listening", SAY_S("host", "0.0.0.0"), SAY_I("port", 8080));
    assert_line("{\"ts\":\"", "\",\"level\":\"info\",\"event\":\"listening\","
                              "\"host\":\"0.0.0.0\",\"port\":8080}");
}

static void an_event_needs_no_values(void **state)
{
    (void)state;
    say_setup(SAY_INFO, SAY_LOGFMT);
    catch_stderr();
    say(SAY_ERROR, "stopped");
    assert_line("ts=", " level=error event=stopped");
}

static void integers_reach_their_ends(void **state)
{
    (void)state;
    say_setup(SAY_INFO, SAY_LOGFMT);
    catch_stderr();
    say(SAY_WARN, "ends", SAY_I("least", INT64_MIN), SAY_I("most", INT64_MAX));
    assert_line("ts=", " level=warn event=ends least=-9223372036854775808"
                       " most=9223372036854775807");
}

static void levels_below_the_least_are_silent(void **state)
{
    (void)state;
    say_setup(SAY_WARN, SAY_LOGFMT);
    assert_false(say_enabled(SAY_DEBUG));
    assert_false(say_enabled(SAY_INFO));
    assert_true(say_enabled(SAY_WARN));
    assert_true(say_enabled(SAY_ERROR));

    catch_stderr();
    say(SAY_INFO, "quiet");
    char *text = release_stderr();
    assert_string_equal(text, "");
    free(text);
}

// ---- any bytes stay one line ------------------------------------------------

static void plain_words_stand_bare_in_logfmt(void **state)
{
    (void)state;
    assert_logfmt(VIEW("redis://host:6379/0"), "redis://host:6379/0");
    assert_logfmt(VIEW("1760000000000-0"), "1760000000000-0");
    assert_json(VIEW("1760000000000-0"), "\"1760000000000-0\"");
}

static void the_rest_is_quoted(void **state)
{
    (void)state;
    assert_logfmt(VIEW(""), "\"\"");
    assert_logfmt(VIEW("two words"), "\"two words\"");
    assert_logfmt(VIEW("a=b"), "\"a=b\"");
    assert_logfmt(VIEW("say \"hi\" \\o/"), "\"say \\\"hi\\\" \\\\o/\"");
    assert_logfmt(VIEW("ünïcode-流"), "\"ünïcode-流\"");
    assert_json(VIEW("say \"hi\" \\o/"), "\"say \\\"hi\\\" \\\\o/\"");
    assert_json(VIEW("ünïcode-流"), "\"ünïcode-流\"");
    assert_json(VIEW(""), "\"\"");
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    assert_logfmt(VIEW("a\nb\tc\rd"), "\"a\\nb\\tc\\x0dd\"");
    assert_logfmt(VIEW("\x1b[31m\x7f"), "\"\\x1b[31m\\x7f\"");
    assert_logfmt(VIEW("nul\0nul"), "\"nul\\x00nul\"");
    assert_json(VIEW("a\nb\tc\rd"), "\"a\\nb\\tc\\u000dd\"");
    assert_json(VIEW("nul\0nul\x1b\x7f"), "\"nul\\u0000nul\\u001b\\u007f\"");
}

// U+009B begins terminal commands, U+2028 and U+2029 end lines.
static void so_are_those_of_unicode(void **state)
{
    (void)state;
    assert_logfmt(VIEW("\xc2\x9b"
                       "2J"),
                  "\"\\xc2\\x9b2J\"");
    assert_logfmt(VIEW("a\u2028b\u2029c"), "\"a\\xe2\\x80\\xa8b\\xe2\\x80\\xa9c\"");
    assert_json(VIEW("\xc2\x9b"
                     "2J"),
                "\"\\u009b2J\"");
    assert_json(VIEW("a\u2028b\u2029c"), "\"a\\u2028b\\u2029c\"");
    assert_json(VIEW("a\u2030b"), "\"a\u2030b\"");
}

static void bytes_that_are_no_utf8_are_escaped(void **state)
{
    (void)state;
    assert_logfmt(VIEW("a\xff"
                       "b"),
                  "\"a\\xffb\"");
    assert_logfmt(VIEW("cut \xe6\xb5"), "\"cut \\xe6\\xb5\"");
    assert_logfmt(VIEW("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\""); // half a surrogate pair
    assert_json(VIEW("a\xff"
                     "b"),
                "\"a\\ufffdb\"");
    assert_json(VIEW("\xc0\x8a"), "\"\\ufffd\\ufffd\""); // a line end in disguise
}

static void every_byte_stays_on_the_line(void **state)
{
    (void)state;
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    for (int format = SAY_LOGFMT; format <= SAY_JSON; format++) {
        say_setup(SAY_INFO, (enum say_format)format);
        catch_stderr();
        say(SAY_INFO, "test", SAY_V("bytes", ((struct view){ bytes, sizeof(bytes) })));
        char *line = release_stderr();
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_null(strchr(line, '\r'));
        free(line);
    }
}

static void a_long_text_is_cut_between_two_characters(void **state)
{
    (void)state;
    char text[2000], expected[2000];
    memset(text, 'x', sizeof(text));
    snprintf(expected, sizeof(expected), "%.1021s...", text);
    assert_logfmt((struct view){ text, sizeof(text) }, expected);

    memcpy(text + 1019, "流", 3); // the 1021st byte is its last
    snprintf(expected, sizeof(expected), "%.1019s...", text);
    assert_logfmt((struct view){ text, sizeof(text) }, expected);
}

// ---- what may come by the thousand ------------------------------------------

static void a_limit_lets_one_through_and_counts_the_rest(void **state)
{
    (void)state;
    struct say_limit limit = { 0 };
    uint64_t missed = 99;

    assert_true(say_limited(&limit, 5000, 1000, &missed));
    assert_int_equal(missed, 0);
    assert_false(say_limited(&limit, 5000, 1000, &missed));
    assert_false(say_limited(&limit, 5999, 1000, &missed));
    assert_true(say_limited(&limit, 6000, 1000, &missed));
    assert_int_equal(missed, 2);
    assert_true(say_limited(&limit, 9000, 1000, &missed));
    assert_int_equal(missed, 0);
}

static void a_count_of_nothing_is_left_out(void **state)
{
    (void)state;
    say_setup(SAY_INFO, SAY_LOGFMT);
    catch_stderr();
    say(SAY_INFO, "a", SAY_NOT_SAID(0), SAY_I("zero", 0), SAY_NOT_SAID(3));
    assert_line("ts=", " level=info event=a zero=0 not_said=3");
    say_setup(SAY_INFO, SAY_JSON);
    catch_stderr();
    say(SAY_INFO, "a", SAY_NOT_SAID(0));
    assert_line("{\"ts\":\"", "\",\"level\":\"info\",\"event\":\"a\"}");
}

// ---- systemd's journal ------------------------------------------------------

// Standard error is caught, and is what JOURNAL_STREAM names, or another one.
static void catch_journal(enum say_format format, int inode_off)
{
    struct stat s;
    char stream[64];
    catch_stderr();
    assert_int_equal(fstat(STDERR_FILENO, &s), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)s.st_dev,
             (uintmax_t)s.st_ino + (uintmax_t)inode_off);
    setenv("JOURNAL_STREAM", stream, 1);
    say_setup(SAY_DEBUG, format);
    unsetenv("JOURNAL_STREAM");
}

static void assert_journal(const char *expected)
{
    char *lines = release_stderr();
    assert_string_equal(lines, expected);
    free(lines);
    say_setup(SAY_INFO, SAY_LOGFMT);
}

static void the_journal_gets_priorities_and_no_second_time(void **state)
{
    (void)state;
    catch_journal(SAY_LOGFMT, 0);
    say(SAY_DEBUG, "a");
    say(SAY_INFO, "b", SAY_I("n", 1));
    say(SAY_WARN, "c");
    say(SAY_ERROR, "d");
    assert_journal("<7>level=debug event=a\n<6>level=info event=b n=1\n<4>level=warn event=c\n"
                   "<3>level=error event=d\n");
    catch_journal(SAY_JSON, 0);
    say(SAY_WARN, "c", SAY_S("text", "x"));
    assert_journal("<4>{\"level\":\"warn\",\"event\":\"c\",\"text\":\"x\"}\n");
}

static void a_redirected_standard_error_is_no_journal(void **state)
{
    (void)state;
    catch_journal(SAY_LOGFMT, 1);
    say(SAY_WARN, "c");
    assert_line("ts=", " level=warn event=c");
    say_setup(SAY_INFO, SAY_LOGFMT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_an_event_and_its_values),
        cmocka_unit_test(a_count_of_nothing_is_left_out),
        cmocka_unit_test(the_journal_gets_priorities_and_no_second_time),
        cmocka_unit_test(a_redirected_standard_error_is_no_journal),
        cmocka_unit_test(an_event_needs_no_values),
        cmocka_unit_test(integers_reach_their_ends),
        cmocka_unit_test(levels_below_the_least_are_silent),
        cmocka_unit_test(plain_words_stand_bare_in_logfmt),
        cmocka_unit_test(the_rest_is_quoted),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(so_are_those_of_unicode),
        cmocka_unit_test(bytes_that_are_no_utf8_are_escaped),
        cmocka_unit_test(every_byte_stays_on_the_line),
        cmocka_unit_test(a_long_text_is_cut_between_two_characters),
        cmocka_unit_test(a_limit_lets_one_through_and_counts_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
