// What json_valid says of a text agrees with what it says of texts made from it;
// what json_add_string writes is valid and can be read back, by json_unescape, too; a member
// that is found is a value of the text.
#include "base/json.h"
#include "base/utf8.h"

static bool valid_within(const char *before, struct view text, const char *behind)
{
    struct buffer b = { 0 };
    buffer_add_view(&b, view_of(before));
    buffer_add_view(&b, text);
    buffer_add_view(&b, view_of(behind));
    bool valid = json_valid(buffer_view(&b));
    buffer_free(&b);
    return valid;
}

// At least as deep as the text is nested.
static size_t depth_bound(struct view text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.len; i++)
        depth += text.at[i] == '[' || text.at[i] == '{';
    return depth;
}

static bool is_closed(struct view text)
{
    return text.len && strchr("[{\"", text.at[0]) != NULL && text.at[0] != '\0' &&
           strchr("]}\"", text.at[text.len - 1]) != NULL;
}

static void check_valid(struct view text)
{
    CHECK(utf8_valid(text));
    CHECK(valid_within(" \t", text, "\r\n"));
    CHECK(!valid_within("", text, "]"));
    CHECK(!valid_within("", text, "\f"));
    CHECK(!valid_within("{", text, "}")); // a member is more than a value
    if (depth_bound(text) < JSON_DEPTH_MAX) {
        CHECK(valid_within("[", text, "]"));
        CHECK(valid_within("{\"a\":", text, ",\"b\":0}"));
    }
    for (size_t len = 0; is_closed(text) && len < text.len && len < 256; len++)
        CHECK(!json_valid((struct view){ text.at, len }));
}

// Reads back the few escapes that json_add_string writes.
static void check_reads_back(struct view quoted, struct view text)
{
    static const char letters[] = "\"\\bfnrt", meant[] = "\"\\\b\f\n\r\t";
    size_t at = 1;
    for (size_t i = 0; i < text.len; i++) {
        char c = quoted.at[at++];
        if (c == '\\' && quoted.at[at] == 'u') {
            char hex[5] = { 0 };
            memcpy(hex, quoted.at + at + 1, 4);
            c = (char)strtol(hex, NULL, 16);
            at += 5;
        } else if (c == '\\') {
            const char *letter = strchr(letters, quoted.at[at++]);
            CHECK(letter && *letter);
            c = meant[letter - letters];
        }
        CHECK(c == text.at[i]);
    }
    CHECK(at == quoted.len - 1);
}

static void check_string(struct view text)
{
    struct buffer b = { 0 };
    json_add_string(&b, text);
    CHECK(json_valid(buffer_view(&b)) == utf8_valid(text));
    check_reads_back(buffer_view(&b), text);
    buffer_free(&b);
}

static void check_string_reads_back(struct view text)
{
    struct buffer quoted = { 0 }, back = { 0 };
    json_add_string(&quoted, text);
    CHECK(json_unescape(buffer_view(&quoted), &back));
    CHECK(view_eq(buffer_view(&back), text));
    buffer_free(&quoted);
    buffer_free(&back);
}

static void check_reading(struct view text)
{
    struct view value;
    struct buffer string = { 0 };
    if (json_unescape(text, &string))
        CHECK(utf8_valid(buffer_view(&string)) && string.len + 2 <= text.len * 3);
    buffer_free(&string);
    if (!json_member(text, VIEW("a"), &value))
        return;
    CHECK(json_valid(value) && value.at >= text.at);
    CHECK(value.at + value.len <= text.at + text.len);
}

static void check_prefix(struct view text, size_t max)
{
    struct view prefix = utf8_prefix(text, max);
    CHECK(prefix.at == text.at && prefix.len <= max && utf8_valid(prefix));
    CHECK(prefix.len == text.len || prefix.len + 4 > max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *at = must_alloc(size ? size : 1); // its own: a byte too far is then seen
    memcpy(at, data, size);
    struct view text = { at, size };
    if (json_valid(text)) {
        check_valid(text);
        check_reading(text);
    }
    if (utf8_valid(text))
        check_string_reads_back(text);
    check_string(text);
    if (utf8_valid(text))
        check_prefix(text, size ? data[0] : 0);
    free(at);
    return 0;
}
