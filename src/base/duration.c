#include "base/duration.h"

bool duration_parse(struct view text, int64_t bare_ms, int64_t *out_ms)
{
    static const struct {
        struct view unit;
        int64_t ms;
    } units[] = { // ms before m and s: the first that fits at the end counts
                  { { "ms", 2 }, 1 },
                  { { "s", 1 }, MS_PER_S },
                  { { "m", 1 }, 60 * MS_PER_S },
                  { { "h", 1 }, 3600 * MS_PER_S },
                  { { "d", 1 }, 24 * 3600 * MS_PER_S }
    };
    int64_t unit_ms = bare_ms;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct view unit = units[i].unit;
        if (text.len > unit.len && memcmp(text.at + text.len - unit.len, unit.at, unit.len) == 0) {
            text.len -= unit.len;
            unit_ms = units[i].ms;
            break;
        }
    }
    uint64_t count;
    if (!view_u64(text, &count) || count > INT64_MAX / (uint64_t)unit_ms)
        return false;
    *out_ms = (int64_t)count * unit_ms;
    return true;
}
