#include "wire/token.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#define STREAM VIEW("btc")
#define SECRET VIEW("bond-dev-secret-change-in-production")
#define EXPIRY INT64_C(1760003600)
#define GOOD "1760003600.167a7f4c3a19a011"

// ---- vectors shared with the Bond API ---------------------------------------

static json_t *load_vectors(void)
{
    const char *dir = getenv("BOND_TEST_DIR");
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof(path), "%s/vectors/tokens.json", dir ? dir : "tests");
    json_t *root = json_load_file(path, 0, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

static struct view text_of(const json_t *c, const char *key)
{
    const json_t *text = json_object_get(c, key);
    assert_non_null(text);
    return (struct view){ json_string_value(text), json_string_length(text) };
}

static bool accepts(const json_t *c)
{
    struct view secret = text_of(c, "secret");
    int64_t expiry_s, now_ms = llround(json_number_value(json_object_get(c, "now")) * 1000);
    return token_verify(text_of(c, "token"), text_of(c, "stream_id"), &secret, 1, now_ms,
                        &expiry_s) == TOKEN_OK;
}

static void every_vector_has_its_answer(void **state)
{
    (void)state;
    json_t *root = load_vectors(), *c;
    json_t *cases = json_object_get(root, "cases");
    size_t i, wrong = 0;

    assert_true(json_array_size(cases) > 0);
    json_array_foreach(cases, i, c)
    {
        bool expected = json_is_true(json_object_get(c, "broker_accepts"));
        if (accepts(c) == expected)
            continue;
        print_error("case %zu, '%s': expected to be %s\n", i, text_of(c, "name").at,
                    expected ? "accepted" : "refused");
        wrong++;
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
}

// ---- verdicts ---------------------------------------------------------------

static enum token_verdict verdict_at(const char *token, int64_t now_ms)
{
    int64_t expiry_s;
    return token_verify(view_of(token), STREAM, &SECRET, 1, now_ms, &expiry_s);
}

static enum token_verdict verdict(const char *token)
{
    return verdict_at(token, 0);
}

static void each_fault_has_its_verdict(void **state)
{
    (void)state;
    assert_int_equal(verdict(GOOD), TOKEN_OK);
    assert_int_equal(verdict(""), TOKEN_MISSING);
    assert_int_equal(verdict("invalid_token"), TOKEN_MALFORMED);
    assert_int_equal(verdict("1760003600.167A7F4C3A19A011"), TOKEN_MALFORMED);
    assert_int_equal(verdict("1760003600.167a7f4c3a19a01"), TOKEN_MALFORMED);
    assert_int_equal(verdict("01760003600.167a7f4c3a19a011"), TOKEN_MALFORMED);
    assert_int_equal(verdict("9223372036854775808.167a7f4c3a19a011"), TOKEN_MALFORMED);
    assert_int_equal(verdict(GOOD "\n"), TOKEN_MALFORMED);
    assert_int_equal(verdict("1760003600.167a7f4c3a19a012"), TOKEN_INVALID);
    assert_int_equal(verdict("1760003601.167a7f4c3a19a011"), TOKEN_INVALID);
}

static void a_token_holds_to_the_millisecond(void **state)
{
    (void)state;
    assert_int_equal(verdict_at(GOOD, EXPIRY * 1000), TOKEN_OK);
    assert_int_equal(verdict_at(GOOD, EXPIRY * 1000 + 1), TOKEN_EXPIRED);
}

static void a_wrong_token_is_not_called_expired(void **state)
{
    (void)state;
    assert_int_equal(verdict_at("1760003600.167a7f4c3a19a012", INT64_MAX), TOKEN_INVALID);
}

static void the_expiry_is_told_when_the_signature_is_right(void **state)
{
    (void)state;
    int64_t expiry_s = 7;
    token_verify(VIEW("1760003601.167a7f4c3a19a011"), STREAM, &SECRET, 1, 0, &expiry_s);
    assert_int_equal(expiry_s, 7);
    token_verify(VIEW(GOOD), STREAM, &SECRET, 1, 0, &expiry_s);
    assert_int_equal(expiry_s, EXPIRY);
    expiry_s = 7;
    token_verify(VIEW(GOOD), STREAM, &SECRET, 1, INT64_MAX, &expiry_s);
    assert_int_equal(expiry_s, EXPIRY);
}

// ---- secrets ----------------------------------------------------------------

static enum token_verdict verdict_by(struct view signed_with, struct view first, struct view second)
{
    char token[TOKEN_MAX + 1];
    int64_t expiry_s;
    size_t len = token_mint(STREAM, signed_with, EXPIRY, false, token);
    return token_verify((struct view){ token, len }, STREAM, (struct view[]){ first, second }, 2, 0,
                        &expiry_s);
}

static void a_previous_secret_is_still_taken(void **state)
{
    (void)state;
    assert_int_equal(verdict_by(VIEW("new"), VIEW("new"), VIEW("old")), TOKEN_OK);
    assert_int_equal(verdict_by(VIEW("old"), VIEW("new"), VIEW("old")), TOKEN_OK);
    assert_int_equal(verdict_by(VIEW("older"), VIEW("new"), VIEW("old")), TOKEN_INVALID);
}

static void an_empty_previous_secret_opens_nothing(void **state)
{
    (void)state;
    assert_int_equal(verdict_by(VIEW(""), VIEW("new"), VIEW("")), TOKEN_INVALID);
    assert_int_equal(verdict_by(VIEW("new"), VIEW("new"), VIEW("")), TOKEN_OK);
}

// ---- minting ----------------------------------------------------------------

static void a_minted_token_is_the_apis_own(void **state)
{
    (void)state;
    char token[TOKEN_MAX + 1];
    assert_int_equal(token_mint(STREAM, SECRET, EXPIRY, false, token), strlen(GOOD));
    assert_string_equal(token, GOOD);
}

static void a_minted_token_is_taken(void **state)
{
    (void)state;
    static const int64_t expiries[] = { 0, 1, EXPIRY, INT64_MAX };
    for (size_t i = 0; i < 2 * ARRAY_LEN(expiries); i++) {
        char token[TOKEN_MAX + 1];
        bool full = i % 2;
        size_t len = token_mint(STREAM, SECRET, expiries[i / 2], full, token);
        assert_int_equal(strlen(token), len);
        assert_int_equal(strlen(strchr(token, '.')), full ? 65 : 17);
        assert_int_equal(verdict(token), TOKEN_OK);
    }
}

static void every_verdict_has_a_code_and_a_sentence(void **state)
{
    (void)state;
    assert_string_equal(token_verdict_name(TOKEN_OK), "ok");
    assert_string_equal(token_verdict_name(TOKEN_MISSING), "token_missing");
    assert_string_equal(token_verdict_name(TOKEN_MALFORMED), "token_malformed");
    assert_string_equal(token_verdict_name(TOKEN_INVALID), "token_invalid");
    assert_string_equal(token_verdict_name(TOKEN_EXPIRED), "token_expired");
    for (int v = TOKEN_OK; v <= TOKEN_EXPIRED; v++) {
        const char *sentence = token_verdict_sentence((enum token_verdict)v);
        assert_int_equal(sentence[strlen(sentence) - 1], '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_has_its_answer),
        cmocka_unit_test(each_fault_has_its_verdict),
        cmocka_unit_test(a_token_holds_to_the_millisecond),
        cmocka_unit_test(a_wrong_token_is_not_called_expired),
        cmocka_unit_test(the_expiry_is_told_when_the_signature_is_right),
        cmocka_unit_test(a_previous_secret_is_still_taken),
        cmocka_unit_test(an_empty_previous_secret_opens_nothing),
        cmocka_unit_test(a_minted_token_is_the_apis_own),
        cmocka_unit_test(a_minted_token_is_taken),
        cmocka_unit_test(every_verdict_has_a_code_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
