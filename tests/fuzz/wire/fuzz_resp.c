// Replies are found the same whole and in pieces, and what was found whole can be
// walked to its end. Input: a byte that seeds the piece sizes, the replies.
#include "wire/resp.h"

// The pieces get their sizes from this: mostly small, so that every border is met.
static size_t piece(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 28 ? *seed >> 28 : 1;
}

static enum resp_result scan_in_pieces(struct view bytes, uint32_t seed, size_t *used)
{
    struct resp_scan scan = { 0 };
    for (size_t len = 0;;) {
        enum resp_result result = resp_scan(&scan, (struct view){ bytes.at, len }, used);
        CHECK(scan.at <= len && scan.depth <= RESP_DEPTH_MAX);
        if (result != RESP_MORE || len == bytes.len)
            return result;
        size_t more = piece(&seed);
        len = more < bytes.len - len ? len + more : bytes.len;
    }
}

static void walk(struct resp_reader *r)
{
    struct resp_node node;
    CHECK(resp_next(r, &node));
    if (node.text.len)
        CHECK(node.text.at + node.text.len <= r->end);
    CHECK(node.type == RESP_ARRAY || node.type == RESP_MAP || node.type == RESP_PUSH ||
          node.count == 0);
    for (size_t i = 0; i < node.count; i++)
        walk(r);
}

static void check_reply(struct view reply)
{
    struct resp_node node;
    struct resp_reader walked = resp_open(reply), skipped = walked;
    walk(&walked);
    CHECK(walked.at == walked.end);
    CHECK(!resp_next(&walked, &node));

    CHECK(resp_next(&skipped, &node));
    resp_skip(&skipped, &node);
    CHECK(skipped.at == skipped.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct view rest = { (const char *)data + 1, size - 1 };
    for (;;) {
        struct resp_scan scan = { 0 };
        size_t used = 0, used_in_pieces = 0;
        enum resp_result whole = resp_scan(&scan, rest, &used);
        CHECK(scan_in_pieces(rest, data[0], &used_in_pieces) == whole);
        if (whole != RESP_DONE)
            return 0;
        CHECK(used > 0 && used <= rest.len && used_in_pieces == used);
        check_reply((struct view){ rest.at, used });
        rest.at += used, rest.len -= used;
    }
}
