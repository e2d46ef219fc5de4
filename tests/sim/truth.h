// What Redis was given: per stream one list of entries, in the order in which Redis took them.
//
// An entry leaves Redis by a trim, by an XDEL, or by a *reset*: its stream was deleted, flushed,
// lost in a kill, or thrown back to an older snapshot. A reset ends a *run*; a throw-back ends
// one too, although the older entries of the stream are there again.
#pragma once

#include "wire/eventid.h"
#include "world.h"

enum removal { REMOVED_NOT, REMOVED_BY_TRIM, REMOVED_BY_RESET, REMOVED_BY_DEL };

struct entry {
    int at; // its place in the list
    int run;
    int nth; // of its run, from 1: Redis's entries-added with it
    int64_t sent_us;
    struct eventid id;
    bool never; // it is no event (protocol 4.3): too large, or not UTF-8
    enum removal removed_by;
    int64_t removed_us; // INT64_MAX: not yet. It may come back with a snapshot all the same
    int64_t back_us;    // when it did so last; 0: never
    int64_t thrown_us;  // Redis was thrown back to before it; INT64_MAX: never
};

struct truth {
    const char *name;
    bool clock_ids; // its ids are Redis's clock
    struct entry *entries;
    int count, cap;
    int *present; // places of those in Redis now, oldest first
    int present_count, present_cap;
    int run, nth;
    int64_t *run_ends; // when each run ended
    int run_cap;
    int *saved;
    int saved_count, saved_nth;
    int saved_at;         // entries that there had been then
    int64_t *thrown_back; // when
    int thrown_back_count;
};

void truth_init(struct truth *t, const char *name, bool clock_ids);
void truth_done(struct truth *t);

struct entry *truth_add(struct truth *t, struct eventid id, bool never);
void truth_keep_newest(struct truth *t, int keep); // the others have been trimmed
void truth_delete(struct truth *t, int place);     // of `present`
void truth_reset(struct truth *t);
void truth_save(struct truth *t);
void truth_throw_back(struct truth *t);

static inline int64_t truth_run_end(const struct truth *t, int run) // INT64_MAX: it has not ended
{
    return run < t->run ? t->run_ends[run] : INT64_MAX;
}
// The newest entry of that id that was sent by then; NULL: none.
const struct entry *truth_find(const struct truth *t, struct eventid id, int64_t by_us);
int truth_count_id(const struct truth *t, struct eventid id, int64_t by_us);
