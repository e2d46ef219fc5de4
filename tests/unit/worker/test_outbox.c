#include "worker/outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A segment's letters are capitals, own bytes are small; waits() is what is in the
// queue, with a bar between two pieces.

static struct budget budget;
static struct outbox o;
static struct segment *s;

static int set_up(void **state)
{
    (void)state;
    struct item item = { 0 };
    budget_init(&budget, 1000);
    s = segment_new(64, 26);
    assert_true(segment_append(s, &item, VIEW("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), VIEW("")));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbox_done(&o, &budget);
    segment_unref(s);
    budget_done(&budget);
    return segment_bytes_in_use() != 0;
}

static void add(const char *own)
{
    outbox_add(&o, view_of(own));
}

static void add_part(uint32_t at, size_t len)
{
    outbox_add_part(&o, &budget, s, at, len);
}

static const char *gathered(size_t max, size_t room)
{
    static char text[256];
    struct iovec pieces[16];
    size_t count = room, len = 0;
    size_t total = outbox_gather(&o, max, pieces, &count);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text[len++] = '|';
        memcpy(text + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    assert_int_equal(total + (count ? count - 1 : 0), len);
    text[len] = '\0';
    return text;
}

static const char *waits(void)
{
    return gathered(1000, 16);
}

// ---- a queue ----------------------------------------------------------------

static void it_holds_nothing_when_it_is_empty(void **state)
{
    (void)state;
    assert_true(outbox_is_empty(&o));
    assert_string_equal(waits(), "");
    assert_int_equal(outbox_memory(&o), 0);
    add("");
    add_part(3, 0);
    assert_true(outbox_is_empty(&o));
}

static void pieces_leave_in_the_order_of_adding(void **state)
{
    (void)state;
    add("ab");
    add_part(0, 3);
    add("cd");
    add("ef"); // joins its neighbour
    add_part(20, 2);
    assert_string_equal(waits(), "ab|ABC|cdef|UV");
    assert_int_equal(o.bytes, 11);
}

static void what_was_sent_is_gone_wherever_it_was_cut(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= 11; cut++) {
        add("ab");
        add_part(0, 3);
        add("cdef");
        add_part(20, 2);
        const char *all = "abABCcdefUV";
        outbox_sent(&o, &budget, cut);
        char joined[32] = "";
        for (const char *at = waits(); *at; at++)
            if (*at != '|')
                strncat(joined, at, 1);
        assert_string_equal(joined, all + cut);
        outbox_sent(&o, &budget, 11 - cut);
        assert_int_equal(outbox_memory(&o), 0);
    }
}

static void the_rest_of_a_frame_goes_first(void **state)
{
    (void)state;
    add("ab");
    outbox_put_first(&o, &budget, s, 4, 2);
    assert_string_equal(waits(), "EF|ab");
    outbox_put_first(&o, &budget, s, 0, 1);
    assert_string_equal(waits(), "A|EF|ab");
    add("cd");
    assert_string_equal(waits(), "A|EF|abcd");
    outbox_sent(&o, &budget, 2);
    assert_string_equal(waits(), "F|abcd");
}

static void what_is_gathered_is_bounded(void **state)
{
    (void)state;
    add("abc");
    add_part(0, 3);
    add("def");
    assert_string_equal(gathered(1000, 2), "abc|ABC");
    assert_string_equal(gathered(2, 16), "ab");
    assert_string_equal(gathered(5, 16), "abc|AB");
    assert_string_equal(gathered(6, 16), "abc|ABC");
}

static void own_bytes_may_be_written_in_place(void **state)
{
    (void)state;
    add("ab");
    outbox_sent(&o, &budget, 1);
    buffer_printf(outbox_write(&o), "%d", 42);
    outbox_written(&o);
    assert_string_equal(waits(), "b42");
    outbox_written(&o); // nothing new
    assert_string_equal(waits(), "b42");
}

// ---- segments ---------------------------------------------------------------

static void a_segment_stays_until_its_part_has_left(void **state)
{
    (void)state;
    add_part(0, 4);
    add("x");
    assert_int_equal(s->refs, 2);
    assert_int_equal(budget.bytes, s->size);
    outbox_sent(&o, &budget, 3);
    assert_int_equal(s->refs, 2);
    outbox_sent(&o, &budget, 1);
    assert_int_equal(s->refs, 1);
    assert_int_equal(budget.bytes, 0);
}

static void it_counts_once_however_many_parts_wait(void **state)
{
    (void)state;
    struct outbox other = { 0 };
    add_part(0, 4);
    add_part(8, 4);
    outbox_add_part(&other, &budget, s, 0, 26);
    assert_int_equal(budget.bytes, s->size);
    outbox_done(&o, &budget);
    assert_int_equal(budget.bytes, s->size);
    outbox_done(&other, &budget);
    assert_int_equal(budget.bytes, 0);
}

// A history that is read slowly, say: its next piece comes before the last one has left.
static void what_has_left_is_not_kept_though_it_never_runs_empty(void **state)
{
    (void)state;
    char text[1024];
    memset(text, 'h', sizeof(text));
    for (int i = 0; i < 4096; i++) {
        outbox_add(&o, (struct view){ text, sizeof(text) });
        if (i >= 8)
            outbox_sent(&o, &budget, sizeof(text));
    }
    assert_int_equal(o.bytes, 8 * sizeof(text));
    assert_true(outbox_memory(&o) < 64 * KIB);
}

// Any order of adding, putting first and sending, against a plain text.
static void it_is_a_queue_of_bytes(void **state)
{
    (void)state;
    char model[4096] = "";
    unsigned random = 7;
    for (int step = 0; step < 20000; step++) {
        random = random * 1103515245 + 12345;
        unsigned what = random >> 16 & 3, n = random >> 18 & 7;
        bool may_put_first = o.count == 0 || o.pieces[o.head].segment == NULL;
        if (what == 0 && strlen(model) < 1000) {
            char own[9] = "abcdefgh";
            own[n] = '\0';
            add(own);
            strcat(model, own);
        } else if (what == 1 && strlen(model) < 1000) {
            add_part(n, n);
            strncat(model, s->data + n, n);
        } else if (what == 2 && may_put_first && n > 0) {
            outbox_put_first(&o, &budget, s, n, n);
            memmove(model + n, model, strlen(model) + 1);
            memcpy(model, s->data + n, n);
        } else {
            size_t sent = n * 3 < strlen(model) ? n * 3 : strlen(model);
            outbox_sent(&o, &budget, sent);
            memmove(model, model + sent, strlen(model) + 1 - sent);
        }
        assert_int_equal(o.bytes, strlen(model));
        struct iovec pieces[1024];
        size_t count = 1024, at = 0;
        outbox_gather(&o, 4096, pieces, &count);
        for (size_t i = 0; i < count; i++) {
            assert_memory_equal(pieces[i].iov_base, model + at, pieces[i].iov_len);
            at += pieces[i].iov_len;
        }
        assert_int_equal(at, strlen(model));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_holds_nothing_when_it_is_empty),
        TEST(pieces_leave_in_the_order_of_adding),
        TEST(what_was_sent_is_gone_wherever_it_was_cut),
        TEST(the_rest_of_a_frame_goes_first),
        TEST(what_is_gathered_is_bounded),
        TEST(own_bytes_may_be_written_in_place),
        TEST(a_segment_stays_until_its_part_has_left),
        TEST(it_counts_once_however_many_parts_wait),
        TEST(what_has_left_is_not_kept_though_it_never_runs_empty),
        TEST(it_is_a_queue_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
