#include "log/segment.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

static struct segment *s;

static int set_up(void **state)
{
    (void)state;
    s = segment_new(1024, 0);
    return s == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    if (s)
        segment_unref(s);
    s = NULL;
    return segment_bytes_in_use() != 0; // nothing is left behind
}

static bool append(uint64_t id_ms, const char *head, const char *body)
{
    struct item item = { .id = { id_ms, 0 }, .time_ms = (int64_t)id_ms + 1, .kind = ITEM_EVENT };
    return segment_append(s, &item, view_of(head), view_of(body));
}

static void assert_item(uint32_t i, uint64_t id_ms, const char *bytes)
{
    const struct item *item = segment_item(s, i);
    uint32_t start = segment_start(s, i);
    assert_int_equal(item->id.ms, id_ms);
    assert_int_equal(item->end - start, strlen(bytes));
    assert_memory_equal(s->data + start, bytes, strlen(bytes));
}

// ---- making one -------------------------------------------------------------

static void a_new_one_is_empty(void **state)
{
    (void)state;
    assert_int_equal(s->end, 0);
    assert_int_equal(s->count, 0);
    assert_int_equal(s->size, 1024);
    assert_true(list_empty(&s->by_age));
    assert_null(s->owner);
    assert_int_equal(segment_start(s, 0), 0);
}

static void the_index_is_aligned_whatever_the_size(void **state)
{
    (void)state;
    for (size_t size = 0; size < 64; size++) {
        struct segment *odd = segment_new(size, size);
        assert_non_null(odd);
        assert_int_equal((uintptr_t)(odd->data + odd->size) % _Alignof(struct item), 0);
        assert_true(odd->size >= size + sizeof(struct item));
        segment_unref(odd);
    }
}

static void there_is_room_for_the_payload_though_the_size_is_less(void **state)
{
    (void)state;
    char body[3000];
    memset(body, 'x', sizeof(body));
    for (size_t len = 2990; len <= sizeof(body); len++) {
        struct segment *large = segment_new(100, len);
        struct item item = { .kind = ITEM_EVENT };
        assert_true(segment_append(large, &item, VIEW(""), (struct view){ body, len }));
        assert_int_equal(item.end, len);
        assert_int_equal(large->count, 1);
        segment_unref(large);
    }
}

static void what_offsets_cannot_count_is_refused(void **state)
{
    (void)state;
    assert_null(segment_new(0, SEGMENT_BYTES_MAX));
    assert_null(segment_new(0, SEGMENT_BYTES_MAX + 1));
    assert_null(segment_new(0, SIZE_MAX));
    assert_null(segment_new(0, SIZE_MAX - sizeof(struct item) + 1));
    assert_null(segment_new(SIZE_MAX, 0));
    assert_null(segment_new(SEGMENT_BYTES_MAX * 2 + 8, 0));
}

// ---- appending --------------------------------------------------------------

static void items_are_found_by_number(void **state)
{
    (void)state;
    assert_true(append(5, "h", "one"));
    assert_true(append(6, "", "two"));
    assert_true(append(7, "three", ""));
    assert_item(0, 5, "hone");
    assert_item(1, 6, "two");
    assert_item(2, 7, "three");
    assert_int_equal(segment_item(s, 2)->time_ms, 8);
    assert_int_equal(segment_item(s, 2)->kind, ITEM_EVENT);
    assert_int_equal(s->count, 3);
    assert_int_equal(s->end, 4 + 3 + 5);
    assert_memory_equal(s->data, "honetwothree", 12);
}

static void an_item_may_have_no_bytes(void **state)
{
    (void)state;
    struct item gap = { .kind = ITEM_GAP };
    assert_true(segment_append(s, &gap, VIEW(""), VIEW("")));
    assert_true(append(1, "", "a"));
    assert_true(segment_append(s, &gap, (struct view){ 0 }, (struct view){ 0 }));
    assert_int_equal(gap.end, 1);
    assert_item(0, 0, "");
    assert_item(1, 1, "a");
    assert_item(2, 0, "");
    assert_int_equal(segment_item(s, 2)->kind, ITEM_GAP);
}

// Frames grow up, the index grows down: the last byte between them is used, and
// what does not fit leaves no trace.
static void it_is_full_when_frames_and_index_would_meet(void **state)
{
    (void)state;
    char body[1024];
    memset(body, 'x', sizeof(body));
    uint32_t room = s->size - 2 * (uint32_t)sizeof(struct item);
    struct item item = { .id = { 1, 0 } };
    assert_true(segment_append(s, &item, VIEW(""), (struct view){ body, 100 }));
    item.end = 7;
    assert_false(segment_append(s, &item, VIEW("."), (struct view){ body, room - 100 }));
    assert_int_equal(item.end, 7);
    assert_int_equal(s->end, 100);
    assert_int_equal(s->count, 1);
    assert_true(segment_append(s, &item, VIEW("."), (struct view){ body, room - 101 }));
    assert_int_equal(s->end, room);
    assert_int_equal(segment_item(s, 0)->end, 100);
    assert_int_equal(segment_item(s, 1)->end, room);
    assert_false(segment_append(s, &item, VIEW(""), VIEW(""))); // no room for its index
    assert_int_equal(s->count, 2);
}

static void items_without_bytes_fill_it_too(void **state)
{
    (void)state;
    struct item gap = { .kind = ITEM_GAP };
    size_t count = 0;
    while (segment_append(s, &gap, VIEW(""), VIEW("")))
        count++;
    assert_int_equal(count, s->size / sizeof(struct item));
    assert_int_equal(s->end, 0);
}

// ---- references -------------------------------------------------------------

static void the_last_reference_frees_it(void **state)
{
    (void)state;
    size_t before = segment_bytes_in_use();
    struct segment *shared = segment_new(4096, 0);
    assert_int_equal(segment_bytes_in_use(), before + sizeof(struct segment) + 4096);
    assert_ptr_equal(segment_ref(shared), shared);
    segment_unref(shared);
    assert_true(segment_bytes_in_use() > before);
    segment_unref(shared);
    assert_int_equal(segment_bytes_in_use(), before);
}

static void *drop(void *arg)
{
    segment_unref(arg);
    return NULL;
}

static void whichever_thread_that_is_on(void **state)
{
    (void)state;
    pthread_t threads[4];
    size_t before = segment_bytes_in_use();
    struct segment *shared = segment_new(4096, 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drop, segment_ref(shared)), 0);
    segment_unref(shared);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(segment_bytes_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_one_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_index_is_aligned_whatever_the_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(there_is_room_for_the_payload_though_the_size_is_less,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_offsets_cannot_count_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(items_are_found_by_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_item_may_have_no_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_full_when_frames_and_index_would_meet, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(items_without_bytes_fill_it_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_reference_frees_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whichever_thread_that_is_on, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
