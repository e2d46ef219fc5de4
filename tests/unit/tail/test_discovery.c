#include "tail/discovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/say.h"
#include "wire/resp.h"

// ---- how the tests speak ----------------------------------------------------
// Workers are letters, A and B, and so are their patterns. answer("7", "md:a md:b") feeds an
// answer to SCAN with that cursor and those streams. What a pattern was told since it was
// asked last is a list of streams, "md:a md:b"; "+" stands for a letter without one, "!" for
// a failure.

static struct config config;
static struct loop loop;
static struct discovery d;
static struct mailbox mailboxes[2];
static char told[26][4096];
static size_t ends;
static struct name *names[20000];
static size_t name_count;

static void note(struct pattern *pattern, const char *text, size_t len)
{
    char *to = told[(uintptr_t)pattern - 1];
    snprintf(to + strlen(to), sizeof(told[0]) - strlen(to), "%s%.*s", *to ? " " : "", (int)len,
             text);
}

static void deliver(void *ctx, struct letter *letter)
{
    (void)ctx;
    if (letter->kind == LETTER_FOUND) {
        struct finding *f = CONTAINER_OF(letter, struct finding, letter);
        for (size_t i = 0; i < f->count; i++) {
            if (f->count < 10)
                note(f->pattern, f->names[i]->text, f->names[i]->len);
            names[name_count++] = f->names[i];
        }
        if (f->count == 0)
            note(f->pattern, "+", 1);
    } else if (letter->kind == LETTER_UNWATCHABLE) {
        note(CONTAINER_OF(letter, struct watch_failure, letter)->pattern, "!", 1);
    } else {
        ends++;
    }
    free(letter);
}

static int set_up(void **state)
{
    (void)state;
    static char prefix[] = "stream:";
    config =
        (struct config){ .stream_prefix = prefix, .discover_seconds = 2, .max_followed = 100000 };
    say_setup(SAY_ERROR, SAY_LOGFMT);
    assert_true(loop_init(&loop));
    loop.now_ms = 1000000;
    discovery_init(&d, &config, &loop);
    memset(told, 0, sizeof(told));
    ends = name_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(mailboxes); i++) {
        assert_true(mailbox_init(&mailboxes[i], deliver, NULL));
        assert_true(mailbox_open(&mailboxes[i], &loop));
    }
    return 0;
}

static void read_letters(void)
{
    for (size_t i = 0; i < ARRAY_LEN(mailboxes); i++)
        while (mailbox_weight(&mailboxes[i]) > 0 || !list_empty(&mailboxes[i].letters))
            mailboxes[i].watch.ready(&mailboxes[i].watch, EPOLLIN);
}

static int tear_down(void **state)
{
    (void)state;
    discovery_done(&d);
    for (size_t i = 0; i < ARRAY_LEN(mailboxes); i++)
        mailbox_done(&mailboxes[i]);
    while (name_count > 0)
        name_unref(names[--name_count]);
    loop_done(&loop);
    return 0;
}

static void send_request(enum letter_kind kind, char pattern, const char *text)
{
    struct watch_request *r = must_alloc(sizeof(*r) + strlen(text));
    *r = (struct watch_request){ .letter.kind = kind,
                                 .from = &mailboxes[(pattern - 'A') % 2],
                                 .pattern = (struct pattern *)(uintptr_t)(pattern - 'A' + 1),
                                 .len = strlen(text) };
    memcpy(r->text, text, r->len);
    discovery_take_letter(&d, r);
    free(r);
}

static void watch(char pattern, const char *text)
{
    send_request(LETTER_WATCH, pattern, text);
}

static void unwatch(char pattern)
{
    send_request(LETTER_UNWATCH, pattern, "");
}

static void turns(void)
{
    while (discovery_turn(&d))
        ;
    read_letters();
}

static void assert_told(char pattern, const char *wanted)
{
    turns();
    assert_string_equal(told[pattern - 'A'], wanted);
    told[pattern - 'A'][0] = '\0';
}

static void pass(int64_t ms)
{
    loop.now_ms += ms;
    deadline_queue_run(&d.pauses, loop.now_ms);
    deadline_queue_run(&d.rounds, loop.now_ms);
}

