#include "judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define CLOCK_SLACK_MS 50 // between an id's milliseconds and the moment of asking

static void fail(const struct reading *r, const struct item *at, const char *what, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));

static void fail(const struct reading *r, const struct item *at, const char *what, const char *fmt,
                 ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    world_fail("%s: %s on %s (broker %d) at %.6f: %s", what, r->record->client, r->truth->name,
               r->open.open.broker, (double)at->at_us / 1e6, text);
}

// ---- evidence -----------------------------------------------------------------------------

static size_t cell(const struct evidence *v, int broker, int at)
{
    return (size_t)broker * (size_t)v->truth->count + (size_t)at;
}

int64_t evidence_delivered(const struct evidence *v, int broker, int at)
{
    return v->delivered[cell(v, broker, at)];
}

static struct evidence *evidence_of(struct judge *j, const struct truth *truth)
{
    for (int i = 0; i < j->streams; i++)
        if (j->evidence[i].truth == truth)
            return &j->evidence[i];
    CHECK(!"a stream that nobody knows");
    return NULL;
}

static void add_span(struct evidence *v, int broker, int first, int last)
{
    if (v->span_count == v->span_cap) {
        v->span_cap = v->span_cap ? v->span_cap * 2 : 32;
        v->spans = realloc(v->spans, (size_t)v->span_cap * sizeof(*v->spans));
    }
    v->spans[v->span_count++] = (struct span){ broker, first, last };
}

static void note_deliveries(struct judge *j, const struct record *r)
{
    struct evidence *v = evidence_of(j, r->truth);
    int broker = 0, first = -1, last = -1;
    bool skipped = false;
    for (int i = 0; i <= r->count; i++) {
        const struct item *item = i < r->count ? &r->items[i] : NULL;
        if (item == NULL || item->kind == RECORD_OPEN) {
            if (first >= 0 && r->tells && !skipped)
                add_span(v, broker, first, last);
            broker = item ? item->open.broker : 0;
            first = last = -1;
            skipped = false;
        } else if (item->kind == RECORD_GAP) {
            skipped = skipped ||
                      (item->gap.reason != BECAUSE_TRIMMED && item->gap.reason != BECAUSE_RESET);
        } else if (item->kind == RECORD_EVENT && item->event.at >= 0) {
            int at = item->event.at;
            int64_t *when = &v->delivered[cell(v, broker, at)];
            *when = item->at_us < *when ? item->at_us : *when;
            first = first < 0 || at < first ? at : first;
            last = at > last ? at : last;
        }
    }
}

static void evidence_init(struct evidence *v, int brokers)
{
    size_t cells = (size_t)(brokers + 1) * (size_t)v->truth->count;
    v->brokers = brokers;
    v->delivered = must_alloc(cells * sizeof(*v->delivered) + 1);
    for (size_t i = 0; i < cells; i++)
        v->delivered[i] = INT64_MAX;
    v->absent = calloc(cells + 1, sizeof(*v->absent));
}

// ---- where a reading stands ---------------------------------------------------------------

static void begin_afresh(struct reading *r, const struct item *item)
{
    r->since_us = item->at_us;
    r->had = r->furthest = -1;
    memset(r->ever, 0, (size_t)r->truth->count);
    r->gap_count = 0;
    r->reset_us = 0;
}

static void take_open(struct reading *r, const struct item *item)
{
    r->open = *item;
    r->reconnected = true;
    r->live_us = INT64_MAX;
    r->has_here = r->has_resumed_at = false;
    if (!r->record->tells || !item->open.resumes) {
        begin_afresh(r, item);
        return;
    }
    r->judge->resumed++;
    r->has_here = r->has_resumed_at = !eventid_is_none(item->open.asked);
    r->here = r->resumed_at = item->open.asked;
    if (truth_count_id(r->truth, item->open.asked, item->at_us) > 1) { // an ambiguous id
        r->judge->excused++;
        r->has_here = false;
        begin_afresh(r, item);
    }
}

static bool was_told_here(const struct reading *r)
{
    return r->gap_count > 0 && r->gaps[r->gap_count - 1].at_us >= r->open.at_us;
}

static void id_text(bool has, struct eventid id, char out[EVENTID_MAX + 1])
{
    strcpy(out, "null");
    if (has)
        eventid_format(id, out);
}

static bool is_owed(const struct entry *e, int64_t at_us)
{
    return !e->never && e->removed_us > at_us;
}

