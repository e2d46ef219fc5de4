#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 5000

struct stream {
    int number;
    struct table_node by_id;
    char id[32];
};

static struct table t;

static int set_up(void **state)
{
    (void)state;
    table_init(&t);
    return 0;
}

static struct stream *found(struct view key)
{
    struct table_node *node = table_find(&t, key);
    return node ? TABLE_ITEM(node, struct stream, by_id) : NULL;
}

static void add(struct stream *s, struct view key)
{
    assert_null(table_find(&t, key));
    table_add(&t, &s->by_id, key);
}

static void take_all_out(void)
{
    for (struct table_node *node; (node = table_any(&t));)
        table_remove(&t, node);
}

static void an_empty_one_has_nothing(void **state)
{
    (void)state;
    assert_int_equal(t.len, 0);
    assert_null(table_any(&t));
    assert_null(table_find(&t, VIEW("a")));
    assert_null(table_find(&t, VIEW("")));
    table_done(&t);
}

static void what_was_added_is_found_until_it_is_removed(void **state)
{
    (void)state;
    struct stream a = { .number = 1 }, b = { .number = 2 };
    add(&a, VIEW("a"));
    add(&b, VIEW("b"));
    assert_int_equal(t.len, 2);
    assert_ptr_equal(found(VIEW("a")), &a);
    assert_ptr_equal(found(VIEW("b")), &b);
    assert_true(view_eq(a.by_id.key, VIEW("a")));

    table_remove(&t, &a.by_id);
    assert_int_equal(t.len, 1);
    assert_null(found(VIEW("a")));
    assert_ptr_equal(found(VIEW("b")), &b);
    assert_ptr_equal(table_any(&t), &b.by_id);

    add(&a, VIEW("a")); // it may come back
    assert_ptr_equal(found(VIEW("a")), &a);
    take_all_out();
    table_done(&t);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    const struct view keys[] = { VIEW(""),     VIEW("\0"),   VIEW("\0\0"),    VIEW("a"),
                                 VIEW("a\0"),  VIEW("a\0b"), VIEW("a\0c"),    VIEW("A"),
                                 VIEW("\xff"), VIEW(" a"),   VIEW("stream:a") };
    struct stream streams[ARRAY_LEN(keys)];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        add(&streams[i], keys[i]);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        assert_ptr_equal(found(keys[i]), &streams[i]);
    assert_null(found(VIEW("a\0d")));
    take_all_out();
    table_done(&t);
}

static void a_key_is_found_wherever_its_bytes_lie(void **state)
{
    (void)state;
    struct stream s;
    char other[] = "xabcx";
    add(&s, VIEW("abc"));
    assert_ptr_equal(found((struct view){ other + 1, 3 }), &s);
    assert_null(found((struct view){ other + 1, 2 }));
    assert_null(found((struct view){ other + 1, 4 }));
    take_all_out();
    table_done(&t);
}

// A stream's id lies in the stream itself: the node goes with what it finds.
static struct stream *many_new(void)
{
    struct stream *many = must_alloc(MANY * sizeof(*many));
    for (int i = 0; i < MANY; i++) {
        many[i].number = i;
        snprintf(many[i].id, sizeof(many[i].id), "stream-%d", i);
        add(&many[i], view_of(many[i].id));
    }
    return many;
}

static void it_grows_with_what_it_holds(void **state)
{
    (void)state;
    struct stream *many = many_new();
    assert_int_equal(t.len, MANY);
    assert_true(t.slot_count >= MANY / 2);
    assert_int_equal(t.slot_count & (t.slot_count - 1), 0);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(found(view_of(many[i].id)), &many[i]);
    take_all_out();
    table_done(&t);
    free(many);
}

static void others_stay_when_one_is_removed(void **state)
{
    (void)state;
    struct stream *many = many_new();
    for (int i = 0; i < MANY; i += 3)
        table_remove(&t, &many[i].by_id);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(found(view_of(many[i].id)), i % 3 ? &many[i] : NULL);
    take_all_out();
    table_done(&t);
    free(many);
}

static void all_are_taken_out_once(void **state)
{
    (void)state;
    struct stream *many = many_new();
    bool seen[MANY] = { 0 };
    int count = 0;
    for (struct table_node *node; (node = table_any(&t)); count++) {
        struct stream *s = TABLE_ITEM(node, struct stream, by_id);
        assert_false(seen[s->number]);
        seen[s->number] = true;
        table_remove(&t, node);
    }
    assert_int_equal(count, MANY);
    assert_int_equal(t.len, 0);
    table_done(&t);
    free(many);
}

static void each_is_walked_once(void **state)
{
    (void)state;
    enum { SOME = 300 };
    static struct table_node nodes[SOME];
    static char keys[SOME][8];
    unsigned seen[SOME] = { 0 };
    TABLE_EACH (none, &t)
        fail();
    for (int i = 0; i < SOME; i++) {
        size_t len = (size_t)snprintf(keys[i], sizeof(keys[i]), "%d", i);
        table_add(&t, &nodes[i], (struct view){ keys[i], len });
    }
    TABLE_EACH (node, &t)
        seen[node - nodes]++;
    for (int i = 0; i < SOME; i++) {
        assert_int_equal(seen[i], 1);
        table_remove(&t, &nodes[i]);
    }
    table_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_one_has_nothing, set_up),
        cmocka_unit_test_setup(what_was_added_is_found_until_it_is_removed, set_up),
        cmocka_unit_test_setup(keys_are_bytes, set_up),
        cmocka_unit_test_setup(a_key_is_found_wherever_its_bytes_lie, set_up),
        cmocka_unit_test_setup(it_grows_with_what_it_holds, set_up),
        cmocka_unit_test_setup(others_stay_when_one_is_removed, set_up),
        cmocka_unit_test_setup(all_are_taken_out_once, set_up),
        cmocka_unit_test_setup(each_is_walked_once, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
