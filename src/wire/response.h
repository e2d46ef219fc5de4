// HTTP/1.x replies as a client reads them (RFC 9112): the head, and how long the body is.
// Pure: bytes in, result out; what it finds are views into the caller's bytes.
#pragma once

#include "base/base.h"

#define RESPONSE_HEAD_MAX (16 * KIB)
#define RESPONSE_HEADERS_MAX 100

enum response_result {
    RESPONSE_MORE, // not a whole head yet
    RESPONSE_DONE, // *used bytes were the head
    RESPONSE_BAD,  // it is no HTTP, or beyond a limit: `why` is a sentence
};

struct response_header {
    struct view name, value; // value without blanks around it
};

struct response {
    int status;
    size_t header_count;
    struct response_header headers[RESPONSE_HEADERS_MAX];
    uint64_t body_len; // Content-Length; UINT64_MAX: up to the connection's end, or in chunks
    const char *why;
};

// Call it again with all the bytes so far when more have come.
enum response_result response_parse(struct response *r, struct view bytes, size_t *used);
// The value of the only or first header of that name (case-insensitive); at == NULL: none.
struct view response_header(const struct response *r, const char *name);
// Seconds of Retry-After, if it has some, and at most `most`; -1: it has none, or a date.
int64_t response_retry_after_s(const struct response *r, int64_t most);
