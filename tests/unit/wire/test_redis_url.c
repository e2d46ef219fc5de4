#include "wire/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// What a URL says in one line: show, user and password if any, and what differs
// from a plain connection.

static void add_text(struct buffer *out, const char *name, const char *text)
{
    if (text)
        buffer_printf(out, " %s=%s", name, text);
}

static void describe(const struct redis_url *url, struct buffer *out)
{
    redis_url_show(url, out);
    add_text(out, "user", url->user);
    add_text(out, "password", url->password);
    add_text(out, "ca", url->ca_file);
    add_text(out, "cert", url->cert_file);
    add_text(out, "key", url->key_file);
    add_text(out, "cert", url->verify_cert ? NULL : "any");
    add_text(out, "name", url->verify_host ? NULL : "any");
    buffer_add(out, "", 1);
}

static void assert_says(const char *text, const char *expected)
{
    struct redis_url url;
    struct buffer out = { 0 };
    const char *wrong = redis_url_parse(view_of(text), &url);
    if (wrong)
        fail_msg("%s: %s", text, wrong);
    describe(&url, &out);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
    redis_url_done(&url);
}

#define SECRET "hunter2"

static void assert_refused(const char *text, const char *why)
{
    struct redis_url url;
    const char *wrong = redis_url_parse(view_of(text), &url);
    if (!wrong)
        fail_msg("%s was taken", text);
    if (!strstr(wrong, why))
        fail_msg("%s: %s", text, wrong);
    assert_null(strstr(wrong, SECRET));
}

// ---- what redis-py takes ----------------------------------------------------

static void hosts_and_ports(void **state)
{
    (void)state;
    assert_says("redis://localhost:6379", "redis://localhost:6379/0");
    assert_says("redis://redis.railway.internal:7000", "redis://redis.railway.internal:7000/0");
    assert_says("redis://host", "redis://host:6379/0");
    assert_says("redis://host:", "redis://host:6379/0");
    assert_says("redis://", "redis://localhost:6379/0");
    assert_says("redis://:7000", "redis://localhost:7000/0");
    assert_says("REDIS://host", "redis://host:6379/0");
    assert_says("  redis://host\t", "redis://host:6379/0");
    assert_says("redis://10.0.0.1:7000", "redis://10.0.0.1:7000/0");
}

static void ipv6_stands_in_brackets(void **state)
{
    (void)state;
    assert_says("redis://[::1]:7000/2", "redis://[::1]:7000/2");
    assert_says("redis://[fd12:3456::a]", "redis://[fd12:3456::a]:6379/0");
    assert_says("redis://bob:pw@[::1]", "redis://[::1]:6379/0 user=bob password=pw");
}

static void users_and_passwords(void **state)
{
    (void)state;
    assert_says("redis://bob:pw@host", "redis://host:6379/0 user=bob password=pw");
    assert_says("redis://:pw@host", "redis://host:6379/0 password=pw");
    assert_says("redis://bob@host", "redis://host:6379/0 user=bob");
    assert_says("redis://:@host", "redis://host:6379/0");
    assert_says("redis://@host", "redis://host:6379/0");
    assert_says("redis://default:pw@host:7000/1", "redis://host:7000/1 user=default password=pw");
    assert_says("redis://host?username=bob&password=pw",
                "redis://host:6379/0 user=bob password=pw");
}

static void those_before_the_host_win_over_the_query(void **state)
{
    (void)state;
    assert_says("redis://bob:pw@host?username=eve&password=no",
                "redis://host:6379/0 user=bob password=pw");
    assert_says("redis://bob@host?password=pw", "redis://host:6379/0 user=bob password=pw");
}

