// A list whose nodes live inside what they link. The head is a node too, so
// adding and removing need no special case, and an object can leave its list
// without knowing which list that is.
#pragma once

#include "base/base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_push(struct list *head, struct list *node) // at the tail
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

// Safe to call twice: a removed node links to itself.
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline void list_move(struct list *head, struct list *node) // to the tail of head
{
    list_remove(node);
    list_push(head, node);
}

// All nodes of `from` go to the tail of `to`, in order; `from` is empty then.
static inline void list_take_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

static inline struct list *list_pop(struct list *head) // the first, or NULL
{
    if (list_empty(head))
        return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}

#define LIST_ITEM(node, type, member) CONTAINER_OF(node, type, member)

// `node` itself may be removed or freed inside the loop; its successor may not.
#define LIST_EACH(node, head)                                                                      \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);              \
         node = node##_next, node##_next = node->next)
