#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>

void check_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "level=fatal event=check_failed at=%s:%d cond=\"%s\"\n", file, line, cond);
    abort();
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool view_eq_nocase(struct view a, struct view b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && lower(a.at[i]) == lower(b.at[i]))
        i++;
    return a.len == b.len && i == a.len;
}

bool view_starts(struct view v, struct view prefix)
{
    return v.len >= prefix.len && view_eq((struct view){ v.at, prefix.len }, prefix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct view view_trim(struct view v)
{
    while (v.len && is_blank(v.at[0]))
        v.at++, v.len--;
    while (v.len && is_blank(v.at[v.len - 1]))
        v.len--;
    return v;
}

bool view_u64(struct view v, uint64_t *out)
{
    if (v.len == 0 || v.len > 20 || (v.len > 1 && v.at[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < v.len; i++) {
        if (v.at[i] < '0' || v.at[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(v.at[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

void *must_alloc(size_t size)
{
    void *p = malloc(size);
    CHECK(p != NULL);
    return p;
}

void buffer_reserve(struct buffer *b, size_t more)
{
    if (b->cap - b->len >= more)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < more)
        cap *= 2;
    b->at = realloc(b->at, cap);
    CHECK(b->at != NULL);
    b->cap = cap;
}

void buffer_add(struct buffer *b, const void *at, size_t len)
{
    if (len == 0)
        return;
    buffer_reserve(b, len);
    memcpy(b->at + b->len, at, len);
    b->len += len;
}

void buffer_add_view(struct buffer *b, struct view v)
{
    buffer_add(b, v.at, v.len);
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    char first[256]; // most texts fit; a longer one is formatted twice
    int need = vsnprintf(first, sizeof(first), fmt, args);
    CHECK(need >= 0);
    buffer_reserve(b, (size_t)need + 1); // vsnprintf ends with a NUL that is not counted
    if ((size_t)need < sizeof(first))
        memcpy(b->at + b->len, first, (size_t)need);
    else
        vsnprintf(b->at + b->len, (size_t)need + 1, fmt, again);
    va_end(again);
    va_end(args);
    b->len += (size_t)need;
}

void buffer_drop(struct buffer *b, size_t len)
{
    CHECK(len <= b->len);
    b->len -= len;
    if (len > 0 && b->len > 0)
        memmove(b->at, b->at + len, b->len);
}

void buffer_free(struct buffer *b)
{
    free(b->at);
    *b = (struct buffer){ 0 };
}
