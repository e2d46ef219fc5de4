#include "redis/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// What is dialled is a listener of the test's own, on 127.0.0.1; nobody listens on
// 127.0.0.2. The resolver is the test's too: it answers at once, or hangs on a pipe until
// the test releases it. `step` waits until the watch is ready and goes one step.

#define TIMEOUT 1000

static struct loop loop;
static struct watch watch;
static struct dial dial;
static int listener, port;
static uint32_t ready_events;
static int released[2]; // a byte for each lookup that hangs
static atomic_int lookups;
static _Atomic(const char *)
    answer; // what names lead to: addresses with spaces between; NULL: nowhere

static void note_ready(struct watch *w, uint32_t events)
{
    assert_ptr_equal(w, &watch);
    ready_events = events;
}

// Chained as getaddrinfo chains them; freeaddrinfo frees one by one.
static int resolve(const char *host, const char *service, const struct addrinfo *hints,
                   struct addrinfo **found)
{
    char address[INET_ADDRSTRLEN];
    int used = 0;
    (void)host;
    atomic_fetch_add(&lookups, 1);
    if (!answer)
        return EAI_NONAME;
    for (const char *at = answer; sscanf(at, "%15s%n", address, &used) == 1; at += used) {
        if (getaddrinfo(address, service, hints, found) != 0)
            return EAI_FAIL;
        found = &(*found)->ai_next;
    }
    return 0;
}

static int resolve_when_released(const char *host, const char *service,
                                 const struct addrinfo *hints, struct addrinfo **found)
{
    char byte;
    CHECK(read(released[0], &byte, 1) == 1);
    return resolve(host, service, hints, found);
}

static void release(void)
{
    assert_int_equal(write(released[1], "", 1), 1);
}

static void dial_with(lookup_resolver *resolver)
{
    const struct dial_options options = {
        .loop = &loop, .watch = &watch, .timeout_ms = TIMEOUT, .resolver = resolver
    };
    dial_init(&dial, &options);
}

static int start(void **state)
{
    (void)state;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(at);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    port = ntohs(at.sin_port);

    assert_true(loop_init(&loop));
    assert_int_equal(pipe(released), 0);
    watch.ready = note_ready;
    lookups = 0;
    answer = "127.0.0.1";
    dial_with(resolve);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    dial_done(&dial);
    loop_done(&loop);
    close(listener);
    close(released[0]);
    close(released[1]);
    return 0;
}

static enum dial_result step(void)
{
    struct epoll_event event;
    assert_int_equal(epoll_wait(loop.epoll_fd, &event, 1, 60000), 1);
    struct watch *w = event.data.ptr;
    w->ready(w, event.events);
    return dial_ready(&dial, ready_events);
}

static bool anything_to_do(void)
{
    struct epoll_event event;
    return epoll_wait(loop.epoll_fd, &event, 1, 0) > 0;
}

static void comes_up(enum dial_result result)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    while (result == DIAL_MORE)
        result = step();
    if (result == DIAL_FAILED)
        fail_msg("%s", dial.why);
    int fd = dial_take(&dial);
    assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &len), 0);
    assert_true(anything_to_do()); // it can be written: the caller's watch goes on
    loop_unwatch(&loop, fd);
    close(fd);
}

static void fails(enum dial_result result, const char *why)
{
    while (result == DIAL_MORE)
        result = step();
    assert_int_equal(result, DIAL_FAILED);
    assert_string_equal(dial.why, why);
    assert_false(anything_to_do());
}

// ---- addresses --------------------------------------------------------------

static void an_address_is_dialled_without_a_lookup(void **state)
{
    (void)state;
    comes_up(dial_host(&dial, "127.0.0.1", port));
    assert_int_equal(lookups, 0);
}

static void a_name_is_looked_up(void **state)
{
    (void)state;
    comes_up(dial_host(&dial, "redis.example", port));
    comes_up(dial_host(&dial, "redis.example", port)); // again each time: it may have moved
    assert_int_equal(lookups, 2);
}

static void getaddrinfo_is_the_resolver_unless_another_is_given(void **state)
{
    (void)state;
    dial_with(NULL);
    comes_up(dial_host(&dial, "localhost", port)); // ::1 first, maybe: nobody listens there
}

static void a_name_that_is_unknown(void **state)
{
    (void)state;
    answer = NULL;
    fails(dial_host(&dial, "redis.example", port),
          "cannot resolve the host name: Name or service not known");
}

static void addresses_are_tried_in_order(void **state)
{
    (void)state;
    answer = "127.0.0.2 127.0.0.3 127.0.0.1";
    comes_up(dial_host(&dial, "redis.example", port));
}

static void the_last_addresss_error_is_the_attempts(void **state)
{
    (void)state;
    answer = "127.0.0.2 127.0.0.3";
    fails(dial_host(&dial, "redis.example", port), "cannot connect: Connection refused");
}

static void an_address_that_does_not_answer_is_passed_over(void **state)
{
    (void)state;
    answer = "127.0.0.2 127.0.0.1";
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    assert_int_equal(step(), DIAL_MORE); // resolved; the first is being connected
    loop.now_ms = dial.due_ms;
    enum dial_result result = dial_late(&dial);
    assert_int_equal(dial.due_ms, loop.now_ms + TIMEOUT); // each has its own time
    comes_up(result);
}

