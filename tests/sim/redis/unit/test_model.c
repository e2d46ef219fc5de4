#include "../model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// Commands are inline: words between spaces. `says` feeds one, or several with a line
// end each, as one turn; `hears` compares all that has come since, "|" standing for CRLF.

static struct model *m;

static int set_up(void **state)
{
    (void)state;
    m = model_new(&(struct model_options){ .life = 1, .unix_us = 1700000000000000 });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_free(m);
    return 0;
}

static void says(struct model_conn *c, const char *lines)
{
    model_feed(c, lines, strlen(lines));
}

static void hears(struct model_conn *c, const char *expected)
{
    struct view said = model_output(c);
    char text[2048];
    size_t len = 0;
    for (size_t i = 0; i < said.len && len < sizeof(text) - 1; i++)
        if (said.at[i] != '\r')
            text[len++] = said.at[i] == '\n' ? '|' : said.at[i];
    text[len] = '\0';
    model_output_taken(c, said.len);
    assert_string_equal(text, expected);
}

// ---- bytes ----------------------------------------------------------------------

static const char talk[] = "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$3\r\n1-1\r\n$1\r\nf\r\n$4\r\na\r\nb\r\n"
                           "*1\r\n$4\r\nPING\r\n\r\nPING\r\n*0\r\n"
                           "*4\r\n$6\r\nXRANGE\r\n$1\r\ns\r\n$1\r\n-\r\n$1\r\n+\r\n";
static const char answer[] = "$3|1-1|+PONG|+PONG|*1|*2|$3|1-1|*2|$1|f|$4|a|b|";

static void bytes_may_be_cut_anywhere(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof(talk); cut++) {
        struct model_conn *c = model_connect(m);
        model_feed(c, talk, cut);
        model_feed(c, talk + cut, sizeof(talk) - 1 - cut);
        hears(c, answer);
        says(c, "FLUSHALL\r\n");
        model_disconnect(c);
    }
}

static void bytes_may_come_one_by_one(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    for (size_t i = 0; i < sizeof(talk) - 1; i++)
        model_feed(c, talk + i, 1);
    hears(c, answer);
}

static void what_is_no_protocol_is_hung_up_on(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    says(c, "PING\r\n*1\r\nPING\r\nPING\r\n");
    hears(c, "+PONG|-ERR Protocol error: expected '$', got 'P'|");
    assert_true(model_hangs_up(c));
    says(c, "PING\r\n");
    hears(c, "");
}

// ---- blocked readers ------------------------------------------------------------

static void a_blocked_reader_goes_on_when_the_turn_ends(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m), *writer = model_connect(m);
    says(reader, "XREAD BLOCK 0 COUNT 1 STREAMS s $\r\nXLEN s\r\n");
    hears(reader, "");
    assert_true(model_is_blocked(reader));
    // The first XADD is what it reads; the second one has run before it goes on.
    says(writer, "XADD s 1-1 f a\r\nXADD s 2-1 f b\r\n");
    hears(reader, "*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|a|:2|");
}

static void another_connection_may_come_between(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m), *writer = model_connect(m);
    struct model_conn *deleter = model_connect(m);
    says(reader, "XREAD BLOCK 0 STREAMS s 0\r\nXRANGE s - +\r\n");
    model_feed_within_turn(writer, "XADD s 1-1 f a\r\n", 16);
    model_feed_within_turn(deleter, "DEL s\r\n", 7);
    model_end_turn(m);
    hears(reader, "*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|a|*0|");
}

static void those_who_wait_are_served_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    struct model_conn *first = model_connect(m), *second = model_connect(m);
    struct model_conn *writer = model_connect(m);
    says(second, "XREAD BLOCK 0 STREAMS s 0\r\nXADD order * who second\r\n");
    says(first, "XREAD BLOCK 0 STREAMS s 0\r\nXADD order * who first\r\n");
    says(writer, "XADD s 1-1 f a\r\n");
    hears(writer, "$3|1-1|");
    says(writer, "XRANGE order - +\r\n");
    hears(writer, "*2|*2|$15|1700000000000-0|*2|$3|who|$6|second|"
                  "*2|$15|1700000000000-1|*2|$3|who|$5|first|");
}

static void who_goes_on_may_wake_others_in_the_same_turn(void **state)
{
    (void)state;
    struct model_conn *a = model_connect(m), *b = model_connect(m), *writer = model_connect(m);
    says(b, "XREAD BLOCK 0 STREAMS t 0\r\nPING\r\n");
    says(a, "XREAD BLOCK 0 STREAMS s 0\r\nXADD t 5-1 f b\r\n");
    says(writer, "XADD s 1-1 f a\r\n");
    hears(b, "*1|*2|$1|t|*1|*2|$3|5-1|*2|$1|f|$1|b|+PONG|");
}

static void a_transaction_is_looked_at_when_it_has_ended(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m), *writer = model_connect(m);
    says(reader, "XREAD BLOCK 0 STREAMS s 0\r\n");
    says(writer, "MULTI\r\nXADD s 5-1 f a\r\nDEL s\r\nXADD s 3-1 f b\r\nEXEC\r\n");
    hears(reader, "*1|*2|$1|s|*1|*2|$3|3-1|*2|$1|f|$1|b|");
}

