#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct item {
    char name;
    struct list node;
};

static struct list head, other;
static struct item a, b, c;

static int set_up(void **state)
{
    (void)state;
    list_init(&head);
    list_init(&other);
    a.name = 'a', b.name = 'b', c.name = 'c';
    list_init(&a.node);
    list_init(&b.node);
    list_init(&c.node);
    return 0;
}

static void push_all(void)
{
    list_push(&head, &a.node);
    list_push(&head, &b.node);
    list_push(&head, &c.node);
}

static void assert_names(struct list *l, const char *expected)
{
    char forward[8] = "", backward[8] = "";
    size_t n = 0;
    LIST_EACH (node, l)
        forward[n++] = LIST_ITEM(node, struct item, node)->name;
    assert_string_equal(forward, expected);

    for (struct list *node = l->prev; node != l; node = node->prev)
        backward[--n] = LIST_ITEM(node, struct item, node)->name;
    assert_string_equal(backward, expected);
}

static void a_new_list_is_empty(void **state)
{
    (void)state;
    assert_true(list_empty(&head));
    assert_null(list_pop(&head));
    assert_names(&head, "");
}

static void nodes_are_pushed_at_the_tail_and_popped_at_the_head(void **state)
{
    (void)state;
    push_all();
    assert_names(&head, "abc");
    assert_ptr_equal(list_pop(&head), &a.node);
    assert_true(list_empty(&a.node)); // it links to itself
    assert_names(&head, "bc");
}

static void a_node_leaves_without_knowing_its_list(void **state)
{
    (void)state;
    push_all();
    list_remove(&b.node);
    assert_names(&head, "ac");
    list_remove(&b.node); // safe twice
    list_remove(&a.node);
    list_remove(&c.node);
    assert_names(&head, "");
}

static void a_node_moves_to_the_tail(void **state)
{
    (void)state;
    push_all();
    list_move(&head, &a.node);
    assert_names(&head, "bca");
    list_move(&head, &a.node);
    assert_names(&head, "bca");
    list_move(&other, &c.node);
    assert_names(&head, "ba");
    assert_names(&other, "c");
}

static void a_whole_list_goes_behind_another(void **state)
{
    (void)state;
    list_push(&head, &a.node);
    list_push(&other, &b.node);
    list_push(&other, &c.node);
    list_take_all(&head, &other);
    assert_names(&head, "abc");
    assert_names(&other, "");
    list_take_all(&head, &other);
    assert_names(&head, "abc");
    list_take_all(&other, &head);
    assert_names(&other, "abc");
}

static void a_node_may_leave_while_the_list_is_walked(void **state)
{
    (void)state;
    push_all();
    LIST_EACH (node, &head)
        list_move(&other, node);
    assert_names(&head, "");
    assert_names(&other, "abc");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_new_list_is_empty, set_up),
        cmocka_unit_test_setup(nodes_are_pushed_at_the_tail_and_popped_at_the_head, set_up),
        cmocka_unit_test_setup(a_node_leaves_without_knowing_its_list, set_up),
        cmocka_unit_test_setup(a_node_moves_to_the_tail, set_up),
        cmocka_unit_test_setup(a_whole_list_goes_behind_another, set_up),
        cmocka_unit_test_setup(a_node_may_leave_while_the_list_is_walked, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
