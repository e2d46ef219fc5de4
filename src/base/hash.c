#include "base/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <sys/random.h>

// OpenSSL fails here only when it has no memory or no such algorithm: nothing
// that a broker could go on without.

void hash_hmac_sha256(struct view key, struct view message, uint8_t out[32])
{
    unsigned int len = 0;
    const uint8_t *bytes = (const uint8_t *)message.at;
    CHECK(key.len <= INT32_MAX);
    CHECK(HMAC(EVP_sha256(), key.len ? key.at : "", (int)key.len, bytes, message.len, out, &len));
    CHECK(len == 32);
}

void hash_sha1(struct view message, uint8_t out[20])
{
    unsigned int len = 0;
    CHECK(EVP_Digest(message.at, message.len, out, &len, EVP_sha1(), NULL) == 1);
    CHECK(len == 20);
}

// OpenSSL's own EVP_EncodeBlock writes a NUL after its output, which callers
// that encode into a frame have no room for.
void hash_base64(const uint8_t *at, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (; len >= 3; at += 3, len -= 3) {
        *out++ = digits[at[0] >> 2];
        *out++ = digits[(at[0] & 3) << 4 | at[1] >> 4];
        *out++ = digits[(at[1] & 15) << 2 | at[2] >> 6];
        *out++ = digits[at[2] & 63];
    }
    if (len == 0)
        return;
    uint8_t second = len == 2 ? at[1] : 0;
    *out++ = digits[at[0] >> 2];
    *out++ = digits[(at[0] & 3) << 4 | second >> 4];
    *out++ = len == 2 ? digits[(second & 15) << 2] : '=';
    *out++ = '=';
}

static bool is_base64_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

ptrdiff_t hash_base64_bytes(struct view text)
{
    if (text.len % 4 != 0)
        return -1;
    size_t digits = text.len;
    while (digits > 0 && text.len - digits < 2 && text.at[digits - 1] == '=')
        digits--;
    for (size_t i = 0; i < digits; i++)
        if (!is_base64_digit(text.at[i]))
            return -1;
    return (ptrdiff_t)(digits * 3 / 4);
}

static unsigned base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') + 52 : c == '+' ? 62 : 63;
}

void hash_base64_decode(struct view text, uint8_t *out)
{
    unsigned bits = 0, count = 0; // of `bits`, those that have not been written
    for (size_t i = 0; i < text.len && text.at[i] != '='; i++) {
        bits = bits << 6 | base64_value(text.at[i]);
        count += 6;
        if (count >= 8) {
            count -= 8;
            *out++ = (uint8_t)(bits >> count);
        }
    }
}

void hash_hex(const uint8_t *at, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[at[i] >> 4];
        *out++ = digits[at[i] & 15];
    }
}

bool hash_equal(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.at, b.at, a.len) == 0);
}

// SipHash-1-3 (Aumasson and Bernstein): one round for each eight bytes, three to
// end, which is what hash tables elsewhere use it with.
#define SIP_ROUNDS_A_WORD 1
#define SIP_ROUNDS_AT_END 3

struct sip {
    uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_rounds(struct sip *s, int rounds)
{
    while (rounds--) {
        s->a += s->b, s->b = rotate(s->b, 13) ^ s->a, s->a = rotate(s->a, 32);
        s->c += s->d, s->d = rotate(s->d, 16) ^ s->c;
        s->a += s->d, s->d = rotate(s->d, 21) ^ s->a;
        s->c += s->b, s->b = rotate(s->b, 17) ^ s->c, s->c = rotate(s->c, 32);
    }
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->d ^= word;
    sip_rounds(s, SIP_ROUNDS_A_WORD);
    s->a ^= word;
}

static uint64_t siphash(const uint64_t key[2], struct view text)
{
    struct sip s = { key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573 };
    uint64_t word, last = (uint64_t)text.len << 56; // the last word ends with the length

    for (; text.len >= sizeof(word); text.at += sizeof(word), text.len -= sizeof(word)) {
        memcpy(&word, text.at, sizeof(word));
        sip_word(&s, word);
    }
    for (size_t i = 0; i < text.len; i++)
        last |= (uint64_t)(uint8_t)text.at[i] << (8 * i);
    sip_word(&s, last);

    s.c ^= 0xff;
    sip_rounds(&s, SIP_ROUNDS_AT_END);
    return s.a ^ s.b ^ s.c ^ s.d;
}

static pthread_once_t table_key_once = PTHREAD_ONCE_INIT;
static uint64_t table_key[2];

static void choose_table_key(void)
{
    CHECK(getrandom(table_key, sizeof(table_key), 0) == sizeof(table_key));
}

uint64_t hash_table_hash(struct view key)
{
    pthread_once(&table_key_once, choose_table_key);
    return siphash(table_key, key);
}
