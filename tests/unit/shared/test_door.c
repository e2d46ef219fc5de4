#include "shared/door.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define REMEMBERED 16384 // addresses that nothing of is open
#define FREE_TOKENS 10   // bad ones at once; then one a second
#define HELD 32          // refusals held back at once for one address

static struct door door;

static int set_up(void **state)
{
    (void)state;
    door_init(&door);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    door_done(&door);
    return 0;
}

// ---- addresses --------------------------------------------------------------

// A connection to ourselves; the accepted end, whose peer has that address. -1: this
// machine has no such address.
static int connect_from(int family, struct sockaddr *address, socklen_t len)
{
    int listening = socket(family, SOCK_STREAM, 0), connected = socket(family, SOCK_STREAM, 0);
    int accepted = -1;
    if (listening >= 0 && connected >= 0 && bind(listening, address, len) == 0 &&
        listen(listening, 1) == 0 && getsockname(listening, address, &len) == 0 &&
        connect(connected, address, len) == 0)
        accepted = accept(listening, NULL, NULL);
    close(listening);
    close(connected);
    return accepted;
}

static int from_ipv4(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = connect_from(AF_INET, (struct sockaddr *)&a, sizeof(a));
    assert_true(fd >= 0);
    return fd;
}

static int from_ipv6(void)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    return connect_from(AF_INET6, (struct sockaddr *)&a, sizeof(a));
}

static void assert_address(int fd, const char *forwarded_for, int64_t hops, const char *expected)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a = door_address(fd, view_of(forwarded_for), hops);
    assert_non_null(inet_ntop(AF_INET6, &a, text, sizeof(text)));
    assert_string_equal(text, expected);
}

static void without_proxies_it_is_the_peers(void **state)
{
    (void)state;
    int fd = from_ipv4();
    assert_address(fd, "", 0, "::ffff:127.0.0.1");
    assert_address(fd, "9.9.9.9", 0, "::ffff:127.0.0.1"); // anybody may write that
    assert_address(fd, "", 1, "::ffff:127.0.0.1");
    close(fd);
}

static void a_connection_that_is_gone_has_none(void **state)
{
    (void)state;
    int fd = from_ipv4();
    close(fd);
    assert_address(fd, "", 0, "::");
}

static void an_ipv6_peer_counts_by_its_network(void **state)
{
    (void)state;
    int fd = from_ipv6();
    if (fd < 0)
        skip();
    assert_address(fd, "", 0, "::"); // of ::1
    close(fd);
}

static void the_outermost_trusted_proxy_wrote_the_address(void **state)
{
    (void)state;
    int fd = from_ipv4();
    assert_address(fd, "1.1.1.1", 1, "::ffff:1.1.1.1");
    assert_address(fd, "1.1.1.1, 2.2.2.2, 3.3.3.3", 1, "::ffff:3.3.3.3");
    assert_address(fd, "1.1.1.1, 2.2.2.2, 3.3.3.3", 2, "::ffff:2.2.2.2");
    assert_address(fd, "1.1.1.1, 2.2.2.2, 3.3.3.3", 3, "::ffff:1.1.1.1");
    assert_address(fd, "1.1.1.1,2.2.2.2", 1, "::ffff:2.2.2.2");
    assert_address(fd, " 1.1.1.1 ,\t2.2.2.2 ", 2, "::ffff:1.1.1.1");
    close(fd);
}

static void what_a_client_makes_up_does_not_count(void **state)
{
    (void)state;
    int fd = from_ipv4();
    assert_address(fd, "6.6.6.6, 1.1.1.1", 1, "::ffff:1.1.1.1");
    assert_address(fd, "6.6.6.6, 7.7.7.7, 1.1.1.1, 2.2.2.2", 2, "::ffff:1.1.1.1");
    assert_address(fd, ",,,, 1.1.1.1", 1, "::ffff:1.1.1.1");
    assert_address(fd, "6.6.6.6, nonsense", 1, "::ffff:127.0.0.1"); // not the one before it
    assert_address(fd, "6.6.6.6,", 1, "::ffff:127.0.0.1");
    close(fd);
}

static void with_fewer_entries_it_is_the_left_most(void **state)
{
    (void)state;
    int fd = from_ipv4();
    assert_address(fd, "1.1.1.1, 2.2.2.2", 16, "::ffff:1.1.1.1");
    assert_address(fd, "", 16, "::ffff:127.0.0.1");
    assert_address(fd, "nonsense", 16, "::ffff:127.0.0.1");
    assert_address(fd, "unknown, 2.2.2.2", 2, "::ffff:2.2.2.2");
    close(fd);
}

