// Patterns over names: * stands for any run of characters, ? for one byte. Nothing escapes
// them. Pure. Takes at most pattern.len * text.len steps: the caller bounds the pattern.
#pragma once

#include "base/base.h"

bool glob_matches(struct view pattern, struct view text);
