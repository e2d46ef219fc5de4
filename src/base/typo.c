#include "base/typo.h"

static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Optimal string alignment, row by row: row i says for each j how far the first i
// characters of a are from the first j of b.
size_t typo_distance(struct view a, struct view b)
{
    size_t before[TYPO_NAME_MAX + 1] = { 0 }; // rows i - 2, i - 1 and i
    size_t last[TYPO_NAME_MAX + 1] = { 0 }, row[TYPO_NAME_MAX + 1] = { 0 };
    if (a.len > TYPO_NAME_MAX || b.len > TYPO_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        memcpy(before, last, sizeof(last));
        memcpy(last, row, sizeof(row));
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = folded(a.at[i - 1]), y = folded(b.at[j - 1]);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == folded(b.at[j - 2]) && y == folded(a.at[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[b.len];
}

bool typo_is_near(struct view name, size_t distance)
{
    return distance <= name.len / 3;
}
