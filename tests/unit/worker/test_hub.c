#include "worker/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// Streams are made by hand: nobody follows them, since the last client never leaves.

#define MANY 2000

static struct hub *h;
static struct streams all;
static struct stream streams[MANY];

static int set_up(void **state)
{
    (void)state;
    h = hub_new(NULL, FORM_ENVELOPE);
    for (size_t i = 0; i < MANY; i++) {
        streams[i] = (struct stream){ .all = &all, .clients = 1 };
        list_init(&streams[i].seats_waiting);
        list_init(&streams[i].seats_idle);
        list_init(&streams[i].seats_ready);
        list_init(&streams[i].paces);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hub_free(h);
    for (size_t i = 0; i < MANY; i++)
        if (streams[i].clients != 1 || !list_empty(&streams[i].seats_waiting))
            return 1;
    return all.listeners == 0 ? 0 : 1;
}

// ---- seats by stream --------------------------------------------------------

static void it_finds_the_seat_of_a_stream(void **state)
{
    (void)state;
    assert_null(hub_find(h, &streams[0]));
    struct seat *seat = hub_sit(h, &streams[0]);
    assert_ptr_equal(hub_find(h, &streams[0]), seat);
    assert_null(hub_find(h, &streams[1]));
    assert_int_equal(streams[0].clients, 2);
    hub_leave(seat);
    assert_null(hub_find(h, &streams[0]));
    assert_int_equal(streams[0].clients, 1);
}

static void any_order_of_coming_and_going(void **state)
{
    (void)state;
    bool sits[MANY] = { 0 };
    size_t count = 0;
    unsigned random = 11;
    for (int step = 0; step < 200000; step++) {
        random = random * 1103515245 + 12345;
        size_t i = (random >> 8) % MANY;
        struct seat *seat = hub_find(h, &streams[i]);
        assert_int_equal(seat != NULL, sits[i]);
        if (seat)
            hub_leave(seat);
        else
            hub_sit(h, &streams[i]);
        count += seat ? -1 : 1;
        sits[i] = !sits[i];
        assert_int_equal(h->count, count);
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(hub_find(h, &streams[i]) != NULL, sits[i]);
}

static void a_seat_costs_96_bytes_at_most(void **state)
{
    (void)state;
    for (size_t i = 0; i < 1024; i++)
        hub_sit(h, &streams[i]);
    size_t slots = h->slot_count * sizeof(struct seat *);
    size_t allocated = sizeof(struct seat) + 8; // the allocator's own word
    assert_true(allocated + slots / 1024 <= 96);
}

// ---- who has something to send ----------------------------------------------

static void ready_seats_are_counted_once(void **state)
{
    (void)state;
    struct seat *a = hub_sit(h, &streams[0]), *b = hub_sit(h, &streams[1]);
    a->begun = true;
    seat_mark_ready(a);
    seat_mark_ready(a);
    seat_mark_ready(b);
    assert_int_equal(h->ready_count, 2);
    assert_ptr_equal(streams[0].seats_ready.next, &a->node);
    assert_ptr_equal(streams[1].seats_waiting.next, &b->node); // it has no place yet
    seat_mark_done(a);
    seat_mark_done(a);
    assert_int_equal(h->ready_count, 1);
    assert_ptr_equal(streams[0].seats_idle.next, &a->node);
    hub_leave(b);
    assert_int_equal(h->ready_count, 0);
}

static void an_ending_remembers_what_is_to_be_said(void **state)
{
    (void)state;
    struct stream *s = malloc(sizeof(*s) + 4);
    *s = (struct stream){ .all = &all, .clients = 1, .id_len = 3 };
    memcpy(s->key, "\2btc", 4);
    list_init(&s->seats_waiting);
    list_init(&s->paces);
    hub_end(hub_sit(h, s), 1011, VIEW("because"), (struct eventid){ 7, 1 }, VIEW("r"));
    assert_null(hub_find(h, s));
    free(s); // the ending has its own copy
    struct ending *e = LIST_ITEM(h->endings.next, struct ending, node);
    assert_int_equal(e->code, 1011);
    assert_memory_equal(e->name, "btc", 3);
    assert_memory_equal(e->reason, "because", 7);
    assert_true(e->has_ref && e->ref_len == 1);
    assert_int_equal(e->last.ms, 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_finds_the_seat_of_a_stream),          TEST(any_order_of_coming_and_going),
        TEST(a_seat_costs_96_bytes_at_most),          TEST(ready_seats_are_counted_once),
        TEST(an_ending_remembers_what_is_to_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