// Does an id name the place where this connection stands? Any id does that has nothing between
// it and the last event but what is no event, and what has left Redis: the broker knows of
// those, and may name them (protocol 4.3 does not say); or it does not know the last event
// any more, which has left. Whether any are lost is judged apart.
static bool is_here(const struct reading *r, struct eventid id, int64_t at_us)
{
    const struct truth *t = r->truth;
    const struct entry *here = r->had >= 0 ? &t->entries[r->had] : truth_find(t, r->here, at_us);
    if (eventid_cmp(id, r->here) == 0)
        return true;
    if (here == NULL)
        return false;
    for (int i = here->at; i < t->count && t->entries[i].sent_us <= at_us; i++) {
        if (i > here->at && is_owed(&t->entries[i], at_us))
            break;
        if (eventid_cmp(t->entries[i].id, id) == 0)
            return true;
    }
    for (int i = here->at; i >= 0; i--) {
        if (eventid_cmp(t->entries[i].id, id) == 0)
            return true;
        if (is_owed(&t->entries[i], at_us))
            break;
    }
    return false;
}

// The same, for what a gap says comes next: from that id on nothing is an event before e.
static bool is_next(const struct reading *r, struct eventid before, const struct entry *e,
                    int64_t at_us)
{
    if (eventid_cmp(before, e->id) == 0)
        return true;
    for (int i = e->at - 1; i >= 0; i--) {
        const struct entry *x = &r->truth->entries[i];
        if (is_owed(x, at_us))
            return false;
        if (eventid_cmp(x->id, before) == 0)
            return true;
    }
    return false;
}

static void take_live(struct reading *r, const struct item *item)
{
    char says[EVENTID_MAX + 1], here[EVENTID_MAX + 1];
    r->live_us = item->at_us;
    id_text(item->live.has_id, item->live.id, says);
    id_text(r->has_here, r->here, here);
    bool is_none = !item->live.has_id || eventid_is_none(item->live.id);
    if (!is_none && truth_count_id(r->truth, item->live.id, item->at_us) > 1)
        return; // which of them it names is not known
    if (was_told_here(r)) {
        ; // it names what was before the gap
    } else if (r->had < 0 && !is_none) {
        const struct entry *e = truth_find(r->truth, item->live.id, item->at_us);
        if (e == NULL)
            fail(r, item, "live", "%s was never in Redis", says);
        r->had = e ? e->at : -1;
    } else if (r->has_here && (is_none || !is_here(r, item->live.id, item->at_us))) {
        fail(r, item, "live", "it says %s, but the last event was %s", says, here);
    }
    if (!is_none && !r->has_here && r->gap_count == 0) {
        r->has_here = true;
        r->here = item->live.id;
    }
}

static void take_gap(struct reading *r, const struct item *item)
{
    char after[EVENTID_MAX + 1], here[EVENTID_MAX + 1];
    bool is_reset = item->gap.reason == BECAUSE_RESET;
    id_text(item->gap.has_after, item->gap.after, after);
    id_text(r->has_here, r->here, here);
    r->judge->gaps++;
    if (is_reset)
        r->reset_us = item->at_us;
    bool backward = item->gap.has_after && item->gap.has_before &&
                    eventid_cmp(item->gap.after, item->gap.before) >= 0;
    if (backward && !is_reset && r->truth->clock_ids)
        fail(r, item, "gap", "it ends before it begins, after %s", after);
    bool elsewhere =
        r->has_here && (!item->gap.has_after || !is_here(r, item->gap.after, item->at_us));
    if (!was_told_here(r) && elsewhere) {
        bool sooner = !item->gap.has_after || eventid_cmp(item->gap.after, r->here) < 0;
        if (!(r->reconnected && sooner) &&
            (item->gap.has_after || item->gap.reason != BECAUSE_SLOW))
            fail(r, item, "gap", "it begins after %s and not at %s, the last event", after, here);
    }
    if (r->gap_count < GAPS_MAX)
        r->gaps[r->gap_count++] = *item;
}

// ---- events -------------------------------------------------------------------------------

// The entry, when the event is one that Redis was given, whole.
static const struct entry *entry_of(struct reading *r, const struct item *item)
{
    int at = item->event.at;
    if (at < 0 || at >= r->truth->count) {
        fail(r, item, "stranger", "an event that Redis was never given");
        return NULL;
    }
    const struct entry *e = &r->truth->entries[at];
    if (e->never)
        fail(r, item, "stranger", "#%d is no event", at);
    if (item->event.has_id && eventid_cmp(item->event.id, e->id) != 0)
        fail(r, item, "stranger", "#%d came with another id", at);
    if (!item->event.intact)
        fail(r, item, "stranger", "#%d came with other data", at);
    return e;
}