static void assert_asks(const char *cursor, const char *match)
{
    turns();
    pass(SCAN_PAUSE_MS);
    assert_true(discovery_is_due(&d, false));
    struct scan scan = discovery_ask(&d);
    assert_true(view_eq(scan.cursor, view_of(cursor)));
    if (match)
        assert_true(view_eq(scan.match, view_of(match)));
}

static void answer(const char *cursor, const char *streams)
{
    struct buffer keys = { 0 }, reply = { 0 };
    size_t count = 0;
    for (const char *at = streams; *at; count++) {
        size_t len = strcspn(at, " ");
        buffer_printf(&keys, "$%zu\r\nstream:%.*s\r\n", len + 7, (int)len, at);
        at += len + (at[len] == ' ');
    }
    buffer_printf(&reply, "*2\r\n$%zu\r\n%s\r\n*%zu\r\n", strlen(cursor), cursor, count);
    buffer_add_view(&reply, buffer_view(&keys));
    discovery_take(&d, buffer_view(&reply));
    buffer_free(&keys);
    buffer_free(&reply);
}

static void answer_error(const char *error)
{
    struct buffer reply = { 0 };
    buffer_printf(&reply, "-%s\r\n", error);
    discovery_take(&d, buffer_view(&reply));
    buffer_free(&reply);
}

static void round_finds(const char *streams)
{
    assert_asks("0", NULL);
    answer("0", streams);
}

static void next_round_finds(const char *streams)
{
    pass(2000);
    round_finds(streams);
}

static void assert_rests(void)
{
    turns();
    pass(10000);
    assert_false(discovery_is_due(&d, false));
}

// ---- what is asked ----------------------------------------------------------

static void nothing_is_asked_while_nobody_wants_a_pattern(void **state)
{
    (void)state;
    assert_rests();
    watch('A', "md:*");
    round_finds("md:a");
    unwatch('A');
    assert_rests();
    assert_int_equal(ends, 1);
}

static void a_round_follows_the_cursor_and_the_next_one_waits(void **state)
{
    (void)state;
    watch('A', "md:*");
    assert_asks("0", "stream:md:*");
    assert_false(discovery_is_due(&d, false)); // one at a time
    answer("17", "md:a");
    assert_false(discovery_is_due(&d, false)); // and a pause between two
    assert_asks("17", "stream:md:*");
    answer("0", "md:b");
    pass(1000);
    assert_false(discovery_is_due(&d, false));
    pass(1000);
    assert_asks("0", "stream:md:*");
}

static void who_comes_is_not_kept_waiting_for_the_next_round(void **state)
{
    (void)state;
    watch('A', "md:*");
    assert_asks("0", NULL);
    watch('B', "x:*");
    answer("0", "");
    assert_asks("0", "stream:*");
    answer("0", "");
    turns();
    pass(SCAN_PAUSE_MS);
    assert_false(discovery_is_due(&d, false));
}

static void redis_is_asked_for_what_all_have_in_common(void **state)
{
    (void)state;
    watch('A', "md:btc*");
    watch('B', "md:b*:x");
    assert_asks("0", "stream:md:b*");
    answer("0", "");
    unwatch('B');
    pass(2000);
    assert_asks("0", "stream:md:btc*");
}

static void what_means_something_to_redis_is_escaped(void **state)
{
    (void)state;
    watch('A', "a?[b]\\*");
    assert_asks("0", "stream:a\\?\\[b\\]\\\\*");
}

static void reads_go_first_for_a_while(void **state)
{
    (void)state;
    watch('A', "*");
    assert_false(discovery_is_due(&d, true));
    pass(SCAN_POSTPONED_MS_MAX - 1);
    assert_false(discovery_is_due(&d, true));
    pass(1);
    assert_true(discovery_is_due(&d, true));
}

// ---- what is told -----------------------------------------------------------

static void each_is_told_once_to_whom_it_matches(void **state)
{
    (void)state;
    watch('A', "md:*");
    watch('B', "*:a");
    round_finds("md:a md:b x:a y:b");
    assert_told('A', "md:a md:b");
    assert_told('B', "md:a x:a");
    next_round_finds("md:a md:b x:a md:c");
    assert_told('A', "md:c");
    assert_told('B', "");
}

