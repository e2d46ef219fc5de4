#include "worker/requests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/clients.h"

// ---- how the tests speak ----------------------------------------------------
// A client over a socket pair asks; turn() lets the worker's loop go round once; `answered`
// counts the requests that were.

static struct loop loop;
static struct config config = {
    .handshake_seconds = 10, .ping_seconds = 10, .pong_seconds = 10, .ring_seconds = 60
};
static struct pulse pulse;
static struct metrics metrics;
static struct streams streams;
static struct patterns patterns;
static struct mailbox nobody;
static atomic_size_t total;
static struct clients all;
static int peer, answered, turns_left;

static void answer(struct client *c, const struct http_request *req)
{
    answered++;
    http_reply(client_reply(c), 200, VIEW("text/plain"), VIEW("x"), VIEW(""), req->keep_alive);
}

static bool before_sleep(void *ctx)
{
    (void)ctx;
    clients_flush(&all);
    if (turns_left-- == 0)
        loop_stop(&loop);
    return true;
}

static void turn(void)
{
    turns_left = 1;
    loop.stopping = false;
    loop_run(&loop);
}

static int set_up(void **state)
{
    int ends[2];
    (void)state;
    answered = 0;
    assert_true(loop_init(&loop));
    loop.before_sleep = before_sleep;
    streams_init(&streams, &nobody, &nobody);
    patterns_init(&patterns, &nobody, &nobody);
    all = (struct clients){ .loop = &loop,
                            .config = &config,
                            .pulse = &pulse,
                            .metrics = &metrics,
                            .streams = &streams,
                            .patterns = &patterns,
                            .total = &total,
                            .max = 10,
                            .outbox_bytes = MIB,
                            .answer = answer };
    clients_init(&all);
    clients_start(&all);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    assert_true(clients_add(&all, ends[0], false));
    peer = ends[1];
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(peer);
    clients_done(&all);
    patterns_done(&patterns);
    streams_done(&streams);
    loop_done(&loop);
    return total != 0;
}

static void ask(int count)
{
    const struct view request = VIEW("GET / HTTP/1.1\r\nHost:\r\n\r\n");
    for (int i = 0; i < count; i++)
        assert_int_equal(send(peer, request.at, request.len, 0), request.len);
}

// ---- the others' turn -------------------------------------------------------

static void of_many_requests_a_few_are_answered_in_a_turn(void **state)
{
    (void)state;
    ask(100);
    for (int before = 0; answered < 100; before = answered) {
        turn();
        assert_in_range(answered - before, 0, 16);
    }
}

static void all_are_answered_though_the_peer_has_closed_its_side(void **state)
{
    char reply[64 * KIB];
    (void)state;
    ask(100);
    shutdown(peer, SHUT_WR);
    while (all.count > 0)
        turn();
    assert_int_equal(answered, 100);
    assert_true(recv(peer, reply, sizeof(reply), 0) > 100 * 40);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(of_many_requests_a_few_are_answered_in_a_turn),
        TEST(all_are_answered_though_the_peer_has_closed_its_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
