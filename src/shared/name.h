// The id of a stream that was found for patterns: made by the tail, shared by all workers whose
// clients have such a pattern, and never changed but for `gone`. Whoever drops the last
// reference frees it, on whichever thread that is.
#pragma once

#include <stdatomic.h>

#include "base/base.h"

struct name {
    atomic_uint refs;
    atomic_bool gone; // set by the tail: Redis has no such stream any more
    uint64_t seq;     // names are numbered as they are found; a later one has a larger number
    size_t len;
    char text[];
};

struct name *name_new(struct view text, uint64_t seq); // one reference, the caller's
struct name *name_ref(struct name *n);                 // any thread that holds one
void name_unref(struct name *n);                       // any thread

static inline struct view name_view(const struct name *n)
{
    return (struct view){ n->text, n->len };
}
