// A reply's head reads the same however its bytes were parted, and what is found lies in
// them. Input: the bytes.
#include "wire/response.h"

static void check_done(const struct response *r, struct view bytes, size_t used)
{
    CHECK(used <= bytes.len && used <= RESPONSE_HEAD_MAX);
    CHECK(r->status >= 100 && r->status <= 599 && r->header_count <= RESPONSE_HEADERS_MAX);
    for (size_t i = 0; i < r->header_count; i++) {
        CHECK(r->headers[i].name.len > 0);
        CHECK(r->headers[i].name.at >= bytes.at);
        CHECK(r->headers[i].value.at + r->headers[i].value.len <= bytes.at + used);
    }
    int64_t after_s = response_retry_after_s(r, 60);
    CHECK(after_s >= -1 && after_s <= 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct response whole, part;
    size_t whole_used = 0, used = 0;
    char *at = must_alloc(size ? size : 1); // its own: a byte too far is then seen
    memcpy(at, data, size);
    struct view bytes = { at, size };
    enum response_result result = response_parse(&whole, bytes, &whole_used);
    if (result == RESPONSE_DONE)
        check_done(&whole, bytes, whole_used);
    for (size_t len = 0; len < size && len < 600; len++) {
        enum response_result so_far = response_parse(&part, (struct view){ at, len }, &used);
        if (so_far == RESPONSE_MORE)
            continue;
        CHECK(so_far == result);
        CHECK(so_far == RESPONSE_BAD || (used == whole_used && part.status == whole.status));
        break;
    }
    free(at);
    return 0;
}
