#include "shared/name.h"

struct name *name_new(struct view text, uint64_t seq)
{
    struct name *n = must_alloc(sizeof(*n) + text.len);
    *n = (struct name){ .seq = seq, .len = text.len };
    atomic_init(&n->refs, 1);
    memcpy(n->text, text.at, text.len);
    return n;
}

struct name *name_ref(struct name *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

void name_unref(struct name *n)
{
    if (atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        free(n);
}
