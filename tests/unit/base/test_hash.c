#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// Digests are compared as hex, so that a failure can be read.
static void assert_hex(const uint8_t *bytes, size_t len, const char *expected)
{
    char hex[2 * 64 + 1] = "";
    assert_true(len <= 64);
    hash_hex(bytes, len, hex);
    assert_string_equal(hex, expected);
}

static void assert_hmac(struct view key, struct view message, const char *expected)
{
    uint8_t digest[32];
    hash_hmac_sha256(key, message, digest);
    assert_hex(digest, sizeof(digest), expected);
}

// RFC 4231 s. 4.2, 4.3, 4.7 (a key longer than a block)
static void hmac_sha256_is_that_of_rfc_4231(void **state)
{
    (void)state;
    assert_hmac(VIEW("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                     "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"),
                VIEW("Hi There"),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_hmac(VIEW("Jefe"), VIEW("what do ya want for nothing?"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

    char key[131];
    memset(key, 0xaa, sizeof(key));
    assert_hmac((struct view){ key, sizeof(key) },
                VIEW("Test Using Larger Than Block-Size Key - Hash Key First"),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_sha256_takes_an_empty_key_and_message(void **state)
{
    (void)state;
    assert_hmac(VIEW(""), VIEW(""),
                "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    assert_hmac((struct view){ 0 }, (struct view){ 0 },
                "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void assert_sha1(struct view message, const char *expected)
{
    uint8_t digest[20];
    hash_sha1(message, digest);
    assert_hex(digest, sizeof(digest), expected);
}

static void sha1_is_that_of_rfc_3174(void **state)
{
    (void)state;
    assert_sha1(VIEW("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_sha1(VIEW(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

static void assert_base64(const char *plain, const char *expected)
{
    char text[32] = "";
    size_t len = strlen(plain);
    hash_base64((const uint8_t *)plain, len, text);
    assert_string_equal(text, expected);
    assert_int_equal(strlen(expected), HASH_BASE64_LEN(len));
    assert_int_equal(hash_base64_bytes(view_of(text)), len);
}

static void base64_is_that_of_rfc_4648(void **state)
{
    (void)state;
    assert_base64("", "");
    assert_base64("f", "Zg==");
    assert_base64("fo", "Zm8=");
    assert_base64("foo", "Zm9v");
    assert_base64("foob", "Zm9vYg==");
    assert_base64("fooba", "Zm9vYmE=");
    assert_base64("foobar", "Zm9vYmFy");
    assert_base64("\xfb\xff\xbf", "+/+/");
}

static void what_is_no_base64_has_no_length(void **state)
{
    (void)state;
    static const char *const bad[] = { "Z",    "Zg",   "Zg=",  "Z===",   "====",   "=Zg=",
                                       "Zg=a", "Zg-_", "Z g=", "Zm9v\n", "Zm9vYg=" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (hash_base64_bytes(view_of(bad[i])) != -1)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(hash_base64_bytes(VIEW("Zm9\0")), -1);
}

static void equal_means_the_same_bytes(void **state)
{
    (void)state;
    assert_true(hash_equal(VIEW("abc"), VIEW("abc")));
    assert_true(hash_equal(VIEW(""), (struct view){ 0 }));
    assert_true(hash_equal(VIEW("a\0c"), VIEW("a\0c")));
    assert_false(hash_equal(VIEW("abc"), VIEW("abd")));
    assert_false(hash_equal(VIEW("abc"), VIEW("ab")));
    assert_false(hash_equal(VIEW("a\0c"), VIEW("a\0d")));
}

static void a_key_has_one_table_hash(void **state)
{
    (void)state;
    char copy[] = "xstream:btc";
    assert_int_equal(hash_table_hash(VIEW("stream:btc")), hash_table_hash(view_of(copy + 1)));
    assert_int_equal(hash_table_hash(VIEW("")), hash_table_hash((struct view){ 0 }));
}

// Ten thousand streams, named as Bond names them, in a table of 1,024 places: some
// ten to a place, whichever of its bits the table goes by.
static void table_hashes_spread(void **state)
{
    (void)state;
    uint16_t by_low[1024] = { 0 }, by_high[1024] = { 0 };
    for (int i = 0; i < 10000; i++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "stream:%016x", i);
        uint64_t hash = hash_table_hash((struct view){ key, (size_t)len });
        by_low[hash % 1024]++;
        by_high[hash >> 54]++;
    }
    for (int i = 0; i < 1024; i++) {
        assert_in_range(by_low[i], 0, 40);
        assert_in_range(by_high[i], 0, 40);
    }
}

static void keys_of_every_length_differ(void **state)
{
    (void)state;
    static const char zeros[64];
    uint64_t seen[64];
    for (size_t len = 0; len < 64; len++) {
        seen[len] = hash_table_hash((struct view){ zeros, len });
        for (size_t i = 0; i < len; i++)
            assert_true(seen[i] != seen[len]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_sha256_is_that_of_rfc_4231),
        cmocka_unit_test(hmac_sha256_takes_an_empty_key_and_message),
        cmocka_unit_test(sha1_is_that_of_rfc_3174),
        cmocka_unit_test(base64_is_that_of_rfc_4648),
        cmocka_unit_test(what_is_no_base64_has_no_length),
        cmocka_unit_test(equal_means_the_same_bytes),
        cmocka_unit_test(a_key_has_one_table_hash),
        cmocka_unit_test(table_hashes_spread),
        cmocka_unit_test(keys_of_every_length_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
