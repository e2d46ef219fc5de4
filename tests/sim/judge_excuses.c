// What a gap covers, and what is excused, each with its reason: no broker can know of it.
//
// **A gap covers** the entries between `after` and `before`; where `before` is null, those that
// Redis took before the client was told. A gap `reset` covers what is left of the runs that have
// ended, and of the new run what had left Redis again.
//
// **Excused** is
//
// - *no event*: not UTF-8, too large (4.3); *taken back*: removed with XDEL (4.4);
// - *ended*: over a reconnect, or in its replay, what had left Redis, and whose run had been ended
//   by a reset, before the new connection was live, unless that same broker has just had it (ids
//   are all that a resumed client brings; a broker that comes later sees the new run only);
// - *unseen*: for a fresh start, a run that began and ended between two reads of its broker;
// - *gone before a live start*: what had left Redis again before the client came;
// - *overtaken*: over a reconnect, where a new run has grown past the id that the client resumes
//   from, the entries of the new run up to that id;
// - *lost with a snapshot*: what Redis was thrown back from before the broker had read it, or
//   before this connection, where the event before it is there (again): ids are looked for in
//   the stream's latest life (3.6);
// - *its id is not new*: what a stream that is made anew with lower ids has up to the ids that it
//   had, when a gap `reset` was told: if the connection to Redis was broken meanwhile, a broker
//   must take those for events that it has had;
// - *looks trimmed*: a stream that was deleted, made anew, and has had trimmed at least as many
//   events as it had had when it was read last, looks like one that was never deleted.
// - *uncounted*: before Redis 7, what a stream was given and lost again before it was read by a
//   broker that had found it empty.
#include "judge.h"

static bool left_before_a_reset(const struct reading *r, const struct entry *e)
{
    return truth_run_end(r->truth, e->run) <= r->reset_us && e->removed_us <= r->reset_us;
}

// A run before it had that id, or a higher one.
static bool id_is_not_new(const struct reading *r, const struct entry *e)
{
    if (r->truth->clock_ids)
        return false;
    for (int i = 0; i < e->at; i++) {
        const struct entry *x = &r->truth->entries[i];
        if (x->run < e->run && eventid_cmp(x->id, e->id) >= 0)
            return true;
    }
    return false;
}

static bool reset_covers(const struct reading *r, const struct item *g, const struct entry *e,
                         const struct entry *next, int64_t at_us)
{
    if (e->run != next->run)
        return true;
    if (g->gap.has_before && eventid_cmp(e->id, g->gap.before) < 0)
        return true;
    bool resumed_here = r->has_resumed_at
                            ? g->gap.has_after && eventid_cmp(g->gap.after, r->resumed_at) == 0
                            : !g->gap.has_after;
    if (resumed_here && !g->gap.has_before && e->sent_us <= g->at_us)
        return true; // begun anew, behind all that the window has
    return id_is_not_new(r, e) || e->removed_us <= at_us;
}

static bool gap_covers(const struct reading *r, const struct item *g, bool has_after,
                       const struct entry *e, const struct entry *next, int64_t at_us)
{
    if (g->gap.reason == BECAUSE_RESET)
        return reset_covers(r, g, e, next, at_us);
    int begun_in = r->had >= 0 ? r->truth->entries[r->had].run : e->run; // ids compare in a run
    if (has_after && e->run == begun_in && eventid_cmp(e->id, g->gap.after) <= 0)
        return false;
    if (!g->gap.has_before)
        return e->sent_us <= g->at_us;
    return e->run < next->run || eventid_cmp(e->id, g->gap.before) < 0;
}

// lost_only: by a gap that says so to all clients, `trimmed` or `reset`.
bool reading_covers(const struct reading *r, const struct entry *e, const struct entry *next,
                    int64_t at_us, bool lost_only)
{
    if (left_before_a_reset(r, e))
        return true;                 // told, perhaps before what is back from a snapshot came
    const struct item *reset = NULL; // the ids of the run before it mean nothing behind it
    for (int i = 0; i < r->gap_count; i++) {
        const struct item *g = &r->gaps[i];
        if (lost_only && g->gap.reason != BECAUSE_RESET && g->gap.reason != BECAUSE_TRIMMED)
            continue;
        bool same = reset && g->gap.has_after == reset->gap.has_after &&
                    eventid_cmp(g->gap.after, reset->gap.after) == 0;
        if (gap_covers(r, g, g->gap.has_after && !same, e, next, at_us))
            return true;
        reset = g->gap.reason == BECAUSE_RESET ? g : reset;
    }
    return false;
}

