#include "worker/interest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// learn("a b") is a letter with these names, which are numbered on; rest(p, seq) is what there
// is from that number on: "a1 b2". What was posted to the tail is a row of signs: w for WATCH,
// u for UNWATCH.

static struct mailbox self, tail;
static struct patterns all;
static struct name *made[2000];
static size_t made_count;
static char posted[64];

static void deliver(void *ctx, struct letter *letter)
{
    (void)ctx;
    strcat(posted, letter->kind == LETTER_WATCH ? "w" : "u");
    free(letter);
}

static int set_up(void **state)
{
    (void)state;
    assert_true(mailbox_init(&self, deliver, NULL));
    assert_true(mailbox_init(&tail, deliver, NULL));
    patterns_init(&all, &self, &tail);
    made_count = 0;
    posted[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    patterns_done(&all);
    mailbox_done(&tail);
    mailbox_done(&self);
    while (made_count > 0)
        name_unref(made[--made_count]);
    return 0;
}

static void assert_posted(const char *wanted)
{
    mailbox_done(&tail);
    assert_string_equal(posted, wanted);
    assert_true(mailbox_init(&tail, deliver, NULL));
}

static void learn(struct pattern *p, const char *names)
{
    struct finding *f = must_alloc(sizeof(*f) + 16 * sizeof(f->names[0]));
    *f = (struct finding){ .pattern = p };
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, " ");
        struct name *name = name_new((struct view){ at, len }, made_count + 1);
        made[made_count++] = name;
        f->names[f->count++] = name_ref(name);
        at += len + (at[len] == ' ');
    }
    pattern_learn(f);
}

static const char *rest(const struct pattern *p, uint64_t seq)
{
    static char text[256];
    text[0] = '\0';
    for (struct name *n; (n = pattern_name_from(p, seq)) != NULL; seq = n->seq + 1)
        sprintf(text + strlen(text), "%s" VIEW_FMT "%d", *text ? " " : "", VIEW_ARG(name_view(n)),
                (int)n->seq);
    return text;
}

static void end(struct pattern *p)
{
    struct watch_end *letter = must_alloc(sizeof(*letter));
    *letter = (struct watch_end){ .pattern = p };
    pattern_end(letter);
}

// ---- patterns ---------------------------------------------------------------

static void many_who_want_the_same_ask_once(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("md:*"));
    pattern_join(p);
    assert_ptr_equal(patterns_find(&all, VIEW("md:*")), p);
    pattern_join(p);
    pattern_leave(p);
    assert_posted("w");
    pattern_leave(p);
    assert_posted("wu");
    struct pattern *again = patterns_find(&all, VIEW("md:*"));
    assert_ptr_not_equal(again, p); // which waits for the tail's farewell
    learn(p, "a");                  // and letters that were under way
    end(p);
    assert_string_equal(rest(again, 0), "");
}

static void names_are_found_by_number(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    pattern_join(p);
    assert_false(p->is_heard);
    learn(p, "");
    assert_true(p->is_heard);
    assert_string_equal(rest(p, 0), "");
    learn(p, "a b c");
    learn(p, "d");
    assert_string_equal(rest(p, 0), "a1 b2 c3 d4");
    assert_string_equal(rest(p, 3), "c3 d4");
    assert_string_equal(rest(p, 5), "");
    pattern_leave(p);
    end(p);
}

static void names_that_are_gone_are_passed_over_and_make_room(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    pattern_join(p);
    learn(p, "a b c");
    atomic_store(&made[1]->gone, true);
    assert_string_equal(rest(p, 0), "a1 c3");
    assert_string_equal(rest(p, 2), "c3");
    for (int i = 0; i < 1000; i++) { // as many come as go
        learn(p, "x");
        atomic_store(&made[made_count - 1]->gone, true);
    }
    assert_string_equal(rest(p, 0), "a1 c3");
    assert_true(p->cap <= 64);
    pattern_leave(p);
    end(p);
}

static void a_pattern_that_failed_is_asked_for_anew(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    pattern_join(p);
    struct watch_failure *failure = must_alloc(sizeof(*failure));
    *failure = (struct watch_failure){ .pattern = p, .reason = "no" };
    pattern_fail(failure);
    assert_string_equal(p->failure, "no");
    assert_ptr_not_equal(patterns_find(&all, VIEW("*")), p);
    pattern_leave(p);
    assert_posted("wwu");
    end(p);
}

