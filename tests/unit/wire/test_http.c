#include "wire/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

// Every head is read as a slow client sends it, byte by byte, each prefix in an
// allocation of its own; `req` is what the last prefix gave.
static struct http_request req;
static char *bytes;

static enum http_result parse(struct view text, size_t len, size_t *used)
{
    free(bytes);
    bytes = must_alloc(len ? len : 1);
    memcpy(bytes, text.at, len);
    return http_parse(&req, (struct view){ bytes, len }, used);
}

static int forget_bytes(void **state)
{
    (void)state;
    free(bytes);
    bytes = NULL;
    return 0;
}

static void assert_view(struct view v, const char *expected)
{
    assert_int_equal(v.len, strlen(expected));
    if (v.len)
        assert_memory_equal(v.at, expected, v.len);
}

// Wants more until the head's last byte is there, and then takes just the head.
static void take_long(struct view head)
{
    size_t used;
    for (size_t len = 0; len < head.len; len++)
        assert_int_equal(parse(head, len, &used), HTTP_MORE);
    assert_int_equal(parse(head, head.len, &used), HTTP_DONE);
    assert_int_equal(used, head.len);
}

static void take(const char *head)
{
    struct buffer followed = { 0 };
    size_t used;
    buffer_printf(&followed, "%s\r\nGET /next", head);
    assert_int_equal(parse(buffer_view(&followed), followed.len, &used), HTTP_DONE);
    assert_int_equal(used, strlen(head));
    buffer_free(&followed);
    take_long(view_of(head));
}

// The first prefix that is refused is refused for the same reason as the whole.
static size_t refuse_long(struct view head, int status, const char *why)
{
    size_t used, len = 0;
    enum http_result result;
    while ((result = parse(head, len, &used)) == HTTP_MORE && len < head.len)
        len++;
    for (size_t more = len; more <= head.len; more++) {
        assert_int_equal(parse(head, more, &used), HTTP_BAD);
        assert_int_equal(req.status, status);
        assert_string_equal(req.why, why);
    }
    assert_int_equal(result, HTTP_BAD);
    return len;
}

// Returns how many bytes it took until the refusal.
#define REFUSE(head, status, why) refuse_long(VIEW(head), status, why)

#define LINE "GET / HTTP/1.1\r\nHost: h\r\n"

// ---- what is taken ----------------------------------------------------------

static void a_request_is_read(void **state)
{
    (void)state;
    take("GET /ws/abc?token=1.2&from=now-5s HTTP/1.1\r\n"
         "Host: example.com:8080\r\n"
         "Upgrade:websocket\r\n"
         "X-Blanks: \t a b \t\r\n"
         "X-Empty:\r\n"
         "\r\n");
    assert_view(req.method, "GET");
    assert_view(req.path, "/ws/abc");
    assert_view(req.query, "token=1.2&from=now-5s");
    assert_int_equal(req.minor, 1);
    assert_true(req.keep_alive);
    assert_false(req.has_body);
    assert_int_equal(req.header_count, 4);
    assert_view(http_header(&req, "host"), "example.com:8080");
    assert_view(http_header(&req, "UPGRADE"), "websocket");
    assert_view(http_header(&req, "X-Blanks"), "a b");
    assert_view(http_header(&req, "X-Empty"), "");
    assert_non_null(http_header(&req, "X-Empty").at);
    assert_null(http_header(&req, "X-Absent").at);
}