// ---- excuses ------------------------------------------------------------------------------

static int64_t delivered(const struct reading *r, int at)
{
    return evidence_delivered(r->evidence, r->open.open.broker, at);
}

static bool was_lost_with_a_snapshot(const struct reading *r, const struct entry *e,
                                     const struct entry *had)
{
    bool had_is_there = had->removed_us > e->thrown_us || had->back_us >= e->thrown_us;
    bool unknown_here = delivered(r, e->at) == INT64_MAX || e->thrown_us <= r->open.at_us;
    return e->thrown_us != INT64_MAX && had_is_there && unknown_here;
}

// Its run came and went without a trace at this broker. (With a snapshot it may come yet.)
static bool was_never_read(const struct reading *r, const struct entry *e, int64_t at_us)
{
    if (e->run >= r->truth->run)
        return false;
    for (int i = 0; i < r->truth->count; i++)
        if (r->truth->entries[i].run == e->run && delivered(r, i) < at_us)
            return false;
    return true;
}

static bool has_same_id_later(const struct reading *r, const struct entry *had,
                              const struct entry *e, int64_t by_us)
{
    for (int i = e->at + 1; i < r->truth->count; i++)
        if (r->truth->entries[i].sent_us <= by_us &&
            eventid_cmp(r->truth->entries[i].id, had->id) == 0)
            return true;
    return false;
}

// This broker has just delivered both to somebody: it must still know.
static bool was_known(const struct reading *r, const struct entry *e, const struct entry *had,
                      int64_t live_us)
{
    int64_t recent_us = live_us - r->judge->window_us / 10 * 8;
    if (had == NULL || !r->truth->clock_ids || r->judge->window_us < 10000000)
        return false; // its ring may have lost it by now
    int64_t e_us = delivered(r, e->at), had_us = delivered(r, had->at);
    return e_us != INT64_MAX && had_us != INT64_MAX && recent_us < e_us && e_us < r->open.at_us &&
           recent_us < had_us && had_us < r->open.at_us && !has_same_id_later(r, had, e, live_us);
}

static bool was_overtaken(const struct reading *r, const struct entry *e, const struct entry *had,
                          int64_t live_us)
{
    if (truth_run_end(r->truth, had->run) > live_us || e->run <= had->run ||
        eventid_cmp(e->id, had->id) > 0)
        return false;
    for (int i = e->at; i < r->truth->count; i++)
        if (r->truth->entries[i].run == e->run &&
            eventid_cmp(r->truth->entries[i].id, had->id) >= 0)
            return true;
    return false;
}

static bool looks_trimmed(const struct reading *r, const struct entry *e, const struct entry *had,
                          const struct entry *next, int64_t at_us)
{
    for (int i = 0; i < r->gap_count && had == NULL; i++)
        if (r->gaps[i].gap.reason == BECAUSE_TRIMMED && r->gaps[i].gap.has_after)
            had = truth_find(r->truth, r->gaps[i].gap.after, r->gaps[i].at_us);
    if (had == NULL || next->run == had->run || e->removed_us > at_us)
        return false;
    int removed = 0;
    for (int i = 0; i < next->at; i++)
        removed +=
            r->truth->entries[i].run == next->run && r->truth->entries[i].removed_us <= at_us;
    return removed >= had->nth;
}

bool reading_excuses(struct reading *r, const struct entry *e, const struct entry *next,
                     int64_t at_us)
{
    const struct entry *had = r->had >= 0 ? &r->truth->entries[r->had] : NULL;
    bool has_had = had && r->ever[r->had]; // not only what `live` named
    int64_t live_us = r->live_us < at_us ? r->live_us : at_us;
    bool in_replay = r->reconnected || r->live_us == INT64_MAX; // of what Redis had by then
    bool excused = e->never || e->removed_by == REMOVED_BY_DEL ||
                   (e->sent_us <= r->reset_us && id_is_not_new(r, e)) ||
                   (had && was_lost_with_a_snapshot(r, e, had)) ||
                   (had && !has_had && e->sent_us <= r->since_us && e->removed_by != REMOVED_NOT) ||
                   (!has_had && was_never_read(r, e, at_us)) ||
                   (in_replay && e->removed_us <= live_us &&
                    truth_run_end(r->truth, e->run) <= live_us && !was_known(r, e, had, live_us)) ||
                   (in_replay && had && was_overtaken(r, e, had, live_us)) ||
                   looks_trimmed(r, e, had, next, at_us) ||
                   (!r->judge->counts && (!has_had || in_replay) && e->removed_us <= at_us);
    r->judge->excused += excused;
    return excused;
}
