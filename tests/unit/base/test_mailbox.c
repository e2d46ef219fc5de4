#include "base/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define LETTERS 20000 // each sender's
#define SENDERS 2
#define BATCH_MAX 7

enum { LETTER_NUMBER, LETTER_LAST };

struct numbered {
    struct letter letter;
    int sender, number;
};

// The reader: its loop runs in the test's own thread.
struct reader {
    struct loop loop;
    struct mailbox mailbox;
    int next[SENDERS]; // the number that a sender's next letter must have
    int ended;
    bool would_sleep; // after the latest turn, nothing is ready
};

static void deliver(void *ctx, struct letter *letter)
{
    struct reader *r = ctx;
    struct numbered *n = CONTAINER_OF(letter, struct numbered, letter);
    assert_int_equal(n->number, r->next[n->sender]);
    r->next[n->sender]++;
    if (letter->kind == LETTER_LAST && ++r->ended == SENDERS)
        loop_stop(&r->loop);
    free(n);
}

static struct letter *letter_new(int sender, int number, int kind)
{
    struct numbered *n = must_alloc(sizeof(*n));
    *n = (struct numbered){ .letter.kind = kind, .sender = sender, .number = number };
    return &n->letter;
}

static void reader_init(struct reader *r)
{
    *r = (struct reader){ 0 };
    assert_true(loop_init(&r->loop));
    assert_true(mailbox_init(&r->mailbox, deliver, r));
    assert_true(mailbox_open(&r->mailbox, &r->loop));
}

static void reader_done(struct reader *r)
{
    mailbox_done(&r->mailbox);
    loop_done(&r->loop);
}

// Hands the loop what is ready now, and no more.
static void run_a_turn(struct reader *r)
{
    struct epoll_event events[4];
    int n = epoll_wait(r->loop.epoll_fd, events, 4, 0);
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        w->ready(w, events[i].events);
    }
    r->would_sleep = epoll_wait(r->loop.epoll_fd, events, 4, 0) == 0;
}

static void post_all(struct mailbox *to, struct list *letters)
{
    for (struct list *node; (node = list_pop(letters));)
        mailbox_post(to, LIST_ITEM(node, struct letter, node));
}

// ---- one thread -------------------------------------------------------------

static void letters_come_in_order(void **state)
{
    (void)state;
    struct reader r;
    struct list batch;
    reader_init(&r);
    list_init(&batch);

    mailbox_post(&r.mailbox, letter_new(0, 0, LETTER_NUMBER));
    list_push(&batch, &letter_new(0, 1, LETTER_NUMBER)->node);
    list_push(&batch, &letter_new(0, 2, LETTER_LAST)->node);
    post_all(&r.mailbox, &batch);
    mailbox_post(&r.mailbox, letter_new(1, 0, LETTER_LAST));

    loop_run(&r.loop);
    assert_int_equal(r.next[0], 3);
    assert_int_equal(r.next[1], 1);
    reader_done(&r);
}

static void letters_that_are_left_are_delivered_at_the_end(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r);
    mailbox_post(&r.mailbox, letter_new(0, 0, LETTER_NUMBER));
    mailbox_post(&r.mailbox, letter_new(0, 1, LETTER_NUMBER));
    assert_int_equal(r.next[0], 0);
    reader_done(&r);
    assert_int_equal(r.next[0], 2);
}

// One thread's letters must not keep its loop from everything else.
static void a_turn_delivers_a_bounded_number_of_letters(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r);
    int count = 3 * LETTERS_PER_TURN + 1;
    for (int i = 0; i < count; i++)
        mailbox_post(&r.mailbox, letter_new(0, i, LETTER_NUMBER));
    for (int turn = 1; turn <= 3; turn++) {
        run_a_turn(&r);
        assert_int_equal(r.next[0], turn * LETTERS_PER_TURN);
    }
    mailbox_post(&r.mailbox, letter_new(0, count, LETTER_NUMBER)); // behind the one that is left
    run_a_turn(&r);
    assert_int_equal(r.next[0], count + 1);
    assert_true(r.would_sleep);
    reader_done(&r);
}

static void what_a_turn_left_is_delivered_at_the_end_too(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r);
    for (int i = 0; i < 2 * LETTERS_PER_TURN; i++)
        mailbox_post(&r.mailbox, letter_new(0, i, LETTER_NUMBER));
    run_a_turn(&r);
    mailbox_post(&r.mailbox, letter_new(0, 2 * LETTERS_PER_TURN, LETTER_NUMBER));
    reader_done(&r);
    assert_int_equal(r.next[0], 2 * LETTERS_PER_TURN + 1);
}

static void the_weight_of_what_waits_is_known(void **state)
{
    (void)state;
    struct reader r;
    reader_init(&r);
    for (int i = 0; i < LETTERS_PER_TURN + 2; i++) {
        struct letter *letter = letter_new(0, i, LETTER_NUMBER);
        letter->weight = i % 2 ? 0 : 1000;
        mailbox_post(&r.mailbox, letter);
    }
    assert_int_equal(mailbox_weight(&r.mailbox), 1000 * (LETTERS_PER_TURN / 2 + 1));
    run_a_turn(&r); // one of the two that are left weighs something
    assert_int_equal(mailbox_weight(&r.mailbox), 1000);
    run_a_turn(&r);
    assert_int_equal(mailbox_weight(&r.mailbox), 0);
    reader_done(&r);
}

// ---- several threads --------------------------------------------------------

struct sender {
    struct mailbox *to;
    int id;
};

// In batches, so that the other sender and the reader come between.
static void *send_letters(void *arg)
{
    const struct sender *s = arg;
    struct list batch;
    list_init(&batch);
    for (int i = 0; i < LETTERS; i++) {
        int kind = i == LETTERS - 1 ? LETTER_LAST : LETTER_NUMBER;
        list_push(&batch, &letter_new(s->id, i, kind)->node);
        if (i % BATCH_MAX == s->id || kind == LETTER_LAST)
            post_all(s->to, &batch);
    }
    return NULL;
}

static void letters_of_several_threads_all_come(void **state)
{
    (void)state;
    struct reader r;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];

    reader_init(&r);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ &r.mailbox, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
    }
    loop_run(&r.loop); // until each sender's last letter has come
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(r.next[i], LETTERS);
    }
    reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_come_in_order),
        cmocka_unit_test(letters_that_are_left_are_delivered_at_the_end),
        cmocka_unit_test(a_turn_delivers_a_bounded_number_of_letters),
        cmocka_unit_test(what_a_turn_left_is_delivered_at_the_end_too),
        cmocka_unit_test(the_weight_of_what_waits_is_known),
        cmocka_unit_test(letters_of_several_threads_all_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
