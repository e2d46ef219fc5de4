// Patterns of stream ids: `*` stands for any run of characters, an empty one too; all else
// stands for itself. Pure. Any thread.
#pragma once

#include "base/base.h"

// In time that grows with the length of the text, whatever the pattern: between two stars
// the first place that fits is as good as any later one.
bool glob_match(struct view pattern, struct view text);

// Does `scope` match all that `pattern` matches? It does when it matches the pattern's own
// text: a star of that text can only lie under one of its own stars.
static inline bool glob_covers(struct view scope, struct view pattern)
{
    return glob_match(scope, pattern);
}

// What every text that matches begins with: the pattern up to its first star.
struct view glob_literal(struct view pattern);
