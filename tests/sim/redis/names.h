// A table of what has a name, the nodes inside what they find. Unlike base/table.h its order
// depends on nothing but the names, so that a world plays again; and a small one costs
// no allocation.
#pragma once

#include "base/base.h"

#define NAMES_FIRST 32 // slots that need no memory of their own

struct name {
    struct name *next;
    uint64_t hash;
    unsigned space;   // the same text may stand for several things: a key's database
    struct view text; // the owner's bytes; they stay while the name is in the table
};

struct names {
    struct name **slots;
    size_t slot_count, len; // slot_count is a power of two
    struct name *first[NAMES_FIRST];
};

void names_init(struct names *t); // it may not be moved from then on
void names_done(struct names *t); // empty or not: the owner frees what was in it

struct name *names_find(const struct names *t, unsigned space, struct view text); // NULL: none
void names_add(struct names *t, struct name *n, unsigned space, struct view text);
void names_remove(struct names *t, struct name *n);

// All of them: the one behind `n`, the first for NULL; NULL at the end. `n` must still be there.
struct name *names_next(const struct names *t, const struct name *n);
