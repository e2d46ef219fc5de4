#include "worker/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

#define JSON(length, connection)                                                                   \
    "Content-Type: application/json\r\nContent-Length: " length "\r\nConnection: " connection      \
    "\r\n" DATE
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define HEALTHY OK JSON("35", "keep-alive") "\r\n{\"status\":\"ok\",\"service\":\"broker\"}\n"
#define READY OK JSON("38", "keep-alive") "\r\n{\"status\":\"ready\",\"service\":\"broker\"}\n"

static const struct page_state up = { .readable = true, .date = { DATE, sizeof(DATE) - 1 } };
static const struct page_state blind = { .date = { DATE, sizeof(DATE) - 1 } };
static const struct page_state leaving = { .readable = true,
                                           .leaving = true,
                                           .date = { DATE, sizeof(DATE) - 1 } };

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

static void ready_is_503_while_redis_cannot_be_read(void **state)
{
    (void)state;
    assert_true(ask("GET", "/ready", blind, true));
    assert_contains("HTTP/1.1 503 Service Unavailable\r\n");
    assert_contains("\r\nRetry-After: 1\r\n");
    assert_contains("\r\n\r\n{\"error\":\"unavailable\",\"detail\":\"Redis cannot be read\"}");
}

static void ready_is_503_when_the_broker_is_leaving(void **state)
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
    assert_reply(OK JSON("35", "close") "\r\n{\"status\":\"ok\",\"service\":\"broker\"}\n");
    assert_true(ask("GET", "/ready", up, false));
    assert_contains("\r\nConnection: close\r\n");
    assert_true(ask("GET", "/ready", blind, false));
    assert_contains("\r\nConnection: close\r\n");
    assert_true(ask("POST", "/ready", up, false));
    assert_contains("\r\nConnection: close\r\n");
}

static const char *const paths[] = { "/", "/health", "/ready" };

// RFC 9110 s. 9.3.2: what is written for a GET, of which the caller sends the head alone.
static void head_is_answered_as_get(void **state)
{
    (void)state;
    for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
        struct buffer got = { 0 };
        assert_true(ask("GET", paths[p], up, true));
        buffer_add_view(&got, buffer_view(&out));
        assert_true(ask("HEAD", paths[p], up, true));
        assert_true(view_eq(buffer_view(&out), buffer_view(&got)));
        buffer_free(&got);
    }
    assert_true(ask("HEAD", "/ready", blind, true));
    assert_contains("HTTP/1.1 503 Service Unavailable\r\n");
}

static void options_says_what_there_is(void **state)
{
    (void)state;
    for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
        assert_true(ask("OPTIONS", paths[p], up, true));
        assert_reply("HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n" DATE
                     "Allow: GET, HEAD, OPTIONS\r\n\r\n");
    }
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

static void a_page_has_no_other_methods(void **state)
{
    (void)state;
    static const char *const methods[] = { "POST", "PUT", "DELETE", "get", "GETS", "HEADS", "" };
    for (size_t m = 0; m < ARRAY_LEN(methods); m++)
        for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
            assert_true(ask(methods[m], paths[p], up, true));
            assert_contains("HTTP/1.1 405 Method Not Allowed\r\n");
            assert_contains("\r\n" DATE "Allow: GET, HEAD, OPTIONS\r\n");
            assert_contains("\"error\":\"method_not_allowed\"");
        }
}

static void other_paths_are_not_ours(void **state)
{
    (void)state;
    static const char *const others[] = { "",   "/healt",   "/healthz", "/health/", "/Health",
                                          "//", "/ready/x", "health",   "*",        "/%68ealth" };
    for (size_t p = 0; p < ARRAY_LEN(others); p++) {
        assert_false(ask("GET", others[p], up, true));
        assert_false(ask("POST", others[p], up, true));
        assert_int_equal(out.len, 0);
    }
}

static void an_unknown_path_gets_the_answer_that_clients_know(void **state)
{
    (void)state;
    struct http_request req = { .keep_alive = true };
    page_not_found(&req, VIEW(DATE), &out);
    assert_reply("HTTP/1.1 404 Not Found\r\n" JSON("23", "keep-alive") "\r\n{\"detail\":\"Not "
                                                                       "Found\"}\n");
    out.len = 0;
    req.keep_alive = false;
    page_not_found(&req, VIEW(DATE), &out);
    assert_contains("\r\nConnection: close\r\n");
}

static void a_refused_method_is_told_what_the_path_has(void **state)
{
    (void)state;
    const struct http_request req = { 0 };
    page_method_not_allowed(&req, "GET", VIEW(DATE), &out);
    assert_contains("HTTP/1.1 405 Method Not Allowed\r\n");
    assert_contains("\r\nConnection: close\r\n" DATE "Allow: GET\r\n\r\n{");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(health_says_that_the_process_lives, tear_down),
        cmocka_unit_test_teardown(ready_says_that_clients_may_come, tear_down),
        cmocka_unit_test_teardown(ready_is_503_while_redis_cannot_be_read, tear_down),
        cmocka_unit_test_teardown(ready_is_503_when_the_broker_is_leaving, tear_down),
        cmocka_unit_test_teardown(a_reply_says_whether_the_connection_stays, tear_down),
        cmocka_unit_test_teardown(head_is_answered_as_get, tear_down),
        cmocka_unit_test_teardown(options_says_what_there_is, tear_down),
        cmocka_unit_test_teardown(replies_are_appended, tear_down),
        cmocka_unit_test_teardown(a_page_has_no_other_methods, tear_down),
        cmocka_unit_test_teardown(other_paths_are_not_ours, tear_down),
        cmocka_unit_test_teardown(an_unknown_path_gets_the_answer_that_clients_know, tear_down),
        cmocka_unit_test_teardown(a_refused_method_is_told_what_the_path_has, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
