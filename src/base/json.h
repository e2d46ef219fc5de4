// The little JSON (RFC 8259) that the broker writes and checks itself. Pure.
#pragma once

#include "base/base.h"

// Appends `text` (valid UTF-8) as a JSON string, quotes included.
void json_add_string(struct buffer *out, struct view text);

// Is `text` one JSON value, strictly and in valid UTF-8, with white space around
// it at most? Nesting deeper than JSON_DEPTH_MAX is not. Takes time linear in the
// text, and no memory but the stack.
#define JSON_DEPTH_MAX 512
bool json_valid(struct view text);