static void entries_may_have_ports(void **state)
{
    (void)state;
    int fd = from_ipv4();
    static const struct {
        const char *entry, *address;
    } cases[] = {
        { "1.2.3.4:567", "::ffff:1.2.3.4" },
        { "[2001:db8:1:2::5]:567", "2001:db8:1:2::" },
        { "[2001:db8:1:2::5]", "2001:db8:1:2::" },
        { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
        { "2001:DB8::1", "2001:db8::" },
        { "::ffff:1.2.3.4", "::ffff:1.2.3.4" }, // the same host as below
        { "1.2.3.4", "::ffff:1.2.3.4" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_address(fd, cases[i].entry, 1, cases[i].address);
    close(fd);
}

static void what_is_no_address_is_passed_over(void **state)
{
    (void)state;
    int fd = from_ipv4();
    static const char *const entries[] = {
        "[",
        "[]",
        "[]:1",
        "[::1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        ":::",
        "x",
        "::1%lo",
        "\"::1\"",
        "for=1.2.3.4",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
        "1.2.3.4 5",
    };
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        assert_address(fd, entries[i], 1, "::ffff:127.0.0.1");
    close(fd);
}

static void hosts_of_one_network_count_as_one(void **state)
{
    (void)state;
    int fd = from_ipv4();
    assert_address(fd, "2001:db8:1:2::1", 1, "2001:db8:1:2::");
    assert_address(fd, "2001:db8:1:2:ffff::9", 1, "2001:db8:1:2::");
    assert_address(fd, "2001:db8:1:3::1", 1, "2001:db8:1:3::");
    close(fd);
}

// ---- clients ----------------------------------------------------------------

static struct in6_addr address(uint32_t n)
{
    struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
    memcpy(&a.s6_addr[12], &n, sizeof(n));
    return a;
}

static void an_address_has_so_many_clients(void **state)
{
    (void)state;
    struct visitor *v[3];
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        assert_non_null(v[i] = door_enter(&door, address(1), 3));
    assert_null(door_enter(&door, address(1), 3));
    assert_non_null(door_enter(&door, address(2), 3)); // another's count is another's
    door_leave(&door, v[0]);
    assert_non_null(v[0] = door_enter(&door, address(1), 3));
    assert_null(door_enter(&door, address(1), 3));
}

static void a_refused_one_does_not_count(void **state)
{
    (void)state;
    struct visitor *v = door_enter(&door, address(1), 1);
    for (int i = 0; i < 100; i++)
        assert_null(door_enter(&door, address(1), 1));
    door_leave(&door, v);
    assert_non_null(door_enter(&door, address(1), 1));
}

static void those_with_clients_are_not_forgotten(void **state)
{
    (void)state;
    struct visitor *v = door_enter(&door, address(0), 1);
    for (uint32_t n = 1; n <= REMEMBERED + 100; n++)
        door_leave(&door, door_enter(&door, address(n), 1));
    assert_int_equal(door.stranger_count, REMEMBERED);
    assert_int_equal(door.visitors.len, REMEMBERED + 1);
    assert_null(door_enter(&door, address(0), 1));
    door_leave(&door, v);
    assert_int_equal(door.stranger_count, REMEMBERED);
    assert_int_equal(door.visitors.len, REMEMBERED);
}

// ---- bad tokens -------------------------------------------------------------

static void assert_verdicts(uint32_t n, int64_t now_ms, int count, enum door_verdict expected)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(door_bad_token(&door, address(n), now_ms), expected);
}

static void a_few_bad_tokens_are_free(void **state)
{
    (void)state;
    assert_verdicts(1, 5000, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(1, 5000, 1, DOOR_SLOW);
    assert_verdicts(2, 5000, FREE_TOKENS, DOOR_OPEN);
}

static void then_one_a_second(void **state)
{
    (void)state;
    assert_verdicts(1, 5000, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(1, 5999, 1, DOOR_SLOW);
    assert_verdicts(1, 6999, 1, DOOR_OPEN);
    assert_verdicts(1, 6999, 1, DOOR_SLOW);
    for (int64_t now_ms = 8000; now_ms < 20000; now_ms += 1000)
        assert_verdicts(1, now_ms, 1, DOOR_OPEN);
}

static void credit_does_not_pile_up(void **state)
{
    (void)state;
    assert_verdicts(1, 0, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(1, 0, 5, DOOR_SLOW);
    assert_verdicts(1, 3600000, FREE_TOKENS, DOOR_OPEN); // an hour later: as at first
    assert_verdicts(1, 3600000, 1, DOOR_SLOW);
}

// However many came in too fast, waiting ten seconds makes it as at first.
static void nor_does_debt(void **state)
{
    (void)state;
    assert_verdicts(1, 0, FREE_TOKENS, DOOR_OPEN);
    for (int i = 0; i < 1000; i++)
        door_bad_token(&door, address(1), 0);
    assert_verdicts(1, 10000, FREE_TOKENS, DOOR_OPEN);
}

static void so_many_are_held_back_and_then_none(void **state)
{
    (void)state;
    assert_verdicts(1, 0, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(1, 0, HELD, DOOR_SLOW);
    assert_verdicts(1, 0, 50, DOOR_SHUT);
    door_slow_done(&door, address(1));
    assert_verdicts(1, 0, 1, DOOR_SLOW);
    assert_verdicts(1, 0, 1, DOOR_SHUT);
    for (int i = 0; i < HELD; i++)
        door_slow_done(&door, address(1));
    assert_verdicts(1, 0, HELD, DOOR_SLOW);
    assert_verdicts(1, 0, 1, DOOR_SHUT);
}

static void done_with_what_was_not_held_is_nothing(void **state)
{
    (void)state;
    door_slow_done(&door, address(1));
    assert_int_equal(door.visitors.len, 0);
    assert_verdicts(1, 0, 1, DOOR_OPEN);
    door_slow_done(&door, address(1));
    assert_int_equal(door.stranger_count, 1);
}

static void strangers_are_bounded(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < REMEMBERED + 1000; n++)
        assert_int_equal(door_bad_token(&door, address(n), 0), DOOR_OPEN);
    assert_int_equal(door.visitors.len, REMEMBERED);
    assert_int_equal(door.stranger_count, REMEMBERED);
    // The oldest have been forgotten, the newest have not.
    assert_verdicts(REMEMBERED + 999, 0, FREE_TOKENS - 1, DOOR_OPEN);
    assert_verdicts(REMEMBERED + 999, 0, 1, DOOR_SLOW);
    assert_verdicts(0, 0, FREE_TOKENS, DOOR_OPEN);
}

// One that is held back stays known, and the bound holds for the others.
static void they_are_bounded_while_one_is_held_back(void **state)
{
    (void)state;
    assert_verdicts(0, 0, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(0, 0, 1, DOOR_SLOW);
    for (uint32_t n = 1; n < REMEMBERED + 1000; n++)
        door_bad_token(&door, address(n), 0);
    assert_int_equal(door.visitors.len, REMEMBERED + 1);
    assert_verdicts(0, 0, HELD - 1, DOOR_SLOW);
    assert_verdicts(0, 0, 1, DOOR_SHUT);
    for (int i = 0; i < HELD; i++)
        door_slow_done(&door, address(0));
    assert_int_equal(door.visitors.len, REMEMBERED);
    assert_int_equal(door.stranger_count, REMEMBERED);
}

static void clients_and_bad_tokens_go_together(void **state)
{
    (void)state;
    struct visitor *v = door_enter(&door, address(1), 2);
    assert_verdicts(1, 0, FREE_TOKENS, DOOR_OPEN);
    assert_verdicts(1, 0, 1, DOOR_SLOW);
    assert_int_equal(door.stranger_count, 0);
    door_leave(&door, v);
    assert_int_equal(door.stranger_count, 0);
    assert_ptr_equal(door_enter(&door, address(1), 2), v);
    door_slow_done(&door, address(1));
    assert_int_equal(door.stranger_count, 0);
    door_leave(&door, v);
    assert_int_equal(door.stranger_count, 1);
}

static void assert_shown(const char *address, const char *expected)
{
    struct in6_addr a;
    char shown[DOOR_ADDRESS_MAX];
    assert_int_equal(inet_pton(AF_INET6, address, &a), 1);
    door_show_address(&a, shown);
    assert_string_equal(shown, expected);
}

static void an_address_is_shown_as_people_write_it(void **state)
{
    (void)state;
    assert_shown("::ffff:192.0.2.7", "192.0.2.7");
    assert_shown("2001:db8:1:2::", "2001:db8:1:2::/64");
    assert_shown("2001:db8:1111:2222::", "2001:db8:1111:2222::/64");
    assert_shown("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/64");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_address_is_shown_as_people_write_it),
        TEST(without_proxies_it_is_the_peers),
        TEST(a_connection_that_is_gone_has_none),
        TEST(an_ipv6_peer_counts_by_its_network),
        TEST(the_outermost_trusted_proxy_wrote_the_address),
        TEST(what_a_client_makes_up_does_not_count),
        TEST(with_fewer_entries_it_is_the_left_most),
        TEST(entries_may_have_ports),
        TEST(what_is_no_address_is_passed_over),
        TEST(hosts_of_one_network_count_as_one),
        TEST(an_address_has_so_many_clients),
        TEST(a_refused_one_does_not_count),
        TEST(those_with_clients_are_not_forgotten),
        TEST(a_few_bad_tokens_are_free),
        TEST(then_one_a_second),
        TEST(credit_does_not_pile_up),
        TEST(nor_does_debt),
        TEST(so_many_are_held_back_and_then_none),
        TEST(done_with_what_was_not_held_is_nothing),
        TEST(strangers_are_bounded),
        TEST(they_are_bounded_while_one_is_held_back),
        TEST(clients_and_bad_tokens_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
