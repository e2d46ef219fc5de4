// How Redis writes its answers, in RESP2 and RESP3: appends to a connection's output. Pure.
#pragma once

#include "base/base.h"
#include "wire/eventid.h"

void reply_status(struct buffer *out, const char *text); // +OK
void reply_error(struct buffer *out, const char *text);  // -ERR, its code included
void reply_errorf(struct buffer *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void reply_integer(struct buffer *out, int64_t n);          // :1
void reply_header(struct buffer *out, char kind, size_t n); // *2, %2, >2, $5
void reply_bulk(struct buffer *out, struct view text);
void reply_text(struct buffer *out, const char *text); // the same of a C string
void reply_id(struct buffer *out, struct eventid id);
void reply_map(struct buffer *out, unsigned resp, size_t pairs); // in RESP2 an array
void reply_null(struct buffer *out, unsigned resp);
void reply_null_array(struct buffer *out, unsigned resp);
void reply_verbatim(struct buffer *out, unsigned resp, struct view text);

// Decimal digits of n, at most 20, no NUL. Returns how many. snprintf costs ten times that.
size_t reply_digits(uint64_t n, char *at);
