#include "tail/paging.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct paging p;

static int set_up(void **state)
{
    (void)state;
    paging_init(&p);
    return 0;
}

// A full page of entries of that size was asked for and came.
static void full_page_of(size_t entry_bytes)
{
    paging_learn(&p, p.page, p.page * entry_bytes, true);
}

static void an_unknown_stream_is_asked_for_a_few_entries(void **state)
{
    (void)state;
    assert_int_equal(p.page, PAGE_FIRST);
    assert_int_equal(p.entry_bytes, 0);
}

static void the_page_grows_only_while_pages_come_back_full(void **state)
{
    (void)state;
    paging_learn(&p, 2, 200, false);
    assert_int_equal(p.page, PAGE_FIRST);
    full_page_of(100);
    assert_in_range(p.page, 2 * PAGE_FIRST, PAGE_MAX);
    full_page_of(100);
    assert_int_equal(p.page, PAGE_MAX);
}

static void a_page_of_known_entries_brings_about_page_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        full_page_of(PAGE_BYTES / 64);
    assert_int_equal(p.page, 64);
}

static void a_page_of_huge_entries_is_one_new_entry(void **state)
{
    (void)state;
    full_page_of(100 * PAGE_BYTES);
    assert_int_equal(p.page, PAGE_MIN);
    full_page_of(100 * PAGE_BYTES);
    assert_int_equal(p.page, PAGE_MIN);
}

static void a_read_is_expected_to_bring_what_the_last_one_brought(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        full_page_of(10);
    assert_int_equal(p.expected, p.page);
    paging_learn(&p, 2, 20, false);
    assert_int_equal(p.expected, 3);
    assert_int_equal(p.page, PAGE_MAX);
}

static void an_answer_that_did_not_come_halves_the_page(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        full_page_of(10);
    paging_ask_less(&p);
    assert_int_equal(p.page, PAGE_MAX / 2);
    assert_int_equal(p.expected, PAGE_MAX / 2);
    for (int i = 0; i < 20; i++)
        paging_ask_less(&p);
    assert_int_equal(p.page, PAGE_MIN);
    full_page_of(10);
    assert_true(p.page > PAGE_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_unknown_stream_is_asked_for_a_few_entries, set_up),
        cmocka_unit_test_setup(the_page_grows_only_while_pages_come_back_full, set_up),
        cmocka_unit_test_setup(a_page_of_known_entries_brings_about_page_bytes, set_up),
        cmocka_unit_test_setup(a_page_of_huge_entries_is_one_new_entry, set_up),
        cmocka_unit_test_setup(a_read_is_expected_to_bring_what_the_last_one_brought, set_up),
        cmocka_unit_test_setup(an_answer_that_did_not_come_halves_the_page, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
