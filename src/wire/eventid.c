#include "wire/eventid.h"

#include <inttypes.h>
#include <stdio.h>

bool eventid_parse(struct view text, struct eventid *out)
{
    const char *dash = text.len ? memchr(text.at, '-', text.len) : NULL;
    if (!dash)
        return false;
    struct view ms = { text.at, (size_t)(dash - text.at) };
    struct view seq = { dash + 1, text.len - ms.len - 1 };
    struct eventid id;
    if (!view_u64(ms, &id.ms) || !view_u64(seq, &id.seq))
        return false;
    *out = id;
    return true;
}

static size_t put_decimal(uint64_t value, char *out)
{
    char digits[20];
    size_t len = 0;
    do
        digits[sizeof(digits) - ++len] = (char)('0' + value % 10);
    while (value /= 10);
    memcpy(out, digits + sizeof(digits) - len, len);
    return len;
}

size_t eventid_format(struct eventid id, char out[EVENTID_MAX + 1])
{
    size_t len = put_decimal(id.ms, out);
    out[len++] = '-';
    len += put_decimal(id.seq, out + len);
    out[len] = '\0';
    return len;
}

static struct view view_from(struct view v, size_t offset)
{
    return (struct view){ v.at + offset, v.len - offset };
}

static size_t count_digits(struct view v)
{
    size_t n = 0;
    while (n < v.len && v.at[n] >= '0' && v.at[n] <= '9')
        n++;
    return n;
}

// "ms", "s", "m" or "h" in milliseconds; 0: none of these.
static uint64_t unit_ms(struct view unit)
{
    if (view_eq(unit, VIEW("ms")))
        return 1;
    if (view_eq(unit, VIEW("s")))
        return 1000;
    if (view_eq(unit, VIEW("m")))
        return 60 * 1000;
    if (view_eq(unit, VIEW("h")))
        return 60 * 60 * 1000;
    return 0;
}

// now-<n><unit>, `ago` being what stands after the dash
static bool parse_ago(struct view ago, int64_t now_ms, int64_t *at_ms)
{
    size_t digits = count_digits(ago);
    uint64_t n, unit = unit_ms(view_from(ago, digits));
    if (!unit || !view_u64((struct view){ ago.at, digits }, &n) ||
        __builtin_mul_overflow(n, unit, &n))
        return false;
    *at_ms = now_ms < 0 || n > (uint64_t)now_ms ? 0 : now_ms - (int64_t)n;
    return true;
}

// Unix seconds with a decimal fraction. What is finer than a millisecond is cut
// off, so that the time is never later than the one asked for.
static bool parse_seconds(struct view text, int64_t *at_ms)
{
    size_t digits = count_digits(text);
    uint64_t seconds;
    int64_t ms, fraction_ms = 0;
    if (!view_u64((struct view){ text.at, digits }, &seconds) || seconds > INT64_MAX / MS_PER_S)
        return false;

    struct view rest = view_from(text, digits);
    if (rest.len) {
        struct view fraction = view_from(rest, 1);
        if (rest.at[0] != '.' || !fraction.len || count_digits(fraction) != fraction.len)
            return false;
        for (size_t i = 0; i < 3; i++)
            fraction_ms = 10 * fraction_ms + (i < fraction.len ? fraction.at[i] - '0' : 0);
    }
    if (__builtin_add_overflow((int64_t)seconds * MS_PER_S, fraction_ms, &ms))
        return false;
    *at_ms = ms;
    return true;
}

static const char *from_parse(struct view from, int64_t now_ms, struct start *out)
{
    const struct view now = VIEW("now-");
    struct start start = { 0 };

    if (view_eq(from, VIEW("first")))
        start.kind = START_FIRST;
    else if (view_eq(from, VIEW("last")))
        start.kind = START_LAST;
    else if (view_starts(from, now) && parse_ago(view_from(from, now.len), now_ms, &start.at_ms))
        start.kind = START_TIME;
    else if (eventid_parse(from, &start.id))
        start.kind = START_ID;
    else if (parse_seconds(from, &start.at_ms))
        start.kind = START_TIME;
    else
        return "from is not understood: expected now-<n>ms, now-<n>s, now-<n>m, now-<n>h, "
               "Unix seconds, first, last, or an event id such as 1760000000000-0";
    *out = start;
    return NULL;
}

const char *start_parse(struct view from, struct view after, int64_t now_ms, struct start *out)
{
    if (from.len && after.len)
        return "from and after are both given: expected one of them";
    if (from.len)
        return from_parse(from, now_ms, out);

    struct start start = { .kind = after.len ? START_AFTER : START_LIVE };
    if (after.len && !eventid_parse(after, &start.id))
        return "after is not understood: expected an event id such as 1760000000000-0";
    *out = start;
    return NULL;
}
