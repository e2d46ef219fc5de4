// Bond access tokens, contract part 1: `{expiry}.{sig}`, sig = the first 16 (or
// all 64) lower-case hex digits of HMAC-SHA256(secret, "{stream_id}.{expiry}").
// Pure: now is passed in. Any thread.
#pragma once

#include "base/base.h"

enum token_verdict {
    TOKEN_OK,
    TOKEN_MISSING,   // empty
    TOKEN_MALFORMED, // not `digits.hex`, 16 or 64 digits; expiry canonical and within int64
    TOKEN_INVALID,   // well formed, wrong signature
    TOKEN_EXPIRED,   // right signature, now > expiry (to the millisecond)
};

#define TOKEN_MAX (20 + 1 + 64) // characters of the longest token

// The secrets are tried in order; an empty one after the first is passed over.
// *expiry_s is set when the verdict is OK or EXPIRED.
enum token_verdict token_verify(struct view token, struct view stream_id,
                                const struct view *secrets, size_t secret_count, int64_t now_ms,
                                int64_t *expiry_s);

// The error code of contract part 2 ("token_expired"); "ok" for TOKEN_OK.
const char *token_verdict_name(enum token_verdict verdict);
// A sentence for a person: what is wrong and what to do.
const char *token_verdict_sentence(enum token_verdict verdict);

// Writes a token and a NUL; returns its length. full: the 64-digit signature.
size_t token_mint(struct view stream_id, struct view secret, int64_t expiry_s, bool full,
                  char out[TOKEN_MAX + 1]);
