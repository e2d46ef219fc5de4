// No input is a valid token, since none knows the secret; what is minted for the
// input as a stream is valid for it, and for no other. Input: a token, and behind
// the first '&' a stream.
#include "wire/token.h"

#define SECRET VIEW("a secret that the corpus does not know")
#define EXPIRY INT64_C(1760003600)

static enum token_verdict verify(struct view token, struct view stream)
{
    int64_t expiry_s = -1;
    const struct view secrets[] = { SECRET, VIEW("") };
    enum token_verdict verdict = token_verify(token, stream, secrets, 2, 0, &expiry_s);
    CHECK((expiry_s >= 0) == (verdict == TOKEN_OK || verdict == TOKEN_EXPIRED));
    CHECK((verdict == TOKEN_MISSING) == (token.len == 0));
    CHECK(token.len <= TOKEN_MAX || verdict == TOKEN_MALFORMED);
    return verdict;
}

static void check_minted(struct view stream, bool full)
{
    char token[TOKEN_MAX + 1];
    struct buffer other = { 0 };
    size_t len = token_mint(stream, SECRET, EXPIRY, full, token);
    CHECK(len <= TOKEN_MAX && token[len] == '\0');
    CHECK(verify((struct view){ token, len }, stream) == TOKEN_OK);

    buffer_add_view(&other, stream);
    buffer_add_view(&other, VIEW("x"));
    CHECK(verify((struct view){ token, len }, buffer_view(&other)) == TOKEN_INVALID);
    buffer_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view token = { (const char *)data, size }, stream = { 0 };
    const char *amp = size ? memchr(data, '&', size) : NULL;
    if (amp) {
        token.len = (size_t)(amp - token.at);
        stream = (struct view){ amp + 1, size - token.len - 1 };
    }
    enum token_verdict verdict = verify(token, stream);
    CHECK(verdict != TOKEN_OK && verdict != TOKEN_EXPIRED);
    check_minted(stream, size % 2);
    return 0;
}
