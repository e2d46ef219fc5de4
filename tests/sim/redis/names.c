#include "names.h"

// FNV-1a, and a last mixing, for SCAN goes by the upper bits.
static uint64_t hash_of(unsigned space, struct view text)
{
    uint64_t h = 0xcbf29ce484222325 ^ space;
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (uint8_t)text.at[i]) * 0x100000001b3;
    h = (h ^ (h >> 32)) * 0x9e3779b97f4a7c15;
    return h ^ (h >> 29);
}

void names_init(struct names *t)
{
    memset(t, 0, sizeof(*t));
    t->slots = t->first;
    t->slot_count = NAMES_FIRST;
}

void names_done(struct names *t)
{
    if (t->slots != t->first)
        free(t->slots);
    names_init(t);
}

static struct name **slot_of(const struct names *t, uint64_t hash)
{
    return &t->slots[hash & (t->slot_count - 1)];
}

struct name *names_find(const struct names *t, unsigned space, struct view text)
{
    uint64_t hash = hash_of(space, text);
    for (struct name *n = *slot_of(t, hash); n; n = n->next)
        if (n->hash == hash && n->space == space && view_eq(n->text, text))
            return n;
    return NULL;
}

static void put(struct names *t, struct name *n)
{
    struct name **slot = slot_of(t, n->hash);
    n->next = *slot;
    *slot = n;
}

static void grow(struct names *t)
{
    struct names old = *t;
    t->slot_count *= 2;
    t->slots = calloc(t->slot_count, sizeof(struct name *));
    CHECK(t->slots != NULL);
    for (size_t i = 0; i < old.slot_count; i++)
        for (struct name *n = old.slots[i], *next; n; n = next) {
            next = n->next;
            put(t, n);
        }
    if (old.slots != t->first)
        free(old.slots);
}

void names_add(struct names *t, struct name *n, unsigned space, struct view text)
{
    if (t->len >= t->slot_count)
        grow(t);
    n->space = space;
    n->text = text;
    n->hash = hash_of(space, text);
    put(t, n);
    t->len++;
}

void names_remove(struct names *t, struct name *n)
{
    struct name **at = slot_of(t, n->hash);
    while (*at != n) {
        CHECK(*at != NULL);
        at = &(*at)->next;
    }
    *at = n->next;
    t->len--;
}

struct name *names_next(const struct names *t, const struct name *n)
{
    if (n && n->next)
        return n->next;
    size_t slot = n ? (n->hash & (t->slot_count - 1)) + 1 : 0;
    for (; slot < t->slot_count; slot++)
        if (t->slots[slot])
            return t->slots[slot];
    return NULL;
}
