#include "tail/feed.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/say.h"
#include "tail/event.h"

#define WARM_MS 2000        // a stream is warm when its changes come closer together than this
#define CLOCK_ERROR_MS 1000 // our estimate of Redis's clock is not later than it by more
#define SAY_EVERY_MS 10000
#define LOSS_SAY_MS 20 // a FLUSHALL resets thousands at once

void feeds_init(struct feeds *all)
{
    list_init(&all->dirty);
    list_init(&all->changed);
    list_init(&all->sweep);
    list_init(&all->warm);
    list_init(&all->all);
}

void feeds_done(struct feeds *all)
{
    buffer_free(&all->scratch);
}

int64_t feeds_redis_now_ms(const struct feeds *all)
{
    return pulse_redis_now_ms(all->pulse, clock_mono_ms());
}

void feed_mark_changed(struct feed *f)
{
    if (list_empty(&f->in_changed))
        list_push(&f->all->changed, &f->in_changed);
}

void feed_mark_dirty(struct feed *f)
{
    if (list_empty(&f->in_dirty))
        list_push(&f->all->dirty, &f->in_dirty);
}

struct feed *feed_new(struct feeds *all, struct view id)
{
    size_t prefix_len = strlen(all->config->stream_prefix);
    struct feed *f = must_alloc(sizeof(*f) + prefix_len + id.len);
    *f = (struct feed){ .all = all, .prefix_len = prefix_len, .key_len = prefix_len + id.len };
    memcpy(f->key, all->config->stream_prefix, prefix_len);
    memcpy(f->key + prefix_len, id.at, id.len);
    paging_init(&f->paging);
    list_init(&f->in_dirty);
    list_init(&f->in_changed);
    list_init(&f->in_warm);
    deadline_init(&f->linger);
    deadline_init(&f->recheck);
    deadline_init(&f->second_read_end);
    ring_init(&f->ring, &all->rings, feed_id(f));
    list_push(&all->sweep, &f->in_sweep);
    list_push(&all->all, &f->in_all);
    feed_mark_dirty(f);
    return f;
}

bool feed_is_warm(const struct feed *f)
{
    return f->all->loop->now_ms - f->fresh_ms < WARM_MS;
}

void feed_doubt(struct feed *f)
{
    f->unsure = true;
    if (eventid_is_none(f->ring.last)) // deleted; an old snapshot may bring it back
        f->dedupe_until = f->newest_before_reset;
}

// ---- what an entry becomes ------------------------------------------------------

// When an event happened: its id says so. What we know of Redis's clock is an estimate:
// an id a little ahead of it was given now. Where ids are no timestamps, when it came, or
// "long ago" for what was there before us.
static int64_t event_time(const struct feed *f, struct eventid id)
{
    int64_t now_ms = feeds_redis_now_ms(f->all);
    if (!eventid_is_time(id, now_ms + CLOCK_ERROR_MS))
        return f->placed ? now_ms : 0;
    return (int64_t)id.ms < now_ms ? (int64_t)id.ms : now_ms;
}

static void append_gap(struct feed *f, enum gap_reason reason, struct eventid before,
                       int64_t missed)
{
    const struct gap gap = {
        .reason = reason, .after = f->ring.last, .before = before, .missed = missed
    };
    // As late as the newest that is missing, so that who asks from then on is told.
    int64_t time_ms = eventid_is_none(before) ? feeds_redis_now_ms(f->all) : event_time(f, before);
    ring_append_gap(&f->ring, &gap, time_ms);
    metrics_add(f->all->metrics, METRIC_GAPS + reason, 1);
    feed_mark_changed(f);
}

static void skip_event(struct feed *f, struct eventid id, enum event_verdict verdict)
{
    struct feeds *all = f->all;
    uint64_t missed;
    metrics_add(all->metrics, METRIC_EVENTS_SKIPPED + event_skip_reason(verdict), 1);
    if (!say_limited(&all->odd_event, all->loop->now_ms, SAY_EVERY_MS, &missed))
        return;
    char text[EVENTID_MAX + 1];
    eventid_format(id, text);
    say(SAY_WARN, "event_skipped", SAY_V("stream", feed_id(f)), SAY_S("id", text),
        SAY_S("reason", event_verdict_name(verdict)), SAY_NOT_SAID(missed));
}

// Did we have it before Redis lost its newest entries (a failover, an old snapshot)?
// It is not newer than what we had, and it is in the ring, has left it, or is older than
// all that it is meant to hold. Ids that are no timestamps may be another stream's:
// of those only what the ring still has is known.
static bool had_before(const struct feed *f, struct eventid id, struct view payload)
{
    if (eventid_cmp(id, f->dedupe_until) > 0)
        return false;
    int64_t now_ms = feeds_redis_now_ms(f->all);
    int64_t window_ms = f->all->config->ring_seconds * MS_PER_S;
    return eventid_is_time(id, now_ms - window_ms) ||
           (eventid_is_time(id, now_ms + CLOCK_ERROR_MS) && ring_had(&f->ring, id)) ||
           ring_has(&f->ring, id, payload);
}

