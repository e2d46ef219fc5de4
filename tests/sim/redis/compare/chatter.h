// Random commands: mostly sensible ones about few keys, so that they have to do with each other, and
// every kind of wrong one. What is drawn depends on the seed alone, never on an answer.
#pragma once

#include "base/base.h"

struct chance {
    uint64_t state;
};
uint64_t draw(struct chance *chance);
size_t below(struct chance *chance, size_t n);
bool one_in(struct chance *chance, size_t n);

struct chatter {
    struct chance chance;
    uint64_t ms;      // ids are drawn about here, and it grows
    bool has_users;   // AUTH is worth trying
    bool wants_large; // many entries, long values
    size_t commands;  // that were written
};

enum chatter_kind {
    CHATTER_PLAIN, // any command whose answer is the same whenever it is given
    CHATTER_STAR,  // XADD n1 *: its answer depends on the clock
    CHATTER_BLOCK, // XREAD BLOCK, for ever
};
// Appends one command.
void chatter_write(struct chatter *ch, enum chatter_kind kind, struct buffer *out);
// XREAD BLOCK for `ms` at most.
void chatter_write_short_block(struct chatter *ch, unsigned ms, struct buffer *out);
// XADD, DEL, RENAME or the like of one of three keys.
void chatter_write_change(struct chatter *ch, struct buffer *out);
// What is not RESP, or not quite.
void chatter_write_garbage(struct chatter *ch, struct buffer *out);
// Words between spaces as a command.
void chatter_write_words(struct chatter *ch, const char *words, struct buffer *out);
