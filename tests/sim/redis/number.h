// Numbers as Redis reads them: canonical decimal, of 64 bits with a sign. "+5", "05" and "-0" are
// none. Pure.
#pragma once

#include "base/base.h"

static inline bool number_parse(struct view text, int64_t *out)
{
    bool negative = text.len > 1 && text.at[0] == '-';
    uint64_t n;
    if (negative)
        text.at++, text.len--;
    if (!view_u64(text, &n) || n > (uint64_t)INT64_MAX + negative || (negative && n == 0))
        return false;
    *out = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}
