// A hash table whose nodes live inside what they find, keyed by bytes that
// strangers choose (the hash is keyed). It grows with what it holds. One thread.
#pragma once

#include "base/base.h"

struct table_node {
    struct table_node *next;
    uint64_t hash;
    struct view key; // the owner's bytes; they stay while the node is in the table
};

struct table {
    struct table_node **slots;
    size_t slot_count, len; // slot_count is a power of two
};

void table_init(struct table *t);
void table_done(struct table *t); // it must be empty

struct table_node *table_find(const struct table *t, struct view key);     // NULL: none
void table_add(struct table *t, struct table_node *node, struct view key); // key is not in it yet
void table_remove(struct table *t, struct table_node *node);

// Some node, NULL when empty: for taking all of them out.
struct table_node *table_any(const struct table *t);

// All of them in some order: the one after `node`, the first for NULL; NULL at the end.
// Nothing may be added or removed in between.
struct table_node *table_next(const struct table *t, const struct table_node *node);
#define TABLE_EACH(node, table)                                                                    \
    for (struct table_node *node = table_next((table), NULL); node;                                \
         node = table_next((table), node))

#define TABLE_ITEM(node, type, member) CONTAINER_OF(node, type, member)
