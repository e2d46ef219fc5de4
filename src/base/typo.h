// Which name did somebody mean? Pure.
#pragma once

#include "base/base.h"

#define TYPO_NAME_MAX 63

// How many characters have to be put in, left out, replaced, or exchanged with their
// neighbour to make one name of the other. Upper and lower case are the same, and so
// are '_' and '-'. SIZE_MAX when one of them is longer than TYPO_NAME_MAX.
size_t typo_distance(struct view a, struct view b);

// Is that few enough for `name` to be a slip of the pen? A third of its length.
bool typo_is_near(struct view name, size_t distance);