// An entry is [id, [field, value, …]]. Null instead of the fields: deleted since.
static void take_entry(struct feed *f, struct eventid id, struct resp_reader *r,
                       const struct resp_node *fields)
{
    struct feeds *all = f->all;
    if (fields->type != RESP_ARRAY && fields->type != RESP_MAP) {
        resp_skip(r, fields);
        return;
    }
    struct view payload;
    enum event_verdict verdict =
        event_read(r, fields->count, view_of(all->config->data_field),
                   (size_t)all->config->event_bytes, &all->scratch, &payload);
    if (had_before(f, id, payload))
        return;
    if (verdict != EVENT_OK) {
        skip_event(f, id, verdict);
        return;
    }
    ring_append(&f->ring, id, event_time(f, id), payload);
    feed_mark_changed(f);
    metrics_add(all->metrics, METRIC_EVENTS_READ, 1);
}

// ---- what an answer says ----------------------------------------------------------

// How far the event `id`, which has just been read, is from the one before. Ids tell, for we
// may be late; but the times of our reads tell too, for ids may be no times.
static uint64_t apart_ms(const struct feed *f, struct eventid before, struct eventid id)
{
    uint64_t by_id = id.ms - before.ms;
    uint64_t by_read = (uint64_t)(f->all->loop->now_ms - f->fresh_ms);
    return by_id > by_read ? by_id : by_read;
}

static void note_untold(struct feed *f, size_t events, struct eventid before, struct eventid first)
{
    struct piece *untold = &f->untold;
    uint64_t apart = apart_ms(f, before, first), span = f->ring.last.ms - first.ms;
    if (untold->events == 0)
        *untold = (struct piece){ .events = events, .apart_ms = apart, .span_ms = span };
    else {
        untold->events += events;
        untold->span_ms += apart + span;
    }
}

// Two changes in a row make a stream warm; what it had when we came is none.
static void note_fresh(struct feed *f)
{
    struct feeds *all = f->all;
    if (feed_is_warm(f))
        list_move(&all->warm, &f->in_warm);
    else
        list_remove(&f->in_warm);
    f->fresh_ms = all->loop->now_ms;
    if (f->second_read == SECOND_READ_NONE) // else it goes on with what began before
        all->fresh_reads++;
}

struct intake {
    size_t entries; // how many the reply had
    size_t fresh;   // how many of them are newer than `last`
    bool is_full;   // there may be more after them
};

// Takes the entries of a range that are newer than f->ring.last.
static struct intake take_entries(struct feed *f, const struct feed_read *read,
                                  struct resp_reader *r, const struct resp_node *entries)
{
    struct intake taken = { .is_full = entries->count >= read->page };
    struct resp_node entry, id_node, fields;
    const char *begun = r->at;
    struct eventid before = f->ring.last, first = { 0 };
    for (size_t i = 0; i < entries->count; i++) {
        struct eventid id;
        if (!resp_next(r, &entry))
            break;
        if (entry.type != RESP_ARRAY || entry.count != 2 || !resp_next(r, &id_node) ||
            !eventid_parse(id_node.text, &id) || !resp_next(r, &fields)) {
            f->all->bad_reply = "Redis sent a stream entry that makes no sense";
            break;
        }
        taken.entries++;
        if (taken.entries == 1 && !f->placed && eventid_is_none(f->first))
            f->first = id;
        if (eventid_cmp(id, f->ring.last) <= 0) {
            resp_skip(r, &fields);
            continue;
        }
        if (taken.fresh == 0)
            first = id;
        const char *body = r->at;
        take_entry(f, id, r, &fields);
        f->ring.last = id;
        f->last_hash = hash_table_hash((struct view){ body, (size_t)(r->at - body) });
        taken.fresh++;
    }
    if (taken.entries > 0)
        paging_learn(&f->paging, taken.entries, (size_t)(r->at - begun), taken.is_full);
    if (taken.fresh > 0 && f->ring.ready) {
        note_untold(f, taken.fresh, before, first);
        note_fresh(f);
    }
    return taken;
}

// All that the stream had when it was read is in the log now.
static void caught_up(struct feed *f)
{
    f->ring.ready = true;
    f->ring.epoch = f->asked_epoch;
    f->dedupe_until = (struct eventid){ 0 };
    f->unsure = false;
    ring_refresh_done(&f->ring);
    feed_mark_changed(f);
}

