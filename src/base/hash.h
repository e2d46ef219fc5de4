// SHA-1, HMAC-SHA256 and base64 over OpenSSL; a comparison in constant time,
// and a seeded hash for tables whose keys strangers choose. Any thread.
#pragma once

#include "base/base.h"

void hash_hmac_sha256(struct view key, struct view message, uint8_t out[32]);
void hash_sha1(struct view message, uint8_t out[20]);

#define HASH_BASE64_LEN(n) (((n) + 2) / 3 * 4)
void hash_base64(const uint8_t *at, size_t len, char *out); // HASH_BASE64_LEN(len) chars, no NUL
// The number of bytes that `text` (padded base64, RFC 4648 s. 4) stands for, or
// -1 when it is no base64. Writes nothing.
ptrdiff_t hash_base64_bytes(struct view text);

// Writes those bytes; only of what hash_base64_bytes takes for base64.
void hash_base64_decode(struct view text, uint8_t *out);

void hash_hex(const uint8_t *at, size_t len, char *out); // 2 * len lower-case digits, no NUL

// Equal? Takes as long for every content of the same length.
bool hash_equal(struct view a, struct view b);

// SipHash-like keyed hash for tables: a stranger cannot choose collisions, the
// key is random per process (getrandom(2) at first use).
uint64_t hash_table_hash(struct view key);
