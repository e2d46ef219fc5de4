// UTF-8 (RFC 3629): whole texts, and texts that come in pieces. Pure.
#pragma once

#include "base/base.h"

bool utf8_valid(struct view text);

// Zeroed at the start of a text. False as soon as a byte cannot be right (RFC
// 6455 lets a server fail fast); the text is whole when utf8_whole says so.
struct utf8_state {
    uint8_t need, low, high; // continuation bytes still due; bounds of the next one
};
bool utf8_feed(struct utf8_state *s, struct view piece);
bool utf8_whole(const struct utf8_state *s);

// The longest prefix of valid UTF-8 text that has at most `max` bytes and ends
// between two characters (a close reason is at most 123 bytes).
struct view utf8_prefix(struct view text, size_t max);
