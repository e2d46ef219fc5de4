// A head that comes byte by byte gets the answer that it gets as a whole, and an
// answer once given stands. What was taken lies within the head.
#include "wire/http.h"

struct answer {
    enum http_result result;
    size_t used;
    int status;
    const char *why;
};

static void check_view(struct view v, struct view head)
{
    CHECK(v.len == 0 || (v.at >= head.at && v.at + v.len <= head.at + head.len));
}

static void check_list(const struct http_request *req, const char *name, struct view head)
{
    struct http_list cursor = { 0 };
    struct view element;
    while (http_header_next(req, name, &cursor, &element)) {
        check_view(element, head);
        CHECK(element.len > 0);
        CHECK(view_eq(element, view_trim(element)));
        CHECK(memchr(element.at, '\n', element.len) == NULL);
    }
}

static void check_unescape(struct view raw)
{
    char *plain = must_alloc(raw.len + 1), *again = must_alloc(raw.len * 3 + 1);
    ptrdiff_t len = http_unescape(raw, true, plain);
    CHECK(len >= -1 && len <= (ptrdiff_t)raw.len);
    if (len >= 0) {
        struct buffer escaped = { 0 };
        http_escape(&escaped, (struct view){ plain, (size_t)len });
        CHECK(http_unescape(buffer_view(&escaped), true, again) == len);
        CHECK(memcmp(plain, again, (size_t)len) == 0);
        buffer_free(&escaped);
    }
    free(plain);
    free(again);
}

static void check_done(const struct http_request *req, struct view head)
{
    CHECK(head.len <= HTTP_HEAD_MAX);
    check_view(req->method, head);
    check_view(req->query, head);
    CHECK(req->method.len > 0 && req->path.len > 0); // the path may be our own "/"
    for (size_t i = 0; i < req->header_count; i++) {
        check_view(req->headers[i].name, head);
        check_view(req->headers[i].value, head);
        CHECK(req->headers[i].name.len > 0);
    }
    check_list(req, "Connection", head);
    check_list(req, "A", head);
    check_list(req, "Transfer-Encoding", head);
    CHECK(http_header_count(req, "Host") <= 1);
    struct view host = http_header(req, "Host");
    for (size_t i = 0; i < host.len; i++)
        CHECK(host.at[i] > ' ' && strchr("/@?#\\\"<>", host.at[i]) == NULL);
    check_unescape(req->path);
    struct view raw;
    if (http_query(req->query, "token", &raw)) {
        check_view(raw, head);
        check_unescape(raw);
    }
}

// Parses a copy: a byte too far is then seen.
static struct answer parse(const uint8_t *data, size_t size)
{
    static struct http_request req;
    char *at = must_alloc(size ? size : 1);
    memcpy(at, data, size);
    size_t used;
    enum http_result result = http_parse(&req, (struct view){ at, size }, &used);
    CHECK(used <= size);
    if (result == HTTP_DONE)
        check_done(&req, (struct view){ at, used });
    if (result == HTTP_BAD)
        CHECK(req.status == 400 || req.status == 431 || req.status == 505);
    free(at);
    return (struct answer){ result, used, req.status, req.why };
}

static bool same(struct answer a, struct answer b)
{
    return a.result == b.result && a.used == b.used && a.status == b.status && a.why == b.why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answer whole = parse(data, size);
    size_t step = size <= 512 ? 1 : 13; // a long head byte by byte would take all the time
    for (size_t len = 0; len < size; len += step) {
        struct answer now = parse(data, len);
        CHECK(now.result == HTTP_MORE || same(now, whole));
        CHECK(now.result != HTTP_DONE || len >= whole.used);
        CHECK(now.result == HTTP_DONE || whole.result != HTTP_DONE || len < whole.used);
    }
    return 0;
}