static void paths_and_queries_are_as_sent(void **state)
{
    (void)state;
    take("GET /a%2Fb?x?y HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "/a%2Fb");
    assert_view(req.query, "x?y");
    take("GET /? HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "/");
    assert_view(req.query, "");
    take("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "*");
    take("GET //a HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "//a");
}

// RFC 9112 s. 3.2.2
static void an_absolute_target_loses_its_host(void **state)
{
    (void)state;
    take("GET http://h:80/ws/a?b=c HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "/ws/a");
    assert_view(req.query, "b=c");
    take("GET HTTPS://h HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "/");
    assert_view(req.query, "");
    take("GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.path, "/");
    assert_view(req.query, "b");
}

static void leading_empty_lines_are_passed_over(void **state) // RFC 9112 s. 2.2
{
    (void)state;
    take("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.method, "GET");
    take("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_view(req.method, "GET");
    REFUSE("\r\n\r\n\rGET / HTTP/1.1\r\n", 400,
           "The request does not start with a method and a space.");
}

static void connections_are_kept_by_version_and_wish(void **state)
{
    (void)state;
    take("GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(req.minor, 0);
    assert_false(req.keep_alive);
    take("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(req.keep_alive);
    take(LINE "Connection: x, CLOSE\r\n\r\n");
    assert_false(req.keep_alive);
    take(LINE "Connection: keep-alive\r\nConnection: close\r\n\r\n");
    assert_false(req.keep_alive);
    take("GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n");
    assert_false(req.keep_alive);
}

static void bodies_are_noticed(void **state)
{
    (void)state;
    take(LINE "Content-Length: 0\r\n\r\n");
    assert_false(req.has_body);
    take(LINE "Content-Length: 5\r\n\r\n");
    assert_true(req.has_body);
    take(LINE "Content-Length: 5\r\ncontent-length: 5\r\n\r\n");
    assert_true(req.has_body);
    take(LINE "Transfer-Encoding: chunked\r\n\r\n");
    assert_true(req.has_body);
    take(LINE "Transfer-Encoding: gzip, Chunked\r\n\r\n");
    assert_true(req.has_body);
    take(LINE "Transfer-Encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"); // one list
    assert_true(req.has_body);
}

static void a_value_may_hold_bytes_above_ascii(void **state)
{
    (void)state;
    take(LINE "X: caf\xc3\xa9 \xff\r\n\r\n");
    assert_view(http_header(&req, "X"), "caf\xc3\xa9 \xff");
}

// ---- what is refused --------------------------------------------------------

static void nonsense_is_refused_after_a_few_bytes(void **state)
{
    (void)state;
    const char *why = "The request does not start with a method and a space.";
    assert_int_equal(REFUSE("\x16\x03\x01\x02\x00\x01 a TLS hello", 400, why), 1);
    assert_int_equal(REFUSE("\nGET / HTTP/1.1\r\n", 400, why), 1);
    assert_int_equal(REFUSE("\rGET / HTTP/1.1\r\n", 400, why), 2); // \r alone may be \r\n
    assert_int_equal(REFUSE(" GET / HTTP/1.1\r\n", 400, why), 1);
    assert_int_equal(REFUSE("GET\t/ HTTP/1.1\r\n", 400, why), 4);
    assert_int_equal(REFUSE("GET\r\n", 400, why), 4);
    assert_int_equal(REFUSE("{\"a\":1}", 400, why), 1);
}

static void a_method_has_at_most_32_characters(void **state)
{
    (void)state;
    take("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(req.method.len, 32);
    const char *why = "The method is too long.";
    assert_int_equal(REFUSE("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1\r\n", 400, why), 33);
}

static void a_request_line_has_three_parts(void **state)
{
    (void)state;
    const char *parts = "The request line is not a method, a target and a version.";
    const char *version = "The request line does not end with an HTTP version.";
    REFUSE("GET \r\n\r\n", 400, parts);
    REFUSE("GET /\r\n\r\n", 400, parts);
    REFUSE("GET / \r\n\r\n", 400, version);
    REFUSE("GET / a HTTP/1.1\r\n\r\n", 400, version);
    REFUSE("GET / HTTP/1.1 \r\n\r\n", 400, version);
    REFUSE("GET  / HTTP/1.1\r\n\r\n", 400, version);
    REFUSE("GET / http/1.1\r\n\r\n", 400, version);
    REFUSE("GET / HTTP/1.10\r\n\r\n", 400, version);
    REFUSE("GET / HTTP/1,1\r\n\r\n", 400, version);
    REFUSE("GET / HTTP/x.1\r\n\r\n", 400, version);
    REFUSE("GET / HTTP/1.x\r\n\r\n", 400, version);
}

static void other_versions_are_refused(void **state)
{
    (void)state;
    const char *why = "Only HTTP/1.1 and HTTP/1.0 are spoken here.";
    REFUSE("GET / HTTP/0.9\r\n\r\n", 505, why);
    REFUSE("GET / HTTP/2.0\r\n\r\n", 505, why);
    assert_int_equal(REFUSE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, why), 16);
}

static void a_target_is_a_path_in_visible_ascii(void **state)
{
    (void)state;
    const char *no_path = "The request target is no path.";
    const char *escape = "The request target has a character that must be escaped.";
    REFUSE("GET health HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("GET ?a HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("GET *a HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("CONNECT h:80 HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("GET ftp://h/ HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("GET http:/h HTTP/1.1\r\n\r\n", 400, no_path);
    REFUSE("GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400, escape);
    REFUSE("GET /a\tb HTTP/1.1\r\n\r\n", 400, escape);
}

static void line_ends_are_crlf_only(void **state)
{
    (void)state;
    const char *lf = "A line ends with a bare line feed.";
    const char *cr = "A carriage return stands without a line feed.";
    assert_int_equal(REFUSE("GET / HTTP/1.1\nHost: h\n\n", 400, lf), 15);
    REFUSE(LINE "A: b\nC: d\r\n\r\n", 400, lf);
    REFUSE(LINE "\n", 400, lf);
    REFUSE(LINE "A: b\rC: d\r\n\r\n", 400, cr);
    REFUSE(LINE "A: b\r\r\n\r\n", 400, cr);
    REFUSE(LINE "\r\r\n", 400, cr);
}

static void control_characters_are_refused_at_once(void **state)
{
    (void)state;
    const char *why = "A control character stands in the head.";
    assert_int_equal(REFUSE("GET /a\0b HTTP/1.1\r\n", 400, why), 7);
    REFUSE("GET /\x7f HTTP/1.1\r\n\r\n", 400, why);
    REFUSE(LINE "A: b\0c\r\n\r\n", 400, why);
    REFUSE(LINE "A: \x1b[31m\r\n\r\n", 400, why);
    REFUSE(LINE "A\x01: b\r\n\r\n", 400, why);
}

static void header_lines_are_a_name_and_a_colon(void **state)
{
    (void)state;
    const char *fold = "A header line starts with a space: folding is not allowed.";
    const char *colon = "A header line has no name and colon.";
    const char *name = "A header name has a space or another character in it.";
    REFUSE(LINE "A: b\r\n c\r\n\r\n", 400, fold);
    REFUSE(LINE "A: b\r\n\tc\r\n\r\n", 400, fold);
    REFUSE("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400, fold);
    REFUSE(LINE "nothing\r\n\r\n", 400, colon);
    REFUSE(LINE ": b\r\n\r\n", 400, colon);
    REFUSE(LINE "A : b\r\n\r\n", 400, name);
    REFUSE(LINE "A\t: b\r\n\r\n", 400, name);
    REFUSE(LINE "A b: c\r\n\r\n", 400, name);
    REFUSE(LINE "A(: c\r\n\r\n", 400, name);
    REFUSE(LINE "\xc3\xa9: c\r\n\r\n", 400, name);
}

static void there_is_one_host(void **state) // RFC 9112 s. 3.2
{
    (void)state;
    REFUSE("GET / HTTP/1.1\r\n\r\n", 400, "The request has no Host.");
    REFUSE(LINE "host: h\r\n\r\n", 400, "The request has more than one Host.");
    REFUSE("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400,
           "The request has more than one Host.");
}

static void a_host_is_a_host_and_perhaps_a_port(void **state) // RFC 9112 s. 3.2, RFC 3986 s. 3.2
{
    (void)state;
    static const char *const good[] = {
        "",          "h",        "a.example", "a.example:8080", "a.example:", ":80",
        "127.0.0.1", "[::1]:80", "[::1]",     "under_score",    "%41.b",      "a!$&'()*+,;=b~",
    };
    static const char *const bad[] = {
        "a b",  "a/b", "a/b@c", "a@b",  "a:b", "a:80:80",     "a?b",   "a#b",
        "[::1", "::1", "[]",    "[a]b", "[/]", "a\"b",        "%4",    "%zz",
        "a\\b", "<a>", "a\tb",  "a^b",  "{a}", "caf\xc3\xa9", "a:8 0",
    };
    char text[80];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        take(text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        refuse_long(view_of(text), 400, "Host is not a host, or a host and a port.");
    }
    REFUSE("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400, "Host is not a host, or a host and a port.");
    take("GET http://[::1]:80/a HTTP/1.1\r\nHost: h\r\n\r\n");
    REFUSE("GET http://user@h/ HTTP/1.1\r\n\r\n", 400, "The request target is no path.");
    REFUSE("GET http://h:x/ HTTP/1.1\r\n\r\n", 400, "The request target is no path.");
}

static void the_last_transfer_coding_is_chunked(void **state) // RFC 9112 s. 6.1, 6.3
{
    (void)state;
    const char *why = "Transfer-Encoding does not end with chunked, once.";
    REFUSE(LINE "Transfer-Encoding: identity\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: chunked, identity\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: xchunked\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: chunked;a=b\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding:\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: ,\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n", 400, why);
    REFUSE(LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, why);
}

static void requests_cannot_be_smuggled(void **state)
{
    (void)state;
    const char *number = "Content-Length is not a number.";
    const char *differ = "Two Content-Lengths differ.";
    const char *exclude = "Content-Length and Transfer-Encoding exclude each other.";
    REFUSE(LINE "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, differ);
    REFUSE(LINE "Content-Length: 0\r\nContent-Length: 6\r\n\r\n", 400, differ);
    REFUSE(LINE "Content-Length: 5, 5\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: +5\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: -1\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: 0x5\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: 5 5\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length:\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: 18446744073709551616\r\n\r\n", 400, number);
    REFUSE(LINE "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, exclude);
    REFUSE(LINE "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, exclude);
    REFUSE("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
           "HTTP/1.0 has no Transfer-Encoding.");
}

// ---- limits -----------------------------------------------------------------

// A whole head of that many bytes.
static struct buffer head_of(size_t len)
{
    struct buffer head = { 0 };
    buffer_add_view(&head, VIEW(LINE "X: "));
    while (head.len < len - 4)
        buffer_add(&head, "x", 1);
    buffer_add_view(&head, VIEW("\r\n\r\n"));
    return head;
}

static void a_head_has_at_most_8_kib(void **state)
{
    (void)state;
    struct buffer head = head_of(HTTP_HEAD_MAX);
    take_long(buffer_view(&head));
    buffer_add_view(&head, VIEW("and whatever follows"));
    size_t used;
    assert_int_equal(parse(buffer_view(&head), head.len, &used), HTTP_DONE);
    assert_int_equal(used, HTTP_HEAD_MAX);
    buffer_free(&head);

    head = head_of(HTTP_HEAD_MAX + 1);
    size_t seen = refuse_long(buffer_view(&head), 431, "The request head is over 8 KiB.");
    assert_int_equal(seen, HTTP_HEAD_MAX); // 8 KiB without an end: it can only be too long
    buffer_free(&head);
}

static void leading_empty_lines_count_as_head(void **state)
{
    (void)state;
    struct buffer head = { 0 };
    while (head.len < HTTP_HEAD_MAX + 100)
        buffer_add_view(&head, VIEW("\r\n"));
    size_t seen = refuse_long(buffer_view(&head), 431, "The request head is over 8 KiB.");
    assert_int_equal(seen, HTTP_HEAD_MAX);
    buffer_free(&head);
}

static struct buffer head_with_headers(int count)
{
    struct buffer head = { 0 };
    buffer_add_view(&head, VIEW(LINE));
    for (int i = 1; i < count; i++)
        buffer_printf(&head, "X-%d: %d\r\n", i, i);
    buffer_add_view(&head, VIEW("\r\n"));
    return head;
}

static void a_head_has_at_most_100_headers(void **state)
{
    (void)state;
    struct buffer head = head_with_headers(HTTP_HEADERS_MAX);
    take_long(buffer_view(&head));
    assert_int_equal(req.header_count, 100);
    assert_view(http_header(&req, "x-99"), "99");
    buffer_free(&head);

    head = head_with_headers(HTTP_HEADERS_MAX + 1);
    refuse_long(buffer_view(&head), 431, "The request has more than 100 headers.");
    buffer_free(&head);
}

// ---- lists ------------------------------------------------------------------

static void assert_next(const char *name, struct http_list *cursor, const char *expected)
{
    struct view element;
    assert_true(http_header_next(&req, name, cursor, &element));
    assert_view(element, expected);
}

static void list_elements_come_one_by_one(void **state)
{
    (void)state;
    take(LINE "A: one, two ,\tthree\r\nB: no\r\na: ,, four,\r\nA:\r\nA: five six\r\n\r\n");
    struct http_list cursor = { 0 };
    struct view element;
    assert_next("A", &cursor, "one");
    assert_next("A", &cursor, "two");
    assert_next("A", &cursor, "three");
    assert_next("A", &cursor, "four");
    assert_next("A", &cursor, "five six");
    assert_false(http_header_next(&req, "A", &cursor, &element));
    assert_false(http_header_next(&req, "A", &cursor, &element));
}

static void commas_in_quotes_part_nothing(void **state)
{
    (void)state;
    take(LINE "A: x; y=\"1,2\\\",3\", z\r\nA: \"open, end\\\r\n\r\n");
    struct http_list cursor = { 0 };
    struct view element;
    assert_next("A", &cursor, "x; y=\"1,2\\\",3\"");
    assert_next("A", &cursor, "z");
    assert_next("A", &cursor, "\"open, end\\");
    assert_false(http_header_next(&req, "A", &cursor, &element));
}

static void a_token_is_looked_for_in_all_headers_of_a_name(void **state)
{
    (void)state;
    take(LINE "Connection: keep-alive, Upgrade\r\nConnection: x\r\nOther: y\r\n\r\n");
    assert_true(http_header_has(&req, "connection", "upgrade"));
    assert_true(http_header_has(&req, "Connection", "x"));
    assert_false(http_header_has(&req, "Connection", "y"));
    assert_false(http_header_has(&req, "Connection", "keep"));
    assert_false(http_header_has(&req, "Absent", "x"));
}

static void headers_of_a_name_are_counted(void **state)
{
    (void)state;
    take(LINE "A: 1\r\nB: 2\r\na:\r\nA: 1\r\n\r\n");
    assert_int_equal(http_header_count(&req, "A"), 3);
    assert_int_equal(http_header_count(&req, "b"), 1);
    assert_int_equal(http_header_count(&req, "C"), 0);
}

// ---- origins ----------------------------------------------------------------

static void an_origin_is_a_scheme_a_host_and_perhaps_a_port(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://a.example", "http://localhost:3000", "chrome-extension://abcdef",
        "http://[::1]:80",   "capacitor://localhost", "app+x.y-1://h",
    };
    static const char *const bad[] = {
        "",
        "*",
        "null",
        "a.example",
        "a.example:8080",
        "https:",
        "https://",
        "https:/a",
        "://a",
        "https://a/",
        "https://a/b",
        "https://u@a",
        "https://a b",
        "https://a?b",
        "https://:80",
        "1http://a",
        "ht tp://a",
        "https://a:x",
        "//a",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!http_is_origin(view_of(good[i])))
            fail_msg("an origin: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_is_origin(view_of(bad[i])))
            fail_msg("no origin: %s", bad[i]);
}

// ---- queries and escapes ----------------------------------------------------

static void assert_query(const char *query, const char *name, const char *expected)
{
    struct view raw;
    assert_true(http_query(view_of(query), name, &raw));
    assert_view(raw, expected);
}

static void query_parameters_are_found(void **state)
{
    (void)state;
    assert_query("token=1.ab&from=now-5s", "token", "1.ab");
    assert_query("token=1.ab&from=now-5s", "from", "now-5s");
    assert_query("a=1&a=2", "a", "1");
    assert_query("a==b=&c", "a", "=b=");
    assert_query("a=&b", "a", "");
    assert_query("a=&b", "b", "");
    assert_query("&&x=%41+&", "x", "%41+");

    struct view raw;
    assert_false(http_query(VIEW(""), "a", &raw));
    assert_false(http_query((struct view){ 0 }, "a", &raw));
    assert_false(http_query(VIEW("ab=1&A=2&=a"), "a", &raw));
}

static void assert_unescaped(struct view raw, bool plus, struct view expected)
{
    char out[64];
    assert_true(raw.len <= sizeof(out));
    assert_int_equal(http_unescape(raw, plus, out), expected.len);
    assert_memory_equal(out, expected.at, expected.len);
}

static void escapes_are_undone(void **state)
{
    (void)state;
    assert_unescaped(VIEW("plain"), false, VIEW("plain"));
    assert_unescaped(VIEW(""), false, VIEW(""));
    assert_unescaped(VIEW("a+b%2B"), false, VIEW("a+b+"));
    assert_unescaped(VIEW("a+b%2B"), true, VIEW("a b+"));
    assert_unescaped(VIEW("%c3%A9%00%25"), false, VIEW("\xc3\xa9\0%"));
}

static void bad_escapes_are_told(void **state)
{
    (void)state;
    const char *bad[] = { "%", "%4", "a%", "%g0", "%0g", "%%41", "%-1", "% 1" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[8];
        assert_int_equal(http_unescape(view_of(bad[i]), false, out), -1);
    }
}

static void escaping_and_back_changes_no_byte(void **state)
{
    (void)state;
    char all[256], back[3 * 256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (char)i;
    struct buffer out = { 0 };
    http_escape(&out, (struct view){ all, sizeof(all) });
    assert_int_equal(out.len, 66 + 3 * (256 - 66)); // 66 characters are unreserved
    assert_int_equal(http_unescape(buffer_view(&out), true, back), 256);
    assert_memory_equal(back, all, 256);
    buffer_free(&out);

    http_escape(&out, VIEW("a-Z_0.9~ /\xc3\xa9"));
    assert_view(buffer_view(&out), "a-Z_0.9~%20%2F%C3%A9");
    buffer_free(&out);
}

// ---- replies ----------------------------------------------------------------

static void assert_buffer(struct buffer *out, const char *expected)
{
    assert_view(buffer_view(out), expected);
    buffer_free(out);
}

static void replies_are_written(void **state)
{
    (void)state;
    struct buffer out = { 0 };
    http_reply(&out, 200, VIEW("text/plain"), VIEW("hello"), VIEW("X: y\r\n"), true);
    assert_buffer(&out, "HTTP/1.1 200 OK\r\n"
                        "Content-Type: text/plain\r\n"
                        "Content-Length: 5\r\n"
                        "Connection: keep-alive\r\n"
                        "X: y\r\n"
                        "\r\n"
                        "hello");
    http_reply(&out, 503, VIEW("text/plain"), VIEW(""), VIEW(""), false);
    assert_buffer(&out, "HTTP/1.1 503 Service Unavailable\r\n"
                        "Content-Length: 0\r\n"
                        "Connection: close\r\n"
                        "\r\n");
}

static void refusals_are_json(void **state)
{
    (void)state;
    struct buffer out = { 0 };
    struct view extra = VIEW("Retry-After: 5\r\n");
    http_refuse(&out, 429, "too_many_clients", "Come back later.", extra, false);
    assert_buffer(&out, "HTTP/1.1 429 Too Many Requests\r\n"
                        "Content-Type: application/json\r\n"
                        "Content-Length: 57\r\n"
                        "Connection: close\r\n"
                        "Retry-After: 5\r\n"
                        "\r\n"
                        "{\"error\":\"too_many_clients\",\"detail\":\"Come back later.\"}\n");
}

static void a_date_is_that_of_rfc_9110(void **state) // s. 5.6.7, 6.6.1
{
    (void)state;
    static const struct {
        int64_t unix_ms;
        const char *line;
    } cases[] = {
        { INT64_C(784111777999), "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" },
        { 0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" },
        { INT64_C(1709164800000), "Date: Thu, 29 Feb 2024 00:00:00 GMT\r\n" },
        { INT64_C(1798761599000), "Date: Thu, 31 Dec 2026 23:59:59 GMT\r\n" },
        { -1, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" },
        { INT64_MIN, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n" },
        { INT64_MAX, "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n" },
    };
    struct http_date date = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_view(http_date_line(&date, cases[i].unix_ms), cases[i].line);
}

static void a_date_is_made_once_a_second(void **state)
{
    (void)state;
    struct http_date date = { 0 };
    http_date_line(&date, 999); // of the second 0, which a zeroed one does not have yet
    date.line[0] = '!';
    assert_int_equal(http_date_line(&date, 0).at[0], '!');
    assert_int_equal(http_date_line(&date, 1000).at[0], 'D');
}

static void statuses_have_names(void **state)
{
    (void)state;
    const int sent[] = {
        101, 200, 400, 401, 403, 404, 405, 408, 413, 426, 429, 431, 500, 503, 505
    };
    for (size_t i = 0; i < ARRAY_LEN(sent); i++)
        assert_string_not_equal(http_status_text(sent[i]), "Unknown");
    assert_string_equal(http_status_text(403), "Forbidden");
    assert_string_equal(http_status_text(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(paths_and_queries_are_as_sent),
        cmocka_unit_test(an_absolute_target_loses_its_host),
        cmocka_unit_test(leading_empty_lines_are_passed_over),
        cmocka_unit_test(connections_are_kept_by_version_and_wish),
        cmocka_unit_test(bodies_are_noticed),
        cmocka_unit_test(a_value_may_hold_bytes_above_ascii),
        cmocka_unit_test(nonsense_is_refused_after_a_few_bytes),
        cmocka_unit_test(a_method_has_at_most_32_characters),
        cmocka_unit_test(a_request_line_has_three_parts),
        cmocka_unit_test(other_versions_are_refused),
        cmocka_unit_test(a_target_is_a_path_in_visible_ascii),
        cmocka_unit_test(line_ends_are_crlf_only),
        cmocka_unit_test(control_characters_are_refused_at_once),
        cmocka_unit_test(header_lines_are_a_name_and_a_colon),
        cmocka_unit_test(there_is_one_host),
        cmocka_unit_test(a_host_is_a_host_and_perhaps_a_port),
        cmocka_unit_test(the_last_transfer_coding_is_chunked),
        cmocka_unit_test(requests_cannot_be_smuggled),
        cmocka_unit_test(a_head_has_at_most_8_kib),
        cmocka_unit_test(leading_empty_lines_count_as_head),
        cmocka_unit_test(a_head_has_at_most_100_headers),
        cmocka_unit_test(list_elements_come_one_by_one),
        cmocka_unit_test(commas_in_quotes_part_nothing),
        cmocka_unit_test(a_token_is_looked_for_in_all_headers_of_a_name),
        cmocka_unit_test(headers_of_a_name_are_counted),
        cmocka_unit_test(an_origin_is_a_scheme_a_host_and_perhaps_a_port),
        cmocka_unit_test(query_parameters_are_found),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(bad_escapes_are_told),
        cmocka_unit_test(escaping_and_back_changes_no_byte),
        cmocka_unit_test(replies_are_written),
        cmocka_unit_test(refusals_are_json),
        cmocka_unit_test(a_date_is_that_of_rfc_9110),
        cmocka_unit_test(a_date_is_made_once_a_second),
        cmocka_unit_test(statuses_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, forget_bytes);
}
