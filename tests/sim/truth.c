#include "truth.h"

void truth_init(struct truth *t, const char *name, bool clock_ids)
{
    *t = (struct truth){ .name = name, .clock_ids = clock_ids };
}

void truth_done(struct truth *t)
{
    free(t->entries);
    free(t->present);
    free(t->run_ends);
    free(t->saved);
    free(t->thrown_back);
}

static void *grow(void *at, int needed, int *cap, size_t size)
{
    if (needed <= *cap)
        return at;
    *cap = *cap ? *cap * 2 : 64;
    if (*cap < needed)
        *cap = needed;
    return realloc(at, (size_t)*cap * size);
}

static void make_present(struct truth *t, int at)
{
    t->present = grow(t->present, t->present_count + 1, &t->present_cap, sizeof(*t->present));
    t->present[t->present_count++] = at;
}

struct entry *truth_add(struct truth *t, struct eventid id, bool never)
{
    t->entries = grow(t->entries, t->count + 1, &t->cap, sizeof(*t->entries));
    struct entry *e = &t->entries[t->count];
    *e = (struct entry){ .at = t->count++,
                         .run = t->run,
                         .nth = ++t->nth,
                         .sent_us = world->now_us,
                         .id = id,
                         .never = never,
                         .removed_us = INT64_MAX,
                         .thrown_us = INT64_MAX };
    make_present(t, e->at);
    return e;
}

// Who read before it came back with a snapshot did not find it: the first removal counts.
static void leave(struct truth *t, int at, enum removal by)
{
    struct entry *e = &t->entries[at];
    if (e->removed_by != REMOVED_NOT)
        return;
    e->removed_by = by;
    e->removed_us = world->now_us;
}

void truth_keep_newest(struct truth *t, int keep)
{
    int gone = t->present_count - keep;
    if (gone <= 0)
        return;
    for (int i = 0; i < gone; i++)
        leave(t, t->present[i], REMOVED_BY_TRIM);
    memmove(t->present, t->present + gone, (size_t)keep * sizeof(*t->present));
    t->present_count = keep;
}

void truth_delete(struct truth *t, int place)
{
    leave(t, t->present[place], REMOVED_BY_DEL);
    memmove(t->present + place, t->present + place + 1,
            (size_t)(t->present_count - place - 1) * sizeof(*t->present));
    t->present_count--;
}

static void end_run(struct truth *t)
{
    t->run_ends = grow(t->run_ends, t->run + 1, &t->run_cap, sizeof(*t->run_ends));
    t->run_ends[t->run++] = world->now_us;
}

void truth_reset(struct truth *t)
{
    for (int i = 0; i < t->present_count; i++)
        leave(t, t->present[i], REMOVED_BY_RESET);
    t->present_count = 0;
    t->nth = 0;
    end_run(t);
}

void truth_save(struct truth *t)
{
    free(t->saved);
    t->saved = must_alloc((size_t)t->present_count * sizeof(*t->saved) + 1);
    if (t->present_count > 0)
        memcpy(t->saved, t->present, (size_t)t->present_count * sizeof(*t->saved));
    t->saved_count = t->present_count;
    t->saved_nth = t->nth;
    t->saved_at = t->count;
}

static bool was_saved(const struct truth *t, int at)
{
    for (int i = 0; i < t->saved_count; i++)
        if (t->saved[i] == at)
            return true;
    return false;
}

void truth_throw_back(struct truth *t)
{
    t->thrown_back =
        realloc(t->thrown_back, (size_t)(t->thrown_back_count + 1) * sizeof(*t->thrown_back));
    t->thrown_back[t->thrown_back_count++] = world->now_us;
    for (int i = 0; i < t->present_count; i++)
        if (!was_saved(t, t->present[i]))
            leave(t, t->present[i], REMOVED_BY_RESET);
    for (int i = t->saved_at; i < t->count; i++)
        if (t->entries[i].thrown_us == INT64_MAX)
            t->entries[i].thrown_us = world->now_us;
    t->present_count = 0;
    for (int i = 0; i < t->saved_count; i++) {
        make_present(t, t->saved[i]);
        t->entries[t->saved[i]].back_us = world->now_us;
    }
    t->nth = t->saved_nth;
    end_run(t);
}

const struct entry *truth_find(const struct truth *t, struct eventid id, int64_t by_us)
{
    for (int i = t->count - 1; i >= 0; i--)
        if (eventid_cmp(t->entries[i].id, id) == 0 && t->entries[i].sent_us <= by_us)
            return &t->entries[i];
    return NULL;
}

int truth_count_id(const struct truth *t, struct eventid id, int64_t by_us)
{
    int count = 0;
    for (int i = 0; i < t->count; i++)
        count += eventid_cmp(t->entries[i].id, id) == 0 && t->entries[i].sent_us <= by_us;
    return count;
}