static void all_but_the_last_at_sign_are_the_passwords(void **state)
{
    (void)state;
    assert_says("redis://:p@ss@host", "redis://host:6379/0 password=p@ss");
    assert_says("redis://bob:a:b:c@host", "redis://host:6379/0 user=bob password=a:b:c");
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    assert_says("redis://b%6Fb:p%40%2f%3A%23%25@ho%73t",
                "redis://host:6379/0 user=bob password=p@/:#%");
    assert_says("redis://:p+w@host", "redis://host:6379/0 password=p+w");
    assert_says("redis://:%C3%BC@host", "redis://host:6379/0 password=ü");
}

// As Python's unquote has them.
static void what_is_no_escape_stands_for_itself(void **state)
{
    (void)state;
    assert_says("redis://:100%@host", "redis://host:6379/0 password=100%");
    assert_says("redis://:%4@host", "redis://host:6379/0 password=%4");
    assert_says("redis://:%zz%g0%0g@host", "redis://host:6379/0 password=%zz%g0%0g");
    assert_says("redis://:a%00b@host", "redis://host:6379/0 password=a%00b");
}

// redis-py decodes them twice, and takes '+' for a space.
static void escapes_in_a_query_are_decoded_twice(void **state)
{
    (void)state;
    assert_says("redis://host?password=a+b%2Bc", "redis://host:6379/0 password=a b+c");
    assert_says("redis://host?password=a%2540b", "redis://host:6379/0 password=a@b");
    assert_says("redis://host?password=a%252540b", "redis://host:6379/0 password=a%40b");
}

static void databases(void **state)
{
    (void)state;
    assert_says("redis://host/0", "redis://host:6379/0");
    assert_says("redis://host/15", "redis://host:6379/15");
    assert_says("redis://host/15/", "redis://host:6379/15");
    assert_says("redis://host/", "redis://host:6379/0");
    assert_says("redis://host?db=3", "redis://host:6379/3");
    assert_says("redis://host/1?db=3", "redis://host:6379/3");
    assert_says("redis://host//", "redis://host:6379/0");
    assert_says("redis://host/%31", "redis://host:6379/1");
    assert_says("redis://host/name?db=3", "redis://host:6379/3"); // the path means nothing then
}

static void unix_sockets(void **state)
{
    (void)state;
    assert_says("unix:///run/redis.sock", "unix:///run/redis.sock?db=0");
    assert_says("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2");
    assert_says("unix://bob:pw@/run/redis.sock",
                "unix:///run/redis.sock?db=0 user=bob password=pw");
    assert_says("unix://:pw@/run/redis.sock", "unix:///run/redis.sock?db=0 password=pw");
    assert_says("unix:///run/my%20redis.sock", "unix:///run/my redis.sock?db=0");
}

static void tls(void **state)
{
    (void)state;
    assert_says("rediss://host:6380/1", "rediss://host:6380/1");
    assert_says("rediss://host?ssl_ca_certs=/etc/ca.pem", "rediss://host:6379/0 ca=/etc/ca.pem");
    assert_says("rediss://host?ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
                "rediss://host:6379/0 cert=/c.pem key=/k.pem");
    assert_says("rediss://host?ssl_cert_reqs=none", "rediss://host:6379/0 cert=any name=any");
    assert_says("rediss://host?ssl_cert_reqs=required", "rediss://host:6379/0");
    assert_says("rediss://host?ssl_cert_reqs=optional", "rediss://host:6379/0");
}

static void the_host_name_may_go_unchecked(void **state)
{
    (void)state;
    static const char *const words[] = { "0", "f", "F", "false", "False", "n", "no", "NO" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char text[64];
        snprintf(text, sizeof(text), "rediss://host?ssl_check_hostname=%s", words[i]);
        assert_says(text, "rediss://host:6379/0 name=any");
    }
    assert_says("rediss://host?ssl_check_hostname=true", "rediss://host:6379/0");
    assert_says("rediss://host?ssl_check_hostname=", "rediss://host:6379/0");
}

static void other_parameters_are_redis_pys_own(void **state)
{
    (void)state;
    assert_says("redis://host?socket_timeout=5&max_connections=9&decode_responses=True&&x&=y",
                "redis://host:6379/0");
    assert_says("redis://host/1?db=#fragment", "redis://host:6379/1");
}