static void a_key_that_comes_twice_in_a_round_is_told_once(void **state)
{
    (void)state;
    watch('A', "*");
    assert_asks("0", NULL);
    answer("5", "a a");
    assert_asks("5", NULL);
    answer("0", "a");
    assert_told('A', "a");
}

static void who_finds_nothing_is_told_that_it_is_looked_for(void **state)
{
    (void)state;
    watch('A', "md:*");
    assert_told('A', "");
    assert_asks("0", NULL);
    answer("9", "");
    assert_told('A', "+");
    assert_asks("9", NULL);
    answer("0", "");
    assert_told('A', "");
}

static void who_comes_later_is_told_what_is_known(void **state)
{
    (void)state;
    watch('A', "md:*");
    round_finds("md:a md:b");
    watch('B', "*a");
    assert_told('B', "md:a");
    round_finds("md:a md:b xa");
    assert_told('B', "xa");
}

static void a_stream_that_is_gone_is_found_again_when_it_is_made_again(void **state)
{
    (void)state;
    watch('A', "*");
    round_finds("a b");
    assert_told('A', "a b");
    next_round_finds("b");
    turns();
    assert_true(atomic_load(&names[0]->gone));
    assert_false(atomic_load(&names[1]->gone));
    watch('B', "*");
    assert_told('B', "b");
    round_finds("a b");
    assert_told('A', "a");
    assert_told('B', "a");
}

static void what_a_broken_round_did_not_see_is_not_gone(void **state)
{
    (void)state;
    watch('A', "*");
    round_finds("a b");
    assert_told('A', "a b");
    pass(2000);
    assert_asks("0", NULL);
    answer("4", "a");
    discovery_lost(&d);
    assert_asks("0", NULL); // anew, and at once
    answer("4", "b");
    assert_asks("4", NULL);
    answer("0", "a");
    turns();
    assert_false(atomic_load(&names[0]->gone) || atomic_load(&names[1]->gone));
    assert_told('A', "");
}

static void what_nobody_wants_any_more_is_forgotten(void **state)
{
    (void)state;
    watch('A', "md:*");
    watch('B', "x:*");
    round_finds("md:a x:a");
    turns();
    unwatch('B');
    next_round_finds("md:a x:a"); // were it kept, it would fill what may be known
    turns();
    assert_int_equal(d.known.len, 1);
    unwatch('A');
    turns();
    assert_int_equal(d.known.len, 0);
}

static void no_more_are_known_than_may_be_followed(void **state)
{
    (void)state;
    config.max_followed = 2;
    watch('A', "*");
    round_finds("a b c");
    assert_told('A', "a b");
    next_round_finds("b c");
    assert_told('A', "");
    next_round_finds("b c"); // `a` has gone, so there is room
    assert_told('A', "c");
}

static void odd_keys_are_passed_over(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'x', sizeof(text));
    text[513] = '\0';
    watch('A', "*");
    round_finds(text);
    text[512] = '\0';
    next_round_finds("\xff");
    next_round_finds(text);
    turns();
    assert_int_equal(name_count, 1);
}

static void many_names_take_many_turns(void **state)
{
    (void)state;
    struct buffer streams = { 0 };
    for (int i = 0; i < 9000; i++)
        buffer_printf(&streams, "%ss%d", i ? " " : "", i);
    buffer_add(&streams, "", 1);
    watch('A', "*");
    round_finds(streams.at);
    assert_true(discovery_turn(&d));
    read_letters();
    assert_true(name_count > 0 && name_count <= NAMES_PER_TURN);
    turns();
    assert_int_equal(name_count, 9000);
    pass(2000);
    assert_asks("0", NULL);
    answer("0", "");
    assert_true(discovery_turn(&d));
    assert_true(d.known.len >= 9000 - NAMES_PER_TURN);
    pass(2000);
    assert_false(discovery_is_due(&d, false)); // first it forgets
    turns();
    assert_int_equal(d.known.len, 0);
    buffer_free(&streams);
}