static void there_is_a_limit_of_patterns(void **state)
{
    (void)state;
    char text[16];
    for (int i = 0; i < PATTERNS_MAX; i++) {
        sprintf(text, "%d*", i);
        assert_non_null(patterns_find(&all, view_of(text)));
        posted[0] = '\0';
        mailbox_done(&tail);
        posted[0] = '\0';
        assert_true(mailbox_init(&tail, deliver, NULL));
    }
    assert_null(patterns_find(&all, VIEW("*")));
    assert_non_null(patterns_find(&all, VIEW("1*")));
}

// ---- interests --------------------------------------------------------------

static void whoever_has_taken_all_is_called_by_news(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    struct interest *one = interest_new(p, NULL, 1), *two = interest_new(p, NULL, 1);
    assert_true(list_empty(&all.behind));
    learn(p, "a");
    assert_ptr_equal(all.behind.next, &one->node);
    assert_ptr_equal(all.behind.prev, &two->node);
    interest_free(one);
    interest_free(two);
    assert_posted("wu");
    end(p);
}

static bool add(struct interest *i, const char *json, size_t most)
{
    json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    bool ok = interest_add_bookmarks(i, object, most);
    json_decref(object);
    return ok;
}

static void a_stream_resumes_where_its_bookmark_is_once(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    struct interest *i = interest_new(p, NULL, 1);
    i->start = (struct start){ .kind = START_LIVE, .at_ms = 77 };
    assert_true(add(i, "{\"a\":\"5-1\",\"b\":null,\"é\":\"6-0\"}", 3));
    assert_true(i->bookmark_bytes > 0);
    struct start start = interest_start_in(i, VIEW("a"));
    assert_int_equal(start.kind, START_AFTER);
    assert_int_equal(start.id.ms, 5);
    assert_int_equal(interest_start_in(i, VIEW("é")).id.ms, 6);
    assert_int_equal(i->bookmark_bytes, 0);
    assert_int_equal(interest_start_in(i, VIEW("a")).at_ms, 77);
    assert_int_equal(interest_start_in(i, VIEW("b")).at_ms, 77);
    interest_free(i);
    end(p);
}

static void bookmarks_that_make_no_sense_or_are_too_many(void **state)
{
    (void)state;
    struct pattern *p = patterns_find(&all, VIEW("*"));
    struct interest *i = interest_new(p, NULL, 1);
    assert_false(add(i, "{\"a\":\"5\"}", 3));
    assert_false(add(i, "{\"b\":5}", 3));
    assert_false(add(i, "{\"c\":\"1-0\",\"d\":\"1-0\"}", 1));
    assert_true(interest_add_bookmarks(i, NULL, 0));
    interest_free(i);
    end(p);
}

// ---- what commands say of patterns ------------------------------------------

static void after_of_a_pattern_is_an_object_and_stands_beside_from(void **state)
{
    (void)state;
    struct command c;
    struct command_item item;
    command_read(&c, VIEW("{\"type\":\"subscribe\",\"from\":\"first\",\"after\":{\"a\":\"1-0\"},"
                          "\"patterns\":[\"a*\",{\"pattern\":\"b*\",\"after\":{\"b\":\"2-0\"}},"
                          "{\"pattern\":\"c*\",\"after\":\"1-0\"}],\"streams\":[\"a\"]}"));
    assert_int_equal(c.kind, COMMAND_SUBSCRIBE);
    assert_true(command_next(&c, &item)); // a stream: the object is not for it
    assert_false(item.is_pattern);
    assert_non_null(item.wrong);
    assert_true(command_next(&c, &item));
    assert_true(item.is_pattern && !item.wrong);
    assert_true(view_eq(item.options.from, VIEW("first")));
    assert_string_equal(json_string_value(json_object_get(item.options.after_ids, "a")), "1-0");
    assert_true(command_next(&c, &item));
    assert_null(item.wrong);
    assert_true(view_eq(item.options.from, VIEW("first")));
    assert_string_equal(json_string_value(json_object_get(item.options.after_ids, "b")), "2-0");
    assert_true(command_next(&c, &item));
    assert_non_null(item.wrong);
    assert_false(command_next(&c, &item));
    command_done(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(many_who_want_the_same_ask_once),
        TEST(names_are_found_by_number),
        TEST(names_that_are_gone_are_passed_over_and_make_room),
        TEST(a_pattern_that_failed_is_asked_for_anew),
        TEST(there_is_a_limit_of_patterns),
        TEST(whoever_has_taken_all_is_called_by_news),
        TEST(a_stream_resumes_where_its_bookmark_is_once),
        TEST(bookmarks_that_make_no_sense_or_are_too_many),
        TEST(after_of_a_pattern_is_an_object_and_stands_beside_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
