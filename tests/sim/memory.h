// Memory by owner: every malloc of the broker, of the Redis model and of the world itself
// goes through these wraps (-Wl,--wrap), onto the list of whoever runs. So a process that is
// killed leaves nothing, one that ends is asked what it left, and what it uses is known.
#pragma once

#include "base/list.h"

struct owner {
    const char *name;
    struct list blocks;
    size_t bytes, bytes_max;
    size_t count;
    bool is_short; // malloc fails, where the caller can do without (must_alloc cannot)
};

void owner_init(struct owner *o, const char *name);
void owner_drop(struct owner *o); // frees all that is left

struct owner *memory_use(struct owner *o); // from now on; returns who it was