// ---- what is refused --------------------------------------------------------

static void other_schemes(void **state)
{
    (void)state;
    static const char *const bad[] = { "",         "redis",     "redis:",     "redis:/host",
                                       "http://h", "host:6379", "://host",    "redis-sentinel://h",
                                       "//host",   "localhost", "rediss:host" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_refused(bad[i], "redis://, rediss://, unix://");
}

static void wrong_ports(void **state)
{
    (void)state;
    assert_refused("redis://host:0", "port");
    assert_refused("redis://host:65536", "port");
    assert_refused("redis://host:-1", "port");
    assert_refused("redis://host:abc", "port");
    assert_refused("redis://::1:6379", "port");
}

// redis-py takes database 0, where nobody would know why no event comes.
static void databases_that_are_no_number(void **state)
{
    (void)state;
    static const char why[] = "the database is not a number, as in redis://host:6379/0";
    assert_refused("redis://host:6379/stream", why);
    assert_refused("redis://bob:pw@host/name", why);
    assert_refused("rediss://host/0x1", why);
    assert_refused("redis://host/-1", why);
    assert_refused("redis://host/1/2", why);
    assert_refused("redis://host/01", why);
    assert_refused("redis://host/1 ?x=y", why);
    assert_refused("redis://host/99999999999999999999", why);
    assert_refused("redis://host/name?db=", why);
}

static void wrong_parts(void **state)
{
    (void)state;
    assert_refused("redis://[::1", "IPv6");
    assert_refused("redis://[]", "IPv6");
    assert_refused("redis://[::1]x", "between");
    assert_refused("redis://host?db=x", "db");
    assert_refused("redis://host?db=-1", "db");
    assert_refused("redis://host?db=99999999999999999999", "db");
    assert_refused("rediss://host?ssl_cert_reqs=maybe", "ssl_cert_reqs");
    assert_refused("unix://", "path");
    assert_refused("unix://run", "path");
}

// A password that was not escaped is the usual reason why a URL is refused; the
// sentence goes to a log.
static void no_sentence_quotes_the_password(void **state)
{
    (void)state;
    assert_refused("redis://:" SECRET "/x@host:6379", "percent-encoded");
    assert_refused("redis://bob:" SECRET "#x@host", "percent-encoded");
    assert_refused("redis://bob:" SECRET "?x@host", "percent-encoded");
    assert_refused("redis://bob:" SECRET "@host:x", "port");
    assert_refused("http://bob:" SECRET "@host", "begins");
    assert_refused("redis://host?password=" SECRET "&db=x", "db");
    assert_refused("redis://:6379/" SECRET "@host:6379", "percent-encoded");
    assert_refused("redis://host/" SECRET, "database");
    assert_refused("unix://bob:" SECRET "@", "path");
}

static void a_nul_ends_no_url(void **state)
{
    (void)state;
    struct redis_url url;
    assert_non_null(redis_url_parse(VIEW("redis://host\0.evil"), &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_and_ports),
        cmocka_unit_test(ipv6_stands_in_brackets),
        cmocka_unit_test(users_and_passwords),
        cmocka_unit_test(those_before_the_host_win_over_the_query),
        cmocka_unit_test(all_but_the_last_at_sign_are_the_passwords),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(what_is_no_escape_stands_for_itself),
        cmocka_unit_test(escapes_in_a_query_are_decoded_twice),
        cmocka_unit_test(databases),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(tls),
        cmocka_unit_test(the_host_name_may_go_unchecked),
        cmocka_unit_test(other_parameters_are_redis_pys_own),
        cmocka_unit_test(other_schemes),
        cmocka_unit_test(wrong_ports),
        cmocka_unit_test(databases_that_are_no_number),
        cmocka_unit_test(wrong_parts),
        cmocka_unit_test(no_sentence_quotes_the_password),
        cmocka_unit_test(a_nul_ends_no_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