static void finish_read(struct feed *f, struct intake taken)
{
    if (taken.is_full)
        feed_mark_dirty(f); // there is more
    else
        caught_up(f);
}

// The stream is not the one that we were in, or not as far: what comes next may
// have any id. Clients stay, and go on with it.
static void reset_feed(struct feed *f, const char *why)
{
    char was[EVENTID_MAX + 1];
    uint64_t not_said;
    eventid_format(f->ring.last, was);
    if (say_limited(&f->all->reset, f->all->loop->now_ms, LOSS_SAY_MS, &not_said))
        say(SAY_INFO, "stream_reset", SAY_V("stream", feed_id(f)), SAY_S("after", was),
            SAY_S("why", why), SAY_NOT_SAID(not_said));
    append_gap(f, GAP_RESET, (struct eventid){ 0 }, MISSED_UNKNOWN);
    if (eventid_cmp(f->ring.last, f->newest_before_reset) > 0)
        f->newest_before_reset = f->ring.last;
    // After a break of the link Redis may have come back with less of the same
    // stream (a failover, an old snapshot); while it stood, the stream is a new one.
    if (f->unsure && eventid_cmp(f->ring.last, f->dedupe_until) > 0)
        f->dedupe_until = f->ring.last;
    f->ring.last = (struct eventid){ 0 };
    f->last_hash = 0;
    f->added_known = false;
    f->check = true;
    feed_mark_dirty(f);
}

static void trimmed(struct feed *f, const struct stream_info *info, int64_t missed)
{
    char after[EVENTID_MAX + 1], how_many[24] = "unknown";
    uint64_t not_said;
    eventid_format(f->ring.last, after);
    if (missed != MISSED_UNKNOWN)
        snprintf(how_many, sizeof(how_many), "%" PRId64, missed);
    if (say_limited(&f->all->trimmed, f->all->loop->now_ms, LOSS_SAY_MS, &not_said))
        say(SAY_WARN, "events_trimmed", SAY_V("stream", feed_id(f)), SAY_S("after", after),
            SAY_S("missed", how_many), SAY_NOT_SAID(not_said),
            SAY_S("hint", "Redis dropped them before they were read"));
    append_gap(f, GAP_TRIMMED, info->first, missed);
}

static struct stream_had what_we_had(const struct feed *f)
{
    return (struct stream_had){ .last = f->ring.last,
                                .added = f->added,
                                .counted = f->counted,
                                .added_known = f->added_known,
                                .unsure = f->unsure };
}

// `last` did not come back. False: the stream was reset, and its entries are to be read
// anew.
static bool explain_loss(struct feed *f, const struct stream_info *info)
{
    const struct stream_had had = what_we_had(f);
    const struct loss loss = loss_explain(&had, info);
    if (loss.kind == LOSS_TRIMMED)
        trimmed(f, info, loss.missed);
    if (loss.kind != LOSS_RESET)
        return true;
    reset_feed(f, loss.why);
    if (loss.may_be_the_same)
        f->dedupe_until = had.last;
    return false;
}

// The range begins with the event that we had last, and nothing is missing after
// it; or that event is gone; or another one bears its id: a stream that is deleted
// and created again within a millisecond gives the same id twice.
enum place { HERE, GONE, ANOTHER };

static enum place find_place(const struct feed *f, struct resp_reader r,
                             const struct resp_node *entries)
{
    struct resp_node entry, id_node, fields;
    struct eventid id;
    if (eventid_is_none(f->ring.last))
        return HERE;
    if (entries->count == 0 || !resp_next(&r, &entry) || entry.count != 2 ||
        !resp_next(&r, &id_node) || !eventid_parse(id_node.text, &id) ||
        eventid_cmp(id, f->ring.last) != 0 || !resp_next(&r, &fields))
        return GONE;
    const char *body = r.at;
    resp_skip(&r, &fields);
    uint64_t hash = hash_table_hash((struct view){ body, (size_t)(r.at - body) });
    return f->last_hash == 0 || f->last_hash == hash ? HERE : ANOTHER;
}

// The one entry before the window, or none, or an error that the range repeats.
void feed_take_older(struct feed *f, struct resp_reader *r, const struct resp_node *entries)
{
    if (entries->type == RESP_ARRAY && !f->placed)
        take_entries(f, &f->read, r, entries);
    else
        resp_skip(r, entries);
}

