#include "worker/budget.h"

struct held {
    struct table_node by_address;
    struct segment *segment; // the key's bytes
    size_t holders;
};

void budget_init(struct budget *b, size_t max)
{
    *b = (struct budget){ .max = max };
    list_init(&b->holders);
    table_init(&b->held);
}

void budget_done(struct budget *b)
{
    CHECK(list_empty(&b->holders) && b->held.len == 0 && b->bytes == 0);
    table_done(&b->held);
}

void holder_init(struct holder *h)
{
    list_init(&h->node);
    h->bytes = 0;
}

void budget_count(struct budget *b, struct holder *h, size_t bytes, bool progress)
{
    if (h->bytes == 0 || progress)
        list_move(&b->holders, &h->node);
    if (bytes == 0)
        list_remove(&h->node);
    b->bytes = b->bytes - h->bytes + bytes;
    h->bytes = bytes;
}

void budget_release(struct budget *b, struct holder *h)
{
    budget_count(b, h, 0, false);
}

static struct view key_of(struct segment *const *s)
{
    return (struct view){ (const char *)s, sizeof(*s) };
}

void budget_hold(struct budget *b, struct segment *s)
{
    struct table_node *found = table_find(&b->held, key_of(&s));
    if (found) {
        TABLE_ITEM(found, struct held, by_address)->holders++;
        return;
    }
    struct held *h = must_alloc(sizeof(*h));
    *h = (struct held){ .segment = s, .holders = 1 };
    table_add(&b->held, &h->by_address, key_of(&h->segment));
    b->bytes += s->size;
}

void budget_let_go(struct budget *b, struct segment *s)
{
    struct table_node *found = table_find(&b->held, key_of(&s));
    CHECK(found != NULL);
    struct held *h = TABLE_ITEM(found, struct held, by_address);
    if (--h->holders > 0)
        return;
    table_remove(&b->held, found);
    b->bytes -= s->size;
    free(h);
}

struct holder *budget_worst(const struct budget *b)
{
    if (b->bytes <= b->max || list_empty(&b->holders))
        return NULL;
    return LIST_ITEM(b->holders.next, struct holder, node);
}
