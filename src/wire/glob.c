#include "wire/glob.h"

struct view glob_literal(struct view pattern)
{
    const char *star = pattern.len ? memchr(pattern.at, '*', pattern.len) : NULL;
    return (struct view){ pattern.at, star ? (size_t)(star - pattern.at) : pattern.len };
}

static struct view without_first(struct view v, size_t len)
{
    return (struct view){ v.at + len, v.len - len };
}

// The text begins with that; then it is taken off.
static bool take_start(struct view *text, struct view start)
{
    if (!view_starts(*text, start))
        return false;
    *text = without_first(*text, start.len);
    return true;
}

static bool take_end(struct view *text, struct view end)
{
    if (text->len < end.len || !view_eq(without_first(*text, text->len - end.len), end))
        return false;
    text->len -= end.len;
    return true;
}

// It stands somewhere in the text; all up to its end is taken off.
static bool take_first(struct view *text, struct view part)
{
    if (part.len == 0)
        return true;
    const char *found = text->len ? memmem(text->at, text->len, part.at, part.len) : NULL;
    if (found == NULL)
        return false;
    *text = without_first(*text, (size_t)(found - text->at) + part.len);
    return true;
}

//   start * part * part * end
bool glob_match(struct view pattern, struct view text)
{
    struct view start = glob_literal(pattern);
    if (start.len == pattern.len)
        return view_eq(pattern, text);
    struct view rest = without_first(pattern, start.len + 1);
    const char *last_star = rest.len ? memrchr(rest.at, '*', rest.len) : NULL;
    size_t parts_len = last_star ? (size_t)(last_star - rest.at) + 1 : 0;
    struct view parts = { rest.at, parts_len }, end = without_first(rest, parts_len);
    if (!take_start(&text, start) || !take_end(&text, end))
        return false;
    while (parts.len > 0) { // each ends with a star
        struct view part = glob_literal(parts);
        if (!take_first(&text, part))
            return false;
        parts = without_first(parts, part.len + 1);
    }
    return true;
}
