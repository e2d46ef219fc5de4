#include "wire/token.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"

#define SHORT_DIGITS 16
#define FULL_DIGITS 64

struct parts {
    struct view expiry, signature;
    int64_t expiry_s;
};

static bool is_lower_hex(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!(text.at[i] >= '0' && text.at[i] <= '9') && !(text.at[i] >= 'a' && text.at[i] <= 'f'))
            return false;
    return true;
}

static bool split(struct view token, struct parts *out)
{
    const char *dot = memchr(token.at, '.', token.len);
    if (!dot)
        return false;
    out->expiry = (struct view){ token.at, (size_t)(dot - token.at) };
    out->signature = (struct view){ dot + 1, token.len - out->expiry.len - 1 };

    uint64_t expiry;
    if (!view_u64(out->expiry, &expiry) || expiry > INT64_MAX)
        return false;
    out->expiry_s = (int64_t)expiry;
    return (out->signature.len == SHORT_DIGITS || out->signature.len == FULL_DIGITS) &&
           is_lower_hex(out->signature);
}

// All 64 digits for "{stream_id}.{expiry}"; the short signature is where they begin.
static void sign(struct view stream_id, struct view expiry, struct view secret,
                 char digits[FULL_DIGITS])
{
    struct buffer message = { 0 };
    uint8_t digest[FULL_DIGITS / 2];

    buffer_add_view(&message, stream_id);
    buffer_add_view(&message, VIEW("."));
    buffer_add_view(&message, expiry);
    hash_hmac_sha256(secret, buffer_view(&message), digest);
    hash_hex(digest, sizeof(digest), digits);
    buffer_free(&message);
}

static bool is_signed(const struct parts *parts, struct view stream_id, const struct view *secrets,
                      size_t secret_count)
{
    char digits[FULL_DIGITS];
    for (size_t i = 0; i < secret_count; i++) {
        if (i > 0 && secrets[i].len == 0)
            continue; // no previous secret is set: nobody may sign with the empty one
        sign(stream_id, parts->expiry, secrets[i], digits);
        if (hash_equal(parts->signature, (struct view){ digits, parts->signature.len }))
            return true;
    }
    return false;
}

// In milliseconds, as contract part 1 has it; an expiry may be too far for them.
static bool is_past(int64_t expiry_s, int64_t now_ms)
{
    return now_ms / MS_PER_S > expiry_s || (now_ms / MS_PER_S == expiry_s && now_ms % MS_PER_S > 0);
}

enum token_verdict token_verify(struct view token, struct view stream_id,
                                const struct view *secrets, size_t secret_count, int64_t now_ms,
                                int64_t *expiry_s)
{
    struct parts parts;
    if (token.len == 0)
        return TOKEN_MISSING;
    if (!split(token, &parts))
        return TOKEN_MALFORMED;
    if (!is_signed(&parts, stream_id, secrets, secret_count))
        return TOKEN_INVALID;
    *expiry_s = parts.expiry_s;
    return is_past(parts.expiry_s, now_ms) ? TOKEN_EXPIRED : TOKEN_OK;
}

const char *token_verdict_name(enum token_verdict verdict)
{
    static const char *const names[] = {
        [TOKEN_OK] = "ok",
        [TOKEN_MISSING] = "token_missing",
        [TOKEN_MALFORMED] = "token_malformed",
        [TOKEN_INVALID] = "token_invalid",
        [TOKEN_EXPIRED] = "token_expired",
    };
    return names[verdict];
}

const char *token_verdict_sentence(enum token_verdict verdict)
{
    static const char *const sentences[] = {
        [TOKEN_OK] = "The token is valid for this stream.",
        [TOKEN_MISSING] = "No token was given: add ?token=, or an Authorization: Bearer header.",
        [TOKEN_MALFORMED] = "The token is not of the form <expiry>.<signature>: "
                            "check that it was copied whole.",
        [TOKEN_INVALID] = "The token was signed for another stream or with another secret: "
                          "ask the Bond API for a new one.",
        [TOKEN_EXPIRED] = "The token has expired: ask the Bond API for a new one.",
    };
    return sentences[verdict];
}

size_t token_mint(struct view stream_id, struct view secret, int64_t expiry_s, bool full,
                  char out[TOKEN_MAX + 1])
{
    char digits[FULL_DIGITS];
    CHECK(expiry_s >= 0);
    int len = snprintf(out, TOKEN_MAX + 1, "%" PRId64, expiry_s);
    sign(stream_id, (struct view){ out, (size_t)len }, secret, digits);
    len += snprintf(out + len, TOKEN_MAX + 1 - (size_t)len, ".%.*s",
                    full ? FULL_DIGITS : SHORT_DIGITS, digits);
    return (size_t)len;
}
