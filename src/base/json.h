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

// The member of that name of an object: its value as it stands in the text, without white
// space around it. object is valid JSON (json_valid); the first of two equal names counts;
// a name that is written with escapes is not found. False: there is none, or it is no object.
bool json_member(struct view object, struct view name, struct view *value);
// Is `value` a JSON string? Appends what it means, as UTF-8; half a surrogate pair becomes
// U+FFFD. False: it is something else, and nothing was appended.
bool json_unescape(struct view value, struct buffer *out);