// Of a run that its broker had not read yet, while Redis could not be read.
static bool is_from_a_run_to_come(const struct reading *r, const struct entry *e)
{
    const struct entry *had = &r->truth->entries[r->had];
    if (r->truth->clock_ids || !r->open.open.resumes || e->run >= had->run)
        return false;
    for (int i = 0; i < r->truth->count; i++)
        if (r->truth->entries[i].run == had->run &&
            evidence_delivered(r->evidence, r->open.open.broker, i) < r->open.at_us)
            return false;
    return true;
}

static bool was_thrown_back_before(const struct truth *t, int64_t at_us)
{
    return t->thrown_back_count > 0 && t->thrown_back[0] < at_us;
}

static void went_back(struct reading *r, const struct entry *e, const struct item *item)
{
    for (int i = 0; i < r->gap_count; i++)
        if (r->gaps[i].gap.reason == BECAUSE_RESET)
            return; // it was begun anew
    if (r->record->tells && is_from_a_run_to_come(r, e))
        r->judge->excused++;
    else if (!r->record->tells && !r->ever[e->at] && was_thrown_back_before(r->truth, item->at_us))
        r->judge->excused++; // back in Redis, and new to the broker
    else
        fail(r, item, r->ever[e->at] ? "twice" : "disorder", "#%d came behind #%d", e->at, r->had);
}

// ---- holes --------------------------------------------------------------------------------

// Of what lies before a fresh start's first event: did that start ask for it?
static bool start_owes(const struct reading *r, const struct entry *e, int64_t at_us)
{
    int64_t live_us = r->live_us < at_us ? r->live_us : at_us;
    int64_t since_us = r->since_us;
    if (!r->truth->clock_ids && live_us > since_us)
        since_us = live_us;
    if (e->sent_us > since_us)
        return true;
    return r->record->tells && r->open.open.start == BEGAN_AT_TIME && r->truth->clock_ids &&
           !r->judge->clock_unsure && (int64_t)e->id.ms >= r->open.open.asked_ms + CLOCK_SLACK_MS &&
           e->removed_us > live_us;
}

static void check_missed(struct reading *r, const struct item *item, int low, int high)
{
    int64_t told = 0;
    int least = 0, most = 0;
    if (r->gap_count == 0 || r->had < 0 || r->gap_count == GAPS_MAX || r->furthest > r->had)
        return;
    for (int i = 0; i < r->gap_count; i++) {
        const struct item *g = &r->gaps[i];
        if (g->gap.missed == MISSED_NULL || g->gap.reason == BECAUSE_RESET ||
            g->at_us < r->open.at_us)
            return; // not known, or told twice of the same
        told += g->gap.missed;
    }
    if (r->truth->entries[r->had].run != r->truth->entries[high].run)
        return; // a reset between
    for (int i = low + 1; i < high; i++) {
        const struct entry *e = &r->truth->entries[i];
        if (!r->judge->counts && e->removed_us <= item->at_us)
            return; // trimmed before it was read, perhaps, which such a server does not say
        most++;
        least += !e->never && e->removed_by != REMOVED_BY_DEL;
    }
    r->judge->exact++;
    if (told < least || told > most)
        fail(r, item, "missed", "%" PRId64 " were said to be, but %d are, between #%d and #%d",
             told, most, r->had, high);
}

static void account_for_told(struct reading *r, const struct item *item, int low, int high)
{
    const struct entry *next = &r->truth->entries[high];
    int lost = 0, first = 0, last = 0;
    for (int i = low + 1; i < high; i++) {
        const struct entry *e = &r->truth->entries[i];
        if (r->had < 0 && !start_owes(r, e, item->at_us))
            continue;
        bool covered = reading_covers(r, e, next, item->at_us, false);
        if (!covered && !reading_excuses(r, e, next, item->at_us)) {
            first = lost++ ? first : i;
            last = i;
        }
        if (!covered || reading_covers(r, e, next, item->at_us, true))
            r->evidence->absent[cell(r->evidence, r->open.open.broker, i)] = true;
    }
    if (lost > 0)
        fail(r, item, "hole", "%d events lost, #%d to #%d, between #%d and #%d", lost, first, last,
             r->had, high);
    check_missed(r, item, low, high);
}