static void one_that_does_not_answer_at_all(void **state)
{
    (void)state;
    assert_int_equal(dial_host(&dial, "127.0.0.1", port), DIAL_MORE);
    fails(dial_late(&dial), "cannot connect: no answer in 1000 ms");
}

static void the_address_of_another_connection(void **state)
{
    (void)state;
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    comes_up(dial_address(&dial, (struct sockaddr *)&at, sizeof(at)));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    fails(dial_address(&dial, (struct sockaddr *)&at, sizeof(at)),
          "cannot connect: Connection refused");
}

static void unix_sockets(void **state)
{
    (void)state;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char long_path[sizeof(at.sun_path) + 1];
    snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/bond-test-dial-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    fails(dial_unix(&dial, at.sun_path), "cannot connect: Connection refused");
    assert_int_equal(listen(fd, 8), 0);
    comes_up(dial_unix(&dial, at.sun_path));
    close(fd);
    unlink(at.sun_path);
    fails(dial_unix(&dial, at.sun_path), "cannot connect: No such file or directory");

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    fails(dial_unix(&dial, long_path), "cannot connect: File name too long");
}

// ---- a resolver that hangs --------------------------------------------------

#define NO_ANSWER "cannot resolve the host name: no answer in 1000 ms"

// Until the thread has ended, so that what comes next is sure.
static void wait_for_lookup(void)
{
    while (!lookup_ended(dial.lookup))
        usleep(1000);
}

static void the_loop_turns_while_the_resolver_hangs(void **state)
{
    (void)state;
    uint64_t one = 1;
    struct watch other = { .ready = note_ready };
    dial_with(resolve_when_released);
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    assert_int_equal(dial.due_ms, loop.now_ms + TIMEOUT);
    assert_false(anything_to_do());

    int fd = eventfd(0, EFD_CLOEXEC);
    assert_true(loop_watch(&loop, fd, &other, EPOLLIN));
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
    assert_true(anything_to_do()); // another's event is handed out
    close(fd);

    release();
    comes_up(DIAL_MORE);
}

static void one_that_hangs_is_not_piled_upon(void **state)
{
    (void)state;
    dial_with(resolve_when_released);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
        loop.now_ms = dial.due_ms;
        fails(dial_late(&dial), NO_ANSWER);
    }
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    release(); // one byte, for one lookup
    comes_up(DIAL_MORE);
    assert_int_equal(lookups, 1);
}

static void a_good_answer_that_came_late_serves_the_next_attempt(void **state)
{
    (void)state;
    dial_with(resolve_when_released);
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    fails(dial_late(&dial), NO_ANSWER);
    release();
    wait_for_lookup();
    assert_false(anything_to_do()); // nobody waits for it now
    comes_up(dial_host(&dial, "redis.example", port));
    assert_int_equal(lookups, 1);
}

static void a_bad_answer_that_came_late_does_not(void **state)
{
    (void)state;
    answer = NULL;
    dial_with(resolve_when_released);
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    fails(dial_late(&dial), NO_ANSWER);
    release();
    wait_for_lookup();
    answer = "127.0.0.1";
    release();
    comes_up(dial_host(&dial, "redis.example", port));
    assert_int_equal(lookups, 2);
}

// The thread goes on with what is its own; its answer finds nobody.
static void a_dial_may_end_while_the_resolver_hangs(void **state)
{
    (void)state;
    for (int is_stopped_first = 0; is_stopped_first <= 1; is_stopped_first++) {
        dial_with(resolve_when_released);
        assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
        if (is_stopped_first)
            dial_stop(&dial);
        dial_done(&dial);
        memset(&dial, 0xff, sizeof(dial));
        release();
    }
    while (lookups < 2) // or the pipe is closed before they have read it
        usleep(1000);
    assert_false(anything_to_do());
    dial_with(resolve);
}

static void a_dial_may_end_before_it_hears_the_answer(void **state)
{
    (void)state;
    assert_int_equal(dial_host(&dial, "redis.example", port), DIAL_MORE);
    wait_for_lookup();
    dial_done(&dial); // frees the addresses, too
    assert_false(anything_to_do());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_address_is_dialled_without_a_lookup),
        TEST(a_name_is_looked_up),
        TEST(getaddrinfo_is_the_resolver_unless_another_is_given),
        TEST(a_name_that_is_unknown),
        TEST(addresses_are_tried_in_order),
        TEST(the_last_addresss_error_is_the_attempts),
        TEST(an_address_that_does_not_answer_is_passed_over),
        TEST(one_that_does_not_answer_at_all),
        TEST(the_address_of_another_connection),
        TEST(unix_sockets),
        TEST(the_loop_turns_while_the_resolver_hangs),
        TEST(one_that_hangs_is_not_piled_upon),
        TEST(a_good_answer_that_came_late_serves_the_next_attempt),
        TEST(a_bad_answer_that_came_late_does_not),
        TEST(a_dial_may_end_while_the_resolver_hangs),
        TEST(a_dial_may_end_before_it_hears_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
