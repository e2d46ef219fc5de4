#include "log/segment.h"

static atomic_size_t bytes_in_use;

static size_t footprint(const struct segment *s)
{
    return sizeof(*s) + s->size;
}

struct segment *segment_new(size_t size, size_t payload)
{
    if (payload > SEGMENT_BYTES_MAX - sizeof(struct item) || size > SEGMENT_BYTES_MAX)
        return NULL;
    size_t least = payload + sizeof(struct item);
    if (size < least)
        size = least;
    size = (size + 7) & ~(size_t)7; // the index lies at the end, aligned

    struct segment *s = malloc(sizeof(*s) + size);
    if (s == NULL)
        return NULL;
    *s = (struct segment){ .size = (uint32_t)size };
    atomic_init(&s->refs, 1);
    list_init(&s->by_age);
    atomic_fetch_add_explicit(&bytes_in_use, footprint(s), memory_order_relaxed);
    return s;
}

struct segment *segment_ref(struct segment *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void segment_unref(struct segment *s)
{
    unsigned before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before > 1)
        return;
    atomic_fetch_sub_explicit(&bytes_in_use, footprint(s), memory_order_relaxed);
    free(s);
}

bool segment_append(struct segment *s, struct item *item, struct view head, struct view body)
{
    size_t index = (s->count + (size_t)1) * sizeof(struct item);
    if (s->end + head.len + body.len + index > s->size)
        return false;
    if (head.len)
        memcpy(s->data + s->end, head.at, head.len);
    if (body.len)
        memcpy(s->data + s->end + head.len, body.at, body.len);
    s->end += (uint32_t)(head.len + body.len);
    item->end = s->end;
    item->events_before = segment_events(s, s->count) & INT32_MAX;
    memcpy(s->data + s->size - index, item, sizeof(*item));
    s->count++;
    return true;
}

size_t segment_bytes_in_use(void)
{
    return atomic_load_explicit(&bytes_in_use, memory_order_relaxed);
}
