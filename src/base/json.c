#include "base/json.h"

#include "base/utf8.h"

// ---- writing ----------------------------------------------------------------

// The letter of a two-character escape, or 0 where there is none.
static char escape_letter(char c)
{
    switch (c) {
    case '"':
    case '\\': return c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
    }
}

static bool is_plain(char c)
{
    return (uint8_t)c >= 0x20 && c != '"' && c != '\\';
}

static void add_escaped(struct buffer *out, char c)
{
    char letter = escape_letter(c);
    if (letter)
        buffer_add(out, (char[]){ '\\', letter }, 2);
    else
        buffer_printf(out, "\\u%04x", (unsigned)(uint8_t)c);
}

void json_add_string(struct buffer *out, struct view text)
{
    buffer_reserve(out, text.len + 2);
    buffer_add(out, "\"", 1);
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        while (i < text.len && is_plain(text.at[i]))
            i++;
        if (i > start)
            buffer_add(out, text.at + start, i - start);
        if (i < text.len)
            add_escaped(out, text.at[i++]);
    }
    buffer_add(out, "\"", 1);
}

// ---- checking ---------------------------------------------------------------
// A descent along the grammar of RFC 8259, one function per rule. Each says
// whether its rule matched, and has taken those bytes if so.

struct reader {
    const char *at, *end;
};

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool take_word(struct reader *r, struct view word)
{
    if (!view_starts((struct view){ r->at, (size_t)(r->end - r->at) }, word))
        return false;
    r->at += word.len;
    return true;
}

static void skip_blanks(struct reader *r)
{
    while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r'))
        ;
}

static bool take_digits(struct reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > start;
}

// Of 01 this takes the 0: what is left over then fits no rule.
static bool take_number(struct reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (!take(r, 'e') && !take(r, 'E'))
        return true;
    if (!take(r, '+'))
        take(r, '-');
    return take_digits(r);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// What follows a backslash. Half a surrogate pair is let through: the grammar
// allows it (s. 8.2), and JavaScript and Python both take it.
static bool take_escape(struct reader *r)
{
    if (!take(r, 'u'))
        return r->at < r->end && *r->at != '\0' && strchr("\"\\/bfnrt", *r->at++) != NULL;
    for (int i = 0; i < 4; i++) {
        if (r->at == r->end || !is_hex(*r->at++))
            return false;
    }
    return true;
}

static bool take_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == '"')
            return true;
        if ((uint8_t)c < 0x20 || (c == '\\' && !take_escape(r)))
            return false;
    }
    return false;
}

static bool take_value(struct reader *r, int depth);

static bool take_member(struct reader *r, int depth)
{
    skip_blanks(r);
    if (!take_string(r))
        return false;
    skip_blanks(r);
    return take(r, ':') && take_value(r, depth);
}

static bool take_object(struct reader *r, int depth)
{
    skip_blanks(r);
    if (take(r, '}'))
        return true;
    do {
        if (!take_member(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, '}');
}

static bool take_array(struct reader *r, int depth)
{
    skip_blanks(r);
    if (take(r, ']'))
        return true;
    do {
        if (!take_value(r, depth))
            return false;
    } while (take(r, ','));
    return take(r, ']');
}

// depth: how many objects and arrays this one stands in.
static bool take_nested(struct reader *r, int depth)
{
    if (depth == JSON_DEPTH_MAX)
        return false;
    if (take(r, '{'))
        return take_object(r, depth + 1);
    return take(r, '[') && take_array(r, depth + 1);
}

static bool take_bare_value(struct reader *r, int depth)
{
    switch (r->at < r->end ? *r->at : '\0') {
    case '{':
    case '[': return take_nested(r, depth);
    case '"': return take_string(r);
    case 't': return take_word(r, VIEW("true"));
    case 'f': return take_word(r, VIEW("false"));
    case 'n': return take_word(r, VIEW("null"));
    default: return take_number(r);
    }
}

static bool take_value(struct reader *r, int depth)
{
    skip_blanks(r);
    if (!take_bare_value(r, depth))
        return false;
    skip_blanks(r);
    return true;
}

bool json_valid(struct view text)
{
    if (text.len == 0 || !utf8_valid(text))
        return false;
    struct reader r = { text.at, text.at + text.len };
    return take_value(&r, 0) && r.at == r.end;
}

// ---- reading ----------------------------------------------------------------

static struct view rest(const struct reader *r)
{
    return (struct view){ r->at, (size_t)(r->end - r->at) };
}

// The next thing that `take` takes, as it stands in the text.
static struct view next_string(struct reader *r)
{
    skip_blanks(r);
    const char *start = r->at;
    CHECK(take_string(r));
    return (struct view){ start, (size_t)(r->at - start) };
}

static struct view next_value(struct reader *r)
{
    skip_blanks(r);
    const char *start = r->at;
    CHECK(take_bare_value(r, 0));
    return (struct view){ start, (size_t)(r->at - start) };
}

bool json_member(struct view object, struct view name, struct view *value)
{
    struct reader r = { object.at, object.at + object.len };
    skip_blanks(&r);
    if (!take(&r, '{'))
        return false;
    skip_blanks(&r);
    if (take(&r, '}'))
        return false;
    do {
        struct view quoted = next_string(&r);
        skip_blanks(&r);
        CHECK(take(&r, ':'));
        *value = next_value(&r);
        if (view_eq((struct view){ quoted.at + 1, quoted.len - 2 }, name))
            return true;
        skip_blanks(&r);
    } while (take(&r, ','));
    return false;
}

static unsigned take_hex4(struct reader *r)
{
    char digits[5] = { 0 };
    memcpy(digits, r->at, 4);
    r->at += 4;
    return (unsigned)strtoul(digits, NULL, 16);
}

// What follows `\u`: one UTF-16 unit, or the two of a pair.
static unsigned take_unicode(struct reader *r)
{
    unsigned high = take_hex4(r);
    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high > 0xdbff || !view_starts(rest(r), VIEW("\\u")))
        return 0xfffd;
    struct reader ahead = { r->at + 2, r->end };
    unsigned low = take_hex4(&ahead);
    if (low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    *r = ahead;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static void add_utf8(struct buffer *out, unsigned c)
{
    if (c < 0x80)
        buffer_add(out, (char[]){ (char)c }, 1);
    else if (c < 0x800)
        buffer_add(out, (char[]){ (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)) }, 2);
    else if (c < 0x10000)
        buffer_add(out,
                   (char[]){ (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                             (char)(0x80 | (c & 0x3f)) },
                   3);
    else
        buffer_add(out,
                   (char[]){ (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)),
                             (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f)) },
                   4);
}

static void add_unescaped(struct buffer *out, struct reader *r)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char c = *r->at++;
    const char *letter = strchr(letters, c);
    if (c == 'u')
        add_utf8(out, take_unicode(r));
    else
        buffer_add(out, letter ? &meant[letter - letters] : &c, 1);
}

bool json_unescape(struct view value, struct buffer *out)
{
    struct reader r = { value.at, value.at + value.len };
    if (!take_string(&r) || r.at != r.end)
        return false;
    r = (struct reader){ value.at + 1, value.at + value.len - 1 };
    while (r.at < r.end) {
        char c = *r.at++;
        if (c == '\\')
            add_unescaped(out, &r);
        else
            buffer_add(out, &c, 1);
    }
    return true;
}
