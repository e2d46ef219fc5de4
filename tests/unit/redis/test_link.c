#include "redis/link.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A link to a unix socket whose other end the test holds. Time is the test's own:
// `turn(ms)` lets so much of it pass, then hands out what the sockets have, then runs
// the deadlines. What the owner of the link hears is kept.

#define PATIENCE 1000 // reply_timeout_ms
#define PING_AFTER 3000

static struct loop loop;
static struct redis_url url;
static struct link *l;
static char path[64];
static int listener, peer;
static int ups, downs, replies, pushes;
static char down_why[320];
static size_t unfinished; // in the last `down`

static void came_up(void *ctx)
{
    (void)ctx;
    ups++;
}

static void went_down(void *ctx, const char *why)
{
    (void)ctx;
    downs++;
    snprintf(down_why, sizeof(down_why), "%s", why);
    unfinished = link_unfinished_bytes(l);
}

static void replied(void *ctx, struct view reply)
{
    (void)ctx;
    (void)reply;
    replies++;
}

static void (*when_pushed)(void);

static void pushed(void *ctx, struct view push)
{
    (void)ctx;
    (void)push;
    pushes++;
    if (when_pushed)
        when_pushed();
}

static void turn(int64_t ms)
{
    struct epoll_event events[8];
    loop.now_ms += ms;
    int n = epoll_wait(loop.epoll_fd, events, 8, 0);
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        w->ready(w, events[i].events);
    }
    LIST_EACH (node, &loop.queues)
        deadline_queue_run(LIST_ITEM(node, struct deadline_queue, of_loop), loop.now_ms);
}

// The other end takes what has come, `max` bytes at most.
static size_t peer_takes(size_t max)
{
    static char bytes[64 * KIB];
    size_t total = 0;
    ssize_t n;
    while (total < max) {
        size_t want = max - total < sizeof(bytes) ? max - total : sizeof(bytes);
        if ((n = recv(peer, bytes, want, MSG_DONTWAIT)) <= 0)
            break;
        total += (size_t)n;
    }
    return total;
}