// Whoever does not read its letters is told later, and no other one waits for that.
static void a_full_mailbox_is_filled_no_further(void **state)
{
    (void)state;
    struct letter *heavy = must_alloc(sizeof(*heavy));
    *heavy = (struct letter){ .kind = LETTER_UNWATCHED, .weight = 64 * MIB };
    watch('A', "*");
    watch('B', "*");
    mailbox_post(&mailboxes[0], heavy);
    round_finds("a b");
    assert_false(discovery_turn(&d)); // it does not spin
    mailboxes[1].watch.ready(&mailboxes[1].watch, EPOLLIN);
    assert_string_equal(told[1], "a b");
    assert_string_equal(told[0], "");
    read_letters();
    assert_told('A', "a b");
}

// ---- errors -----------------------------------------------------------------

static void without_the_right_to_scan_all_are_told(void **state)
{
    (void)state;
    watch('A', "a*");
    watch('B', "b*");
    assert_asks("0", NULL);
    answer_error("NOPERM this user has no permissions to run the 'scan' command");
    assert_told('A', "!");
    assert_told('B', "!");
    assert_rests();
    unwatch('A');
    assert_int_equal(ends, 0);
    read_letters();
    assert_int_equal(ends, 1);
    watch('C', "a*"); // it is tried again
    round_finds("ab");
    assert_told('C', "ab");
}

static void an_old_redis_is_asked_without_a_type(void **state)
{
    (void)state;
    watch('A', "*");
    turns();
    assert_true(discovery_is_due(&d, false));
    assert_true(discovery_ask(&d).with_type);
    answer_error("ERR syntax error");
    pass(SCAN_PAUSE_MS);
    assert_true(discovery_is_due(&d, false));
    assert_false(discovery_ask(&d).with_type);
    answer("0", "a");
    assert_told('A', "a");
    discovery_lost(&d); // the next connection may lead to another one
    pass(SCAN_PAUSE_MS);
    assert_true(discovery_ask(&d).with_type);
}

static void what_passes_by_itself_is_tried_again(void **state)
{
    (void)state;
    watch('A', "*");
    assert_asks("0", NULL);
    answer_error("LOADING Redis is loading the dataset in memory");
    assert_told('A', "");
    next_round_finds("a");
    assert_told('A', "a");
}

static void an_answer_that_makes_no_sense_is_a_refusal(void **state)
{
    (void)state;
    watch('A', "*");
    assert_asks("0", NULL);
    discovery_take(&d, VIEW("+OK\r\n"));
    assert_told('A', "!");
}

static void an_answer_that_nobody_waits_for_is_dropped(void **state)
{
    (void)state;
    watch('A', "*");
    assert_asks("0", NULL);
    unwatch('A');
    watch('B', "*");
    answer("5", "a"); // to the old round
    assert_told('B', "");
    round_finds("a b");
    assert_told('B', "a b");
}

static void there_is_a_limit_of_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < WATCHERS_MAX; i++)
        watch('A', "a*");
    watch('B', "b*");
    assert_told('B', "!");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_asked_while_nobody_wants_a_pattern),
        TEST(a_round_follows_the_cursor_and_the_next_one_waits),
        TEST(who_comes_is_not_kept_waiting_for_the_next_round),
        TEST(redis_is_asked_for_what_all_have_in_common),
        TEST(what_means_something_to_redis_is_escaped),
        TEST(reads_go_first_for_a_while),
        TEST(each_is_told_once_to_whom_it_matches),
        TEST(a_key_that_comes_twice_in_a_round_is_told_once),
        TEST(who_finds_nothing_is_told_that_it_is_looked_for),
        TEST(who_comes_later_is_told_what_is_known),
        TEST(a_stream_that_is_gone_is_found_again_when_it_is_made_again),
        TEST(what_a_broken_round_did_not_see_is_not_gone),
        TEST(what_nobody_wants_any_more_is_forgotten),
        TEST(no_more_are_known_than_may_be_followed),
        TEST(odd_keys_are_passed_over),
        TEST(many_names_take_many_turns),
        TEST(a_full_mailbox_is_filled_no_further),
        TEST(without_the_right_to_scan_all_are_told),
        TEST(an_old_redis_is_asked_without_a_type),
        TEST(what_passes_by_itself_is_tried_again),
        TEST(an_answer_that_makes_no_sense_is_a_refusal),
        TEST(an_answer_that_nobody_waits_for_is_dropped),
        TEST(there_is_a_limit_of_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
