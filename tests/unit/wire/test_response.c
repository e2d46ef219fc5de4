#include "wire/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct response r;
static size_t used;

// Cut anywhere, a head is not whole, and nothing is wrong with it yet; whole, it is `expected`.
static enum response_result parse(struct view bytes)
{
    enum response_result result = response_parse(&r, bytes, &used);
    if (result != RESPONSE_DONE)
        return result;
    size_t whole = used;
    for (size_t len = 0; len < whole; len++) {
        char *copy = must_alloc(len ? len : 1);
        memcpy(copy, bytes.at, len);
        assert_int_equal(response_parse(&r, (struct view){ copy, len }, &used), RESPONSE_MORE);
        free(copy);
    }
    return response_parse(&r, bytes, &used);
}

#define ASSERT_HEADER(name, text) assert_true(view_eq(response_header(&r, name), VIEW(text)))

static void an_upgrade(void **state)
{
    (void)state;
    struct view bytes =
        VIEW("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n\x81\x05Hello");
    assert_int_equal(parse(bytes), RESPONSE_DONE);
    assert_int_equal(r.status, 101);
    assert_int_equal(r.body_len, 0);
    assert_int_equal(used, bytes.len - 7);
    ASSERT_HEADER("upgrade", "websocket");
    ASSERT_HEADER("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_null(response_header(&r, "Sec-WebSocket-Protocol").at);
}

static void a_refusal(void **state)
{
    (void)state;
    assert_int_equal(parse(VIEW("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n"
                                "Retry-After: 5\r\n\r\n")),
                     RESPONSE_DONE);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.body_len, 12);
    assert_int_equal(response_retry_after_s(&r, 60), 5);
    assert_int_equal(response_retry_after_s(&r, 3), 3);
}

static void what_others_write(void **state)
{
    (void)state;
    assert_int_equal(
        parse(VIEW("HTTP/1.0 200\nServer: x\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\n\n")),
        RESPONSE_DONE);
    assert_int_equal(r.status, 200);
    assert_true(r.body_len == UINT64_MAX);
    assert_int_equal(response_retry_after_s(&r, 60), -1);
    assert_int_equal(parse(VIEW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
                     RESPONSE_DONE);
    assert_true(r.body_len == UINT64_MAX);
}

static void what_is_no_head(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH_9.2\r\n",
        "-ERR unknown command\r\n",
        "\x15\x03\x01",
        "HTTP/2 200\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n",
        "HTTP/1.1 200 OK\r\nbad name: x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(view_of(bad[i])), RESPONSE_BAD);
        assert_non_null(r.why);
    }
}

static void a_head_has_limits(void **state)
{
    (void)state;
    struct buffer head = { 0 };
    buffer_add_view(&head, VIEW("HTTP/1.1 200 OK\r\n"));
    for (int i = 0; i < RESPONSE_HEADERS_MAX; i++)
        buffer_add_view(&head, VIEW("a: b\r\n"));
    assert_int_equal(parse(buffer_view(&head)), RESPONSE_MORE);
    buffer_add_view(&head, VIEW("a: b\r\n"));
    assert_int_equal(parse(buffer_view(&head)), RESPONSE_BAD);
    head.len = 0;
    buffer_add_view(&head, VIEW("HTTP/1.1 200 OK\r\na: "));
    while (head.len < RESPONSE_HEAD_MAX)
        buffer_add_view(&head, VIEW("x"));
    assert_int_equal(parse(buffer_view(&head)), RESPONSE_BAD);
    buffer_free(&head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upgrade),        cmocka_unit_test(a_refusal),
        cmocka_unit_test(what_others_write), cmocka_unit_test(what_is_no_head),
        cmocka_unit_test(a_head_has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