static bool is_witnessed(const struct reading *r, int low, int high)
{
    const struct evidence *v = r->evidence;
    for (int i = 0; i < v->span_count; i++)
        if (v->spans[i].broker == r->open.open.broker && v->spans[i].first <= low &&
            v->spans[i].last >= high)
            return true;
    return false;
}

static void account_for_raw(struct reading *r, const struct item *item, int low, int high)
{
    const struct truth *t = r->truth;
    int lost = 0, first = 0;
    int64_t back_us = -1; // a snapshot is not as it was
    for (int i = 0; i < t->thrown_back_count; i++)
        if (t->thrown_back[i] <= item->at_us)
            back_us = t->thrown_back[i];
    for (int i = low + 1; i < high && !r->record->skips; i++) {
        const struct entry *e = &t->entries[i];
        if ((r->had < 0 && !start_owes(r, e, item->at_us)) || e->never ||
            e->removed_by == REMOVED_BY_DEL ||
            r->evidence->absent[cell(r->evidence, r->open.open.broker, i)] ||
            (back_us >= 0 && e->removed_us <= back_us))
            continue;
        bool has_left = e->removed_us <= item->at_us;
        if (has_left && !is_witnessed(r, r->had >= 0 ? r->had : i - 1, high))
            continue;
        first = lost++ ? first : i;
    }
    if (lost > 0)
        fail(r, item, "hole", "%d events lost, from #%d on, between #%d and #%d", lost, first,
             r->had, high);
}

static void take_event(struct reading *r, const struct item *item)
{
    const struct entry *e = entry_of(r, item);
    r->judge->events++;
    if (e == NULL)
        return;
    int low = r->had > r->furthest ? r->had : r->furthest; // what lies before is judged
    if (r->had >= 0 && e->at <= r->had)
        went_back(r, e, item);
    else if (e->at > low + 1 && r->record->tells)
        account_for_told(r, item, low, e->at);
    else if (e->at > low + 1)
        account_for_raw(r, item, low, e->at);
    else if (r->record->tells)
        check_missed(r, item, low, e->at);
    const struct item *told = was_told_here(r) ? &r->gaps[r->gap_count - 1] : NULL;
    if (told && told->gap.has_before && !is_next(r, told->gap.before, e, item->at_us))
        fail(r, item, "gap", "the one before #%d ends at another event", e->at);
    r->gap_count = 0;
    r->reconnected = false;
    r->has_here = true;
    r->here = e->id;
    r->had = e->at;
    r->ever[e->at] = true;
    r->furthest = e->at > r->furthest ? e->at : r->furthest;
}

// ---- all of them --------------------------------------------------------------------------

static void read_record(struct judge *j, const struct record *record)
{
    struct reading r = { .judge = j,
                         .record = record,
                         .truth = record->truth,
                         .evidence = evidence_of(j, record->truth),
                         .had = -1,
                         .furthest = -1,
                         .live_us = INT64_MAX };
    r.ever = calloc((size_t)record->truth->count + 1, sizeof(*r.ever));
    for (int i = 0; i < record->count; i++) {
        const struct item *item = &record->items[i];
        switch (item->kind) {
        case RECORD_OPEN: take_open(&r, item); break;
        case RECORD_EVENT: take_event(&r, item); break;
        case RECORD_GAP: take_gap(&r, item); break;
        case RECORD_LIVE: take_live(&r, item); break;
        case RECORD_CLOSE: break;
        }
    }
    free(r.ever);
}

static int newest_broker(struct record **records, int count)
{
    int newest = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < records[i]->count; k++)
            if (records[i]->items[k].kind == RECORD_OPEN &&
                records[i]->items[k].open.broker > newest)
                newest = records[i]->items[k].open.broker;
    return newest;
}

void judge_run(struct judge *j, struct record **records, int count)
{
    int brokers = newest_broker(records, count);
    for (int i = 0; i < j->streams; i++)
        evidence_init(&j->evidence[i], brokers);
    for (int i = 0; i < count; i++)
        note_deliveries(j, records[i]);
    for (int tells = 1; tells >= 0; tells--) // what they are told is evidence for the others
        for (int i = 0; i < count; i++)
            if (records[i]->tells == (tells == 1))
                read_record(j, records[i]);
    for (int i = 0; i < j->streams; i++) {
        free(j->evidence[i].delivered);
        free(j->evidence[i].absent);
        free(j->evidence[i].spans);
    }
}
