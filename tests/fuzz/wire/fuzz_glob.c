// A pattern matches what the plainest matcher says, and covers only what it matches. Input: a
// scope, a newline, a pattern, a newline, a text.
#include "wire/glob.h"

#define LEN_MAX 24 // the plainest matcher takes its time

// One letter after another; a star stands for none, or for one and itself again.
static bool plainly(struct view p, struct view t)
{
    if (p.len == 0)
        return t.len == 0;
    const struct view p_rest = { p.at + 1, p.len - 1 };
    const struct view t_rest = { t.at + 1, t.len ? t.len - 1 : 0 };
    if (*p.at == '*')
        return plainly(p_rest, t) || (t.len > 0 && plainly(p, t_rest));
    return t.len > 0 && *p.at == *t.at && plainly(p_rest, t_rest);
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
