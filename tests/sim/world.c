#include "world.h"

#include <stdarg.h>
#include <stdio.h>

#define WALL_BEGIN_US (INT64_C(1760000000) * 1000000)

struct world *world;

void world_begin(struct world *w, uint64_t seed)
{
    *w = (struct world){ .seed = seed, .rng.state = seed, .wall_offset_us = WALL_BEGIN_US };
    // Clocks begin anywhere.
    w->now_us = rng_between(&w->rng, 1000000, 90000000);
    w->wall_offset_us += rng_between(&w->rng, 0, 999999999);
    owner_init(&w->memory, "the world");
    memory_use(&w->memory);
    world = w;
}

void world_end(void)
{
    free(world->heap);
    world->heap = NULL;
    free(world->failure);
    world->failure = NULL;
    memory_use(NULL);
    owner_drop(&world->memory);
    world = NULL;
}

int64_t world_wall_us(void)
{
    return world->now_us + world->wall_offset_us;
}

// ---- events: a binary heap, each of which knows its place ---------------------------

static bool comes_before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->nth < b->nth);
}

static void put(struct event *e, size_t place)
{
    world->heap[place] = e;
    e->place = place;
}

static void rise(struct event *e, size_t place)
{
    while (place > 1 && comes_before(e, world->heap[place / 2])) {
        put(world->heap[place / 2], place);
        place /= 2;
    }
    put(e, place);
}

static void sink(struct event *e, size_t place)
{
    for (size_t child; (child = place * 2) <= world->heap_len; place = child) {
        if (child < world->heap_len && comes_before(world->heap[child + 1], world->heap[child]))
            child++;
        if (!comes_before(world->heap[child], e))
            break;
        put(world->heap[child], place);
    }
    put(e, place);
}

void event_set(struct event *e, int64_t at_us, void (*happen)(struct event *e))
{
    event_cancel(e);
    if (world->heap_len + 1 >= world->heap_cap) {
        world->heap_cap = world->heap_cap ? world->heap_cap * 2 : 256;
        struct owner *was = memory_use(&world->memory);
        world->heap = realloc(world->heap, world->heap_cap * sizeof(struct event *));
        memory_use(was);
    }
    e->at_us = at_us > world->now_us ? at_us : world->now_us;
    e->nth = world->event_count++;
    e->happen = happen;
    rise(e, ++world->heap_len);
}

void event_cancel(struct event *e)
{
    if (e->place == 0)
        return;
    size_t place = e->place;
    struct event *last = world->heap[world->heap_len--];
    e->place = 0;
    if (last == e)
        return;
    sink(last, place);
    rise(last, last->place);
}

int64_t world_next_event_us(void)
{
    return world->heap_len ? world->heap[1]->at_us : INT64_MAX;
}

void world_do_due_events(void)
{
    while (world->heap_len > 0 && world->heap[1]->at_us <= world->now_us) {
        struct event *e = world->heap[1];
        event_cancel(e);
        e->happen(e);
    }
}

// ---- telling ------------------------------------------------------------------------

void trace_line(const char *fmt, ...)
{
    va_list args;
    printf("%12.6f ", (double)world->now_us / 1e6);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void world_fail(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    struct owner *was = memory_use(&world->memory);
    va_start(args, fmt);
    CHECK(vasprintf(&text, fmt, args) >= 0);
    va_end(args);
    memory_use(was);
    trace("VIOLATED: %s", text);
    world->failures++;
    if (world->failure == NULL)
        world->failure = text;
    else
        free(text);
}