static void peer_says(const char *bytes)
{
    assert_int_equal(send(peer, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

static void peer_answers_the_greeting(void)
{
    turn(0); // connected: HELLO
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    assert_true(peer_takes(SIZE_MAX) > 0);
    peer_says("%1\r\n+version\r\n+7.0.15\r\n");
    turn(0); // PING
    assert_true(peer_takes(SIZE_MAX) > 0);
    peer_says("+PONG\r\n");
    turn(0);
    assert_true(link_is_up(l));
}

// The link's attempt to connect is under way.
static void begin(void)
{
    ups = downs = replies = pushes = 0;
    down_why[0] = '\0';
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    strcpy(at.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 8), 0);

    static const struct link_events events = {
        .up = came_up, .down = went_down, .reply = replied, .push = pushed
    };
    const struct link_options options = {
        .connect_timeout_ms = PATIENCE,
        .reply_timeout_ms = PATIENCE,
        .ping_ms = PING_AFTER,
        .backoff_min_ms = 10,
        .backoff_max_ms = 10,
        .input_max = MIB,
    };
    const char *why = NULL;
    assert_true(loop_init(&loop));
    l = link_new(&loop, &url, &options, &events, NULL, &why);
    assert_non_null(l);
    link_start(l);
    turn(1);
}

static int start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as main does
    snprintf(path, sizeof(path), "/tmp/bond-test-link-%d", (int)getpid());
    url = (struct redis_url){ .unix_socket = true, .host = path };
    begin();
    peer_answers_the_greeting();
    assert_int_equal(ups, 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    link_free(l);
    loop_done(&loop);
    close(peer);
    close(listener);
    return unlink(path);
}

static void owner_asks(void)
{
    link_command(l, 1, (const struct view[]){ VIEW("TIME") });
    link_flush(l);
    turn(0);
}

static void is_cut(const char *why)
{
    assert_int_equal(downs, 1);
    assert_string_equal(down_why, why);
    assert_false(link_is_up(l));
}

#define SILENT "Redis has not answered for 1000 ms"

// ---- an answer's time -------------------------------------------------------

static void an_answer_may_take_long_while_it_flows(void **state)
{
    (void)state;
    owner_asks();
    peer_says("*2\r\n$3\r\none\r\n$20\r\n");
    for (int i = 0; i < 20; i++) {
        turn(PATIENCE - 1);
        peer_says("x");
        turn(0);
    }
    assert_int_equal(replies, 0);
    assert_true(link_unfinished_bytes(l) > 20);
    peer_says("\r\n");
    turn(PATIENCE - 1);
    assert_int_equal(replies, 1);
    assert_int_equal(link_unfinished_bytes(l), 0);
    assert_int_equal(downs, 0);
}

static void an_answer_that_ceases_to_flow_is_cut(void **state)
{
    (void)state;
    owner_asks();
    turn(PATIENCE / 2);
    peer_says("$100\r\nabc");
    turn(0);
    turn(PATIENCE - 1);
    assert_int_equal(downs, 0);
    turn(1);
    is_cut(SILENT);
    assert_int_equal(unfinished, 9); // the owner learns that it was on its way
}

static void an_answer_that_does_not_begin_is_cut(void **state)
{
    (void)state;
    owner_asks();
    turn(PATIENCE - 1);
    assert_int_equal(downs, 0);
    turn(1);
    is_cut(SILENT);
    assert_int_equal(unfinished, 0);
}

static void each_answer_gives_the_next_one_time(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        owner_asks();
    for (int i = 0; i < 5; i++) {
        turn(PATIENCE - 1);
        peer_says("+OK\r\n");
        turn(0);
    }
    assert_int_equal(replies, 5);
    assert_int_equal(downs, 0);
}

static void pushes_answer_nothing(void **state)
{
    (void)state;
    owner_asks();
    turn(PATIENCE / 2);
    peer_says(">1\r\n+invalidate\r\n>1\r\n+inv");
    turn(0);
    turn(PATIENCE / 2);
    assert_int_equal(pushes, 1);
    is_cut(SILENT);
}

static void an_answer_that_is_too_long_is_cut_as_unfinished(void **state)
{
    (void)state;
    static char bytes[64 * KIB];
    memset(bytes, 'x', sizeof(bytes));
    owner_asks();
    peer_says("$2000000\r\n");
    for (int i = 0; i < 17 && downs == 0; i++) {
        send(peer, bytes, sizeof(bytes), MSG_NOSIGNAL);
        turn(0);
    }
    is_cut("a reply is longer than 1048576 bytes");
    assert_true(unfinished > MIB);
}

// ---- a command's time -------------------------------------------------------

static void a_long_command_may_take_long_while_it_leaves(void **state)
{
    (void)state;
    size_t len = 4 * MIB, taken = 0;
    char *value = must_alloc(len);
    memset(value, 'v', len);
    link_command(l, 2, (const struct view[]){ VIEW("ECHO"), { value, len } });
    link_flush(l);
    while (taken < len) {
        turn(PATIENCE - 1);
        taken += peer_takes(256 * KIB);
        turn(0); // what the socket has room for now
        assert_int_equal(downs, 0);
    }
    turn(PATIENCE); // it has left: now the answer is due
    is_cut(SILENT);
    free(value);
}

static void a_server_that_hangs_is_cut_though_its_kernel_takes_commands(void **state)
{
    (void)state;
    for (int i = 0; i < 5 && downs == 0; i++) {
        owner_asks();
        turn(PATIENCE / 4);
    }
    is_cut(SILENT);
}

// ---- silence ----------------------------------------------------------------

static void after_silence_it_pings(void **state)
{
    (void)state;
    turn(PING_AFTER - 1);
    assert_int_equal(peer_takes(SIZE_MAX), 0);
    turn(1);
    assert_int_equal(peer_takes(SIZE_MAX), strlen("*1\r\n$4\r\nPING\r\n"));
    peer_says("+PONG\r\n");
    turn(PATIENCE - 1);
    assert_int_equal(downs + replies, 0); // nobody else's business
    turn(PING_AFTER);
    turn(PATIENCE);
    is_cut(SILENT);
}

static void after_a_cut_it_connects_again(void **state)
{
    (void)state;
    owner_asks();
    peer_says("$100\r\nabc");
    turn(0);
    peer_takes(SIZE_MAX); // or the hang-up were a reset
    close(peer);
    turn(0);
    is_cut("Redis closed the connection");
    assert_int_equal(unfinished, 9);
    turn(10);
    peer_answers_the_greeting();
    assert_int_equal(ups, 2);
    assert_int_equal(link_unfinished_bytes(l), 0);
    owner_asks();
    peer_says("+OK\r\n");
    turn(0);
    assert_int_equal(replies, 1);
}

// ---- what is no Redis ---------------------------------------------------------

static void comes_back_and_hears(const char *bytes)
{
    close(peer);
    turn(0);
    turn(10);
    turn(0); // connected: HELLO
    peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    peer_says(bytes);
    downs = 0;
    turn(0);
}

static void a_server_that_speaks_tls_is_told_by_its_alert(void **state)
{
    (void)state;
    comes_back_and_hears("\x15\x03\x01");
    is_cut("the server speaks TLS: rediss:// instead of redis://?");
}

static void a_server_that_speaks_something_else(void **state)
{
    (void)state;
    comes_back_and_hears("SSH-2.0-OpenSSH_9.2\r\n");
    is_cut("what answers there is no Redis");
}

// ---- a server that sends without end --------------------------------------------

#define RECORD (16 * KIB)
#define RECORDS_MAX 4096

static SSL *peer_tls;
static char push[RECORD + 1];

static SSL_CTX *peer_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX_use_certificate(context, cert);
    SSL_CTX_use_PrivateKey(context, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return context;
}

// While one is handed out, the next one comes; without end, but that a test has one.
static void send_the_next(void)
{
    if (pushes < RECORDS_MAX)
        assert_int_equal(SSL_write(peer_tls, push, RECORD), RECORD);
}

static void shake_hands_and_greet(void)
{
    char bytes[512];
    for (int i = 0; i < 10 && SSL_do_handshake(peer_tls) != 1; i++)
        turn(0);
    turn(0);
    assert_true(SSL_read(peer_tls, bytes, sizeof(bytes)) > 0); // HELLO
    assert_int_equal(SSL_write(peer_tls, "%0\r\n", 4), 4);
    turn(0);
    assert_true(SSL_read(peer_tls, bytes, sizeof(bytes)) > 0); // PING
    assert_int_equal(SSL_write(peer_tls, "+PONG\r\n", 7), 7);
    turn(0);
    assert_true(link_is_up(l));
}

static void a_server_that_sends_without_end_ends_no_turn_late(void **state)
{
    (void)state;
    stop(state);
    url = (struct redis_url){ .unix_socket = true, .tls = true, .host = path };
    begin();
    peer = accept(listener, NULL, NULL);
    assert_int_equal(fcntl(peer, F_SETFL, O_NONBLOCK), 0);
    SSL_CTX *context = peer_context();
    peer_tls = SSL_new(context);
    SSL_set_fd(peer_tls, peer);
    SSL_set_accept_state(peer_tls);
    shake_hands_and_greet();

    int header = snprintf(push, sizeof(push), ">1\r\n$%d\r\n", (int)(RECORD - 14));
    assert_int_equal(header, 12);
    memset(push + header, 'x', RECORD - 14);
    memcpy(push + RECORD - 2, "\r\n", 2);
    when_pushed = send_the_next;
    send_the_next();
    turn(0);
    int first_turn = pushes;
    assert_true(first_turn >= 16 && (size_t)first_turn * RECORD <= 5 * MIB);
    turn(0); // nothing is forgotten
    assert_true(pushes > first_turn);
    when_pushed = NULL;
    SSL_free(peer_tls);
    SSL_CTX_free(context);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_may_take_long_while_it_flows),
        TEST(an_answer_that_ceases_to_flow_is_cut),
        TEST(an_answer_that_does_not_begin_is_cut),
        TEST(each_answer_gives_the_next_one_time),
        TEST(pushes_answer_nothing),
        TEST(an_answer_that_is_too_long_is_cut_as_unfinished),
        TEST(a_long_command_may_take_long_while_it_leaves),
        TEST(a_server_that_hangs_is_cut_though_its_kernel_takes_commands),
        TEST(after_silence_it_pings),
        TEST(after_a_cut_it_connects_again),
        TEST(a_server_that_speaks_tls_is_told_by_its_alert),
        TEST(a_server_that_speaks_something_else),
        TEST(a_server_that_sends_without_end_ends_no_turn_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
