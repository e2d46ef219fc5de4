#include "worker/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

#define JSON(length, connection)                                                                   \
    "Content-Type: application/json\r\nContent-Length: " length "\r\nConnection: " connection "\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define HEALTHY OK JSON("34", "keep-alive") "\r\n{\"status\":\"ok\",\"service\":\"broker\"}"
#define READY OK JSON("37", "keep-alive") "\r\n{\"status\":\"ready\",\"service\":\"broker\"}"

static const struct page_state up = { .readable = true };
static const struct page_state blind = { .readable = false };
static const struct page_state leaving = { .readable = true, .draining = true };

static struct buffer out;

static int tear_down(void **state)
{
    (void)state;
    buffer_free(&out);
    return 0;
}

static bool ask(const char *method, const char *path, struct page_state state, bool keep_alive)
{
    const struct http_request req = {
        .method = view_of(method),
        .path = view_of(path),
        .query = VIEW("verbose=1"),
        .minor = 1,
        .keep_alive = keep_alive,
    };
    out.len = 0;
    return page_answer(&req, state, &out);
}

static void assert_reply(const char *expected)
{
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
}

static void assert_contains(const char *expected)
{
    buffer_add(&out, "", 1);
    if (!strstr(out.at, expected))
        fail_msg("no '%s' in: %s", expected, out.at);
    out.len--;
}

// ---- the pages --------------------------------------------------------------

static void health_says_that_the_process_lives(void **state)
{
    (void)state;
    assert_true(ask("GET", "/health", up, true));
    assert_reply(HEALTHY);
    assert_true(ask("GET", "/health", blind, true));
    assert_reply(HEALTHY);
    assert_true(ask("GET", "/health", leaving, true));
    assert_reply(HEALTHY);
    assert_true(ask("GET", "/", up, true));
    assert_reply(HEALTHY);
}

static void ready_says_that_clients_may_come(void **state)
{
    (void)state;
    assert_true(ask("GET", "/ready", up, true));
    assert_reply(READY);
}

static void not_while_redis_cannot_be_read(void **state)
{
    (void)state;
    assert_true(ask("GET", "/ready", blind, true));
    assert_contains("HTTP/1.1 503 Service Unavailable\r\n");
    assert_contains("\r\nRetry-After: 1\r\n");
    assert_contains("\r\n\r\n{\"error\":\"unavailable\",\"detail\":\"Redis cannot be read\"}");
}

static void nor_while_the_broker_goes(void **state)
{
    (void)state;
    assert_true(ask("GET", "/ready", leaving, true));
    assert_contains("HTTP/1.1 503 Service Unavailable\r\n");
    assert_contains("\r\nRetry-After: 1\r\n");
    assert_contains("\"the broker is shutting down\"");
}

static void a_reply_says_whether_the_connection_stays(void **state)
{
    (void)state;
    assert_true(ask("GET", "/health", up, false));
    assert_reply(OK JSON("34", "close") "\r\n{\"status\":\"ok\",\"service\":\"broker\"}");
    assert_true(ask("GET", "/ready", up, false));
    assert_contains("\r\nConnection: close\r\n");
    assert_true(ask("GET", "/ready", blind, false));
    assert_contains("\r\nConnection: close\r\n");
    assert_true(ask("POST", "/ready", up, false));
    assert_contains("\r\nConnection: close\r\n");
}

static void replies_are_appended(void **state)
{
    (void)state;
    const struct http_request req = { .method = VIEW("GET"),
                                      .path = VIEW("/"),
                                      .keep_alive = true };
    buffer_printf(&out, "before ");
    assert_true(page_answer(&req, up, &out));
    assert_true(page_answer(&req, up, &out));
    assert_reply("before " HEALTHY HEALTHY);
}

// ---- what is no page --------------------------------------------------------

static void other_methods_are_not_allowed(void **state)
{
    (void)state;
    static const char *const methods[] = { "POST", "HEAD", "PUT", "OPTIONS", "get", "GETS", "" };
    static const char *const paths[] = { "/", "/health", "/ready" };
    for (size_t m = 0; m < ARRAY_LEN(methods); m++)
        for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
            assert_true(ask(methods[m], paths[p], up, true));
            assert_contains("HTTP/1.1 405 Method Not Allowed\r\n");
            assert_contains("\r\nAllow: GET\r\n");
            assert_contains("\"error\":\"method_not_allowed\"");
        }
}

static void other_paths_are_not_ours(void **state)
{
    (void)state;
    static const char *const paths[] = { "",   "/healt",   "/healthz", "/health/", "/Health",
                                         "//", "/ready/x", "health",   "*",        "/%68ealth" };
    for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
        assert_false(ask("GET", paths[p], up, true));
        assert_false(ask("POST", paths[p], up, true));
        assert_int_equal(out.len, 0);
    }
}

static void the_answer_then_is_the_one_that_clients_know(void **state)
{
    (void)state;
    page_not_found(&out, true);
    assert_reply(
        "HTTP/1.1 404 Not Found\r\n" JSON("22", "keep-alive") "\r\n{\"detail\":\"Not Found\"}");
    out.len = 0;
    page_not_found(&out, false);
    assert_contains("\r\nConnection: close\r\n");
}

static void a_method_is_refused_elsewhere_too(void **state)
{
    (void)state;
    page_method_not_allowed(&out, false);
    assert_contains("HTTP/1.1 405 Method Not Allowed\r\n");
    assert_contains("\r\nConnection: close\r\nAllow: GET\r\n\r\n{");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(health_says_that_the_process_lives, tear_down),
        cmocka_unit_test_teardown(ready_says_that_clients_may_come, tear_down),
        cmocka_unit_test_teardown(not_while_redis_cannot_be_read, tear_down),
        cmocka_unit_test_teardown(nor_while_the_broker_goes, tear_down),
        cmocka_unit_test_teardown(a_reply_says_whether_the_connection_stays, tear_down),
        cmocka_unit_test_teardown(replies_are_appended, tear_down),
        cmocka_unit_test_teardown(other_methods_are_not_allowed, tear_down),
        cmocka_unit_test_teardown(other_paths_are_not_ours, tear_down),
        cmocka_unit_test_teardown(the_answer_then_is_the_one_that_clients_know, tear_down),
        cmocka_unit_test_teardown(a_method_is_refused_elsewhere_too, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
