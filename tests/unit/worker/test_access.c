#include "worker/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/hash.h"

// ---- how the tests speak ----------------------------------------------------

static struct refusal no;
static char token[] = "tok:en", none[] = "";

// A request with one header line, or "", answered with 200 or the refusal's status.
static int ask(char *admin_token, bool is_loopback, const char *header)
{
    struct buffer head = { 0 };
    struct http_request req;
    size_t used;
    const struct config config = { .admin_token = admin_token };
    buffer_printf(&head, "GET /metrics HTTP/1.1\r\nHost: h\r\n%s%s\r\n", header,
                  *header ? "\r\n" : "");
    assert_int_equal(http_parse(&req, buffer_view(&head), &used), HTTP_DONE);
    no = (struct refusal){ .status = 200 };
    bool ok = access_check(&req, &config, is_loopback, &no);
    assert_int_equal(ok, no.status == 200);
    buffer_free(&head);
    return no.status;
}

static int ask_basic(const char *credentials)
{
    char line[512] = "Authorization: Basic ";
    size_t len = strlen(credentials), at = strlen(line);
    hash_base64((const uint8_t *)credentials, len, line + at);
    line[at + HASH_BASE64_LEN(len)] = '\0';
    return ask(token, false, line);
}

// ---- without a token ----------------------------------------------------------

static void test_without_a_token_only_local_callers_may(void **state)
{
    (void)state;
    assert_int_equal(ask(none, true, ""), 200);
    assert_int_equal(ask(none, false, ""), 403);
    assert_string_equal(no.code, "forbidden");
    assert_int_equal(ask(none, false, "Authorization: Bearer "), 403);
}

static void test_a_proxy_on_this_machine_is_no_local_caller(void **state)
{
    (void)state;
    assert_int_equal(ask(none, true, "X-Forwarded-For: 1.2.3.4"), 403);
    assert_int_equal(ask(none, true, "Forwarded: for=1.2.3.4"), 403);
    assert_int_equal(ask(none, true, "x-real-ip: 1.2.3.4"), 403);
    assert_int_equal(ask(none, true, "Via: 1.1 proxy"), 403);
    assert_int_equal(ask(none, true, "Via:"), 403);
}

// ---- with one -----------------------------------------------------------------

static void test_with_a_token_local_callers_need_it_too(void **state)
{
    (void)state;
    assert_int_equal(ask(token, true, ""), 401);
    assert_string_equal(no.code, "token_missing");
    assert_non_null(strstr(no.headers, "WWW-Authenticate: Basic "));
}

static void test_a_bearer_token(void **state)
{
    (void)state;
    assert_int_equal(ask(token, false, "Authorization: Bearer tok:en"), 200);
    assert_int_equal(ask(token, false, "authorization: bearer  tok:en "), 200);
    assert_int_equal(ask(token, false, "Authorization: Bearer tok:em"), 401);
    assert_string_equal(no.code, "token_invalid");
    assert_non_null(strstr(no.headers, "WWW-Authenticate: Basic "));
    assert_int_equal(ask(token, false, "Authorization: Bearer tok:e"), 401);
    assert_int_equal(ask(token, false, "Authorization: tok:en"), 401);
    assert_int_equal(ask(token, false, "X-Forwarded-For: 1.2.3.4"), 401);
}

static void test_the_password_of_any_user(void **state)
{
    (void)state;
    assert_int_equal(ask_basic("operator:tok:en"), 200);
    assert_int_equal(ask_basic(":tok:en"), 200);
    assert_int_equal(ask_basic("tok:en"), 401);
    assert_int_equal(ask_basic("operator:"), 401);
    assert_int_equal(ask_basic("operator"), 401);
    assert_int_equal(ask(token, false, "Authorization: Basic !!!!"), 401);
    assert_int_equal(ask(token, false, "Authorization: Basic"), 401);
}

static void test_base64_of_each_length_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[67], back[67];
    char text[HASH_BASE64_LEN(sizeof(bytes))];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        hash_base64(bytes, len, text);
        const struct view v = { text, HASH_BASE64_LEN(len) };
        assert_int_equal(hash_base64_bytes(v), len);
        hash_base64_decode(v, back);
        assert_memory_equal(bytes, back, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_token_only_local_callers_may),
        cmocka_unit_test(test_a_proxy_on_this_machine_is_no_local_caller),
        cmocka_unit_test(test_with_a_token_local_callers_need_it_too),
        cmocka_unit_test(test_a_bearer_token),
        cmocka_unit_test(test_the_password_of_any_user),
        cmocka_unit_test(test_base64_of_each_length_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
