#include "base/table.h"

#include "base/hash.h"

#define SLOTS_MIN 64

void table_init(struct table *t)
{
    t->slot_count = SLOTS_MIN;
    t->len = 0;
    t->slots = calloc(t->slot_count, sizeof(struct table_node *));
    CHECK(t->slots != NULL);
}

void table_done(struct table *t)
{
    CHECK(t->len == 0);
    free(t->slots);
    *t = (struct table){ 0 };
}

static struct table_node **slot_of(const struct table *t, uint64_t hash)
{
    return &t->slots[hash & (t->slot_count - 1)];
}

struct table_node *table_find(const struct table *t, struct view key)
{
    uint64_t hash = hash_table_hash(key);
    for (struct table_node *n = *slot_of(t, hash); n; n = n->next)
        if (n->hash == hash && view_eq(n->key, key))
            return n;
    return NULL;
}

static void put(struct table *t, struct table_node *node)
{
    struct table_node **slot = slot_of(t, node->hash);
    node->next = *slot;
    *slot = node;
}

static void grow(struct table *t)
{
    struct table old = *t;
    t->slot_count *= 2;
    t->slots = calloc(t->slot_count, sizeof(struct table_node *));
    if (t->slots == NULL) { // a crowded table is slower, not wrong
        *t = old;
        return;
    }
    for (size_t i = 0; i < old.slot_count; i++)
        for (struct table_node *n = old.slots[i], *next; n; n = next) {
            next = n->next;
            put(t, n);
        }
    free(old.slots);
}

void table_add(struct table *t, struct table_node *node, struct view key)
{
    if (t->len >= t->slot_count)
        grow(t);
    node->key = key;
    node->hash = hash_table_hash(key);
    put(t, node);
    t->len++;
}

void table_remove(struct table *t, struct table_node *node)
{
    struct table_node **at = slot_of(t, node->hash);
    while (*at != node) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    t->len--;
}

struct table_node *table_next(const struct table *t, const struct table_node *node)
{
    if (node && node->next)
        return node->next;
    size_t slot = node ? (node->hash & (t->slot_count - 1)) + 1 : 0;
    for (; t->len && slot < t->slot_count; slot++)
        if (t->slots[slot])
            return t->slots[slot];
    return NULL;
}

struct table_node *table_any(const struct table *t)
{
    return table_next(t, NULL);
}
