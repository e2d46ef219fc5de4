// A pattern matches what the plainest matcher says, and covers only what it matches. Input: a
// scope, a newline, a pattern, a newline, a text.
#include "wire/glob.h"

#define LEN_MAX 80

// Letter by letter: which beginnings of the text does the pattern match, as far as it was read?
static bool plainly(struct view p, struct view t)
{
    bool match[LEN_MAX + 1] = { true };
    for (size_t i = 0; i < p.len; i++) {
        bool is_star = p.at[i] == '*', before = match[0];
        match[0] = match[0] && is_star;
        for (size_t j = 1; j <= t.len; j++) {
            bool here = match[j];
            match[j] = is_star ? here || match[j - 1] : before && p.at[i] == t.at[j - 1];
            before = here;
        }
    }
    return match[t.len];
}

static struct view take_line(struct view *rest)
{
    const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
    struct view line = { rest->at, end ? (size_t)(end - rest->at) : rest->len };
    size_t used = end ? line.len + 1 : rest->len;
    *rest = (struct view){ rest->at + used, rest->len - used };
    line.len = line.len < LEN_MAX ? line.len : LEN_MAX;
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view rest = { (const char *)data, size };
    struct view scope = take_line(&rest), pattern = take_line(&rest), text = take_line(&rest);
    bool matches = glob_match(pattern, text);
    CHECK(matches == plainly(pattern, text));
    CHECK(!matches || view_starts(text, glob_literal(pattern)));
    if (matches && glob_covers(scope, pattern))
        CHECK(glob_match(scope, text));
    CHECK(glob_covers(pattern, pattern));
    return 0;
}