static void a_reader_is_not_served_by_what_it_has_passed(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m), *writer = model_connect(m);
    says(reader, "XREAD BLOCK 0 STREAMS s 7-1\r\n");
    says(writer, "XADD s 7-1 f a\r\nDEL s\r\nSET s x\r\nDEL s\r\nXADD s 3-1 f a\r\n");
    hears(reader, "");
    says(writer, "XADD s 7-2 f a\r\n");
    hears(reader, "*1|*2|$1|s|*1|*2|$3|7-2|*2|$1|f|$1|a|");
}

static void a_wait_ends_when_its_millisecond_has_passed(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m);
    assert_true(model_next_due_us(m) == INT64_MAX);
    says(reader, "XREAD BLOCK 20 STREAMS s $\r\nPING\r\n");
    assert_true(model_next_due_us(m) == 1700000000021000);
    model_set_time_us(m, 1700000000020999);
    hears(reader, "");
    model_set_time_us(m, 1700000000021000);
    hears(reader, "*-1|+PONG|");
    assert_true(model_next_due_us(m) == INT64_MAX);
}

static void who_waits_may_go(void **state)
{
    (void)state;
    struct model_conn *reader = model_connect(m), *writer = model_connect(m);
    says(reader, "XREAD BLOCK 20 STREAMS s t 0 0\r\n");
    model_disconnect(reader);
    says(writer, "XADD s 1-1 f a\r\n");
    model_set_time_us(m, INT64_MAX);
    hears(writer, "$3|1-1|");
}

// ---- what a world does to it ----------------------------------------------------

static void a_snapshot_brings_back_what_was(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    says(c, "HELLO 3\r\nCLIENT TRACKING ON\r\nXADD s 1-1 f a\r\nSET k v\r\n");
    struct model_image *image = model_save(m);
    says(c, "XADD s 2-1 f b\r\nDEL k\r\nXADD t 1-1 f a\r\n");
    model_output_taken(c, model_output(c).len);
    model_load(m, image);
    model_image_free(image);
    hears(c, ">2|$10|invalidate|_|");
    says(c, "XRANGE s - +\r\nGET k\r\nEXISTS t\r\n");
    hears(c, "*1|*2|$3|1-1|*2|$1|f|$1|a|$1|v|:0|");
    assert_int_equal(model_key_count(m), 2);
}

static void a_copy_is_another_server(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    says(c, "XADD s 1-1 f a\r\n");
    struct model *copy = model_copy(m, &(struct model_options){ .life = 2 });
    says(c, "XADD s 2-1 f b\r\n");
    assert_int_equal(model_stream_len(copy, 0, VIEW("s")), 1);
    assert_int_equal(model_stream_len(m, 0, VIEW("s")), 2);
    model_free(copy);
}

static void an_old_server_knows_neither_hello_nor_counts(void **state)
{
    (void)state;
    struct model *old = model_new(&(struct model_options){ .version = "5.0.14" });
    struct model_conn *c = model_connect(old);
    says(c, "HELLO 3\r\nCLIENT TRACKING ON\r\nXADD s 1-1 f a\r\nXINFO STREAM s\r\n");
    hears(c, "-ERR unknown command `HELLO`, with args beginning with: `3`, |"
             "-ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT "
             "HELP.|$3|1-1|*14|$6|length|:1|$15|radix-tree-keys|:1|$16|radix-tree-nodes|:2|"
             "$17|last-generated-id|$3|1-1|$6|groups|:0|$11|first-entry|*2|$3|1-1|*2|$1|f|$1|a|"
             "$10|last-entry|*2|$3|1-1|*2|$1|f|$1|a|");
    model_free(old);
}

static void a_restart_has_another_run_id_and_no_keys(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    says(c, "XADD s 1-1 f a\r\nINFO server\r\n");
    struct buffer before = { 0 };
    buffer_add_view(&before, model_output(c));
    model_disconnect(c);
    model_restart(m, 2);
    c = model_connect(m);
    says(c, "XADD s 1-1 f a\r\nINFO server\r\n");
    assert_false(view_eq(buffer_view(&before), model_output(c)));
    assert_int_equal(before.len, model_output(c).len);
    buffer_free(&before);
}

static void what_ails_it_is_said(void **state)
{
    (void)state;
    struct model_conn *c = model_connect(m);
    model_switches(m)->loading = true;
    says(c, "PING\r\nTIME\r\n");
    hears(c, "-LOADING Redis is loading the dataset in memory|*2|$10|1700000000|$1|0|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_may_be_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_may_come_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_protocol_is_hung_up_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_blocked_reader_goes_on_when_the_turn_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_connection_may_come_between, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_who_wait_are_served_in_the_order_in_which_they_came,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_goes_on_may_wake_others_in_the_same_turn, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_transaction_is_looked_at_when_it_has_ended, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reader_is_not_served_by_what_it_has_passed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_wait_ends_when_its_millisecond_has_passed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_waits_may_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_brings_back_what_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_is_another_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_old_server_knows_neither_hello_nor_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_restart_has_another_run_id_and_no_keys, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_ails_it_is_said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