// What the stream had before what we read of it when we came. A server that does not
// count cannot tell whether there was any: only who asks for an older id is told.
static void set_floor(struct feed *f, const struct stream_info *info)
{
    struct floor floor = { .id = eventid_before(f->first) };
    bool has_all = info->known && eventid_cmp(info->first, f->first) == 0;
    if (eventid_is_none(f->first))
        floor.id = info->last_generated;
    else if (has_all && info->added_known && info->added == info->length)
        return;
    floor.trimmed = has_all;
    if (info->known && (!has_all || info->added_known))
        floor.time_ms = event_time(f, floor.id);
    ring_set_floor(&f->ring, floor);
}

// The same as explain_loss where XINFO is refused: with nothing newer than `last`, the
// stream was deleted or went back, or all of it was trimmed. What we had is not
// delivered again when it is read anew.
static bool explain_blindly(struct feed *f, const struct resp_node *entries)
{
    if (entries->count > 0) {
        trimmed(f, &(struct stream_info){ 0 }, MISSED_UNKNOWN);
        return true;
    }
    struct eventid last = f->ring.last;
    reset_feed(f, "its newest entry is gone");
    f->dedupe_until = last;
    return false;
}

bool feed_is_outrun(const struct feed *f, const struct feed_read *read)
{
    return f->placed && eventid_cmp(read->from, f->ring.last) != 0;
}

void feed_take_range(struct feed *f, struct resp_reader *r, const struct resp_node *entries)
{
    if (feed_is_outrun(f, &f->read)) {
        feed_mark_dirty(f);
        return;
    }
    enum place place = f->placed ? find_place(f, *r, entries) : HERE;
    bool is_new = !f->placed;
    if (place == GONE && f->all->cannot_check && !explain_blindly(f, entries))
        return;
    if (place == ANOTHER) {
        reset_feed(f, "another event bears the last id");
    } else if (place == GONE && !f->all->cannot_check) {
        f->check = true;
        feed_mark_dirty(f);
    } else {
        struct intake taken = take_entries(f, &f->read, r, entries);
        if (is_new) // at once, where XINFO is refused
            set_floor(f, &(struct stream_info){ 0 });
        f->placed = true;
        f->added += taken.fresh;
        finish_read(f, taken);
    }
}

// There was nothing before. But a snapshot from before a deletion tells of long ago: if
// it begins with what we had, all that follows is there.
static void lost_at_the_start(struct feed *f, const struct stream_info *info)
{
    bool comes_back = !eventid_is_none(f->dedupe_until);
    if (!f->placed || !eventid_is_none(f->ring.last))
        return;
    if (comes_back && info->has_entries && eventid_cmp(info->first, f->dedupe_until) <= 0)
        return;
    const struct stream_had had = what_we_had(f);
    const struct loss loss = loss_at_the_start(&had, info);
    if (loss.kind == LOSS_TRIMMED)
        trimmed(f, info, loss.missed);
}

void feed_take_check(struct feed *f, struct resp_reader *r, const struct stream_info *info,
                     const struct resp_node *entries)
{
    if (feed_is_outrun(f, &f->read)) {
        feed_mark_dirty(f);
        return;
    }
    enum place place = f->placed ? find_place(f, *r, entries) : HERE;
    f->check = false;
    if (!info->known) { // XINFO itself was refused
        f->all->cannot_check = true;
        feed_mark_dirty(f);
        return;
    }
    if (place == ANOTHER) {
        reset_feed(f, "another event bears the last id");
        return;
    }
    if (place == GONE && !explain_loss(f, info))
        return;
    lost_at_the_start(f, info);
    struct intake taken = take_entries(f, &f->read, r, entries);
    if (!f->placed)
        set_floor(f, info);
    f->placed = true;
    if (taken.entries == 0 && eventid_cmp(info->last_generated, f->ring.last) > 0)
        f->ring.last = info->last_generated; // its newest entries have gone

    // entries-added is the count at `last` only when that is the stream's end; else
    // the last page will tell. A stream that is not there has had none.
    bool at_end = !taken.is_full;
    f->added = info->exists ? info->added : 0;
    f->added_known = at_end && (info->added_known || !info->exists);
    f->counted = info->last_generated; // behind `last`, where XDEL had taken what was newest
    f->check = !at_end && info->added_known;
    finish_read(f, taken);
}

void feed_take_beside(struct feed *f, const struct feed_read *read, struct resp_reader *r,
                      const struct resp_node *entries)
{
    if (entries->type != RESP_ARRAY || feed_is_outrun(f, read) || f->unsure || f->check ||
        find_place(f, *r, entries) != HERE) {
        feed_mark_dirty(f);
        return;
    }
    struct intake taken = take_entries(f, read, r, entries);
    f->added += taken.fresh;
    metrics_add(f->all->metrics, METRIC_REDIS_HOTLINE_READS, taken.fresh > 0);
    if (taken.is_full)
        feed_mark_dirty(f); // there is more
}
