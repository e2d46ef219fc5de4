#include "tail/feed.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/say.h"
#include "tail/event.h"

#define PAGE_FIRST 32 // entries, while their size is not known
#define PAGE_MIN 2    // one of them is the one that we have
#define PAGE_MAX 512
#define WARM_MS 2000 // a stream is warm when its changes come closer together than this
#define SAY_EVERY_MS 10000
#define LOSS_SAY_MS 20 // a FLUSHALL resets thousands at once

void feeds_init(struct feeds *all)
{
    list_init(&all->dirty);
    list_init(&all->changed);
    list_init(&all->sweep);
    list_init(&all->warm);
}

void feeds_done(struct feeds *all)
{
    buffer_free(&all->scratch);
}

int64_t feeds_redis_now_ms(const struct feeds *all)
{
    return clock_wall_ms() + pulse_skew_ms(all->pulse);
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
    *f = (struct feed){
        .all = all, .page = PAGE_FIRST, .prefix_len = prefix_len, .key_len = prefix_len + id.len
    };
    memcpy(f->key, all->config->stream_prefix, prefix_len);
    memcpy(f->key + prefix_len, id.at, id.len);
    list_init(&f->in_dirty);
    list_init(&f->in_changed);
    list_init(&f->in_warm);
    deadline_init(&f->linger);
    deadline_init(&f->recheck);
    ring_init(&f->ring, &all->rings, feed_id(f));
    list_push(&all->sweep, &f->in_sweep);
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
        f->sift = f->had;
}

// ---- what an entry becomes ------------------------------------------------------

// Ids are timestamps unless someone chose them. Those of the last ten years are.
static bool is_timestamp(uint64_t ms, int64_t now_ms)
{
    const int64_t year_ms = INT64_C(365) * 24 * 3600 * MS_PER_S;
    return ms <= (uint64_t)now_ms && ms > (uint64_t)(now_ms - 10 * year_ms);
}

// When an event happened: its id says so; where ids are no timestamps, when it
// came, or "long ago" for what was there before us.
static int64_t event_time(const struct feed *f, struct eventid id)
{
    int64_t now_ms = feeds_redis_now_ms(f->all);
    return is_timestamp(id.ms, now_ms) ? (int64_t)id.ms : f->placed ? now_ms : 0;
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
    feed_mark_changed(f);
}

static void skip_event(struct feed *f, struct eventid id, enum event_verdict verdict)
{
    struct feeds *all = f->all;
    uint64_t missed;
    stats_add(&all->stats->events_skipped, 1);
    if (!say_limited(&all->odd_event, all->loop->now_ms, SAY_EVERY_MS, &missed))
        return;
    char text[EVENTID_MAX + 1];
    eventid_format(id, text);
    say(SAY_WARN, "event_skipped", SAY_V("stream", feed_id(f)), SAY_S("id", text),
        SAY_S("reason", event_verdict_name(verdict)), SAY_I("not_said", (int64_t)missed));
}

// Did we have it before Redis lost its newest entries (a failover, an old snapshot)?
// It is not behind where we were, and it is in the ring, has left it, or is older than
// all that it is meant to hold. Ids that are no timestamps may be another stream's:
// of those only what the ring still has is known.
static bool had_before(const struct feed *f, struct eventid id, struct view payload)
{
    if (eventid_cmp(id, f->sift) > 0)
        return false;
    int64_t now_ms = feeds_redis_now_ms(f->all);
    int64_t window_ms = f->all->config->ring_seconds * MS_PER_S;
    return is_timestamp(id.ms, now_ms - window_ms) ||
           (is_timestamp(id.ms, now_ms) && ring_had(&f->ring, id)) ||
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
    stats_add(&all->stats->events_read, 1);
}

// ---- what an answer says ----------------------------------------------------------

// Two changes in a row make a stream warm; what it had when we came is none.
static void note_fresh(struct feed *f)
{
    struct feeds *all = f->all;
    if (feed_is_warm(f))
        list_move(&all->warm, &f->in_warm);
    else
        list_remove(&f->in_warm);
    f->fresh_ms = all->loop->now_ms;
    all->fresh_reads++;
}

struct intake {
    size_t entries; // how many the reply had
    size_t fresh;   // how many of them lay behind `last`
    bool is_full;   // there may be more behind them
};

static size_t page_for(size_t entry_bytes)
{
    size_t page = FEED_PAGE_BYTES / (entry_bytes + 1);
    return page < PAGE_MIN ? PAGE_MIN : page > PAGE_MAX ? PAGE_MAX : page;
}

// Takes the entries of a range that lie behind f->ring.last.
static struct intake take_entries(struct feed *f, const struct feed_read *read,
                                  struct resp_reader *r, const struct resp_node *entries)
{
    struct intake taken = { .is_full = entries->count >= read->page };
    struct resp_node entry, id_node, fields;
    const char *begun = r->at;
    for (size_t i = 0; i < entries->count; i++) {
        struct eventid id;
        if (!resp_next(r, &entry))
            break;
        if (entry.type != RESP_ARRAY || entry.count != 2 || !resp_next(r, &id_node) ||
            !eventid_parse(id_node.text, &id) || !resp_next(r, &fields)) {
            f->all->nonsense = "Redis sent a stream entry that makes no sense";
            break;
        }
        taken.entries++;
        if (taken.entries == 1 && !f->placed && eventid_is_none(f->first))
            f->first = id;
        if (eventid_cmp(id, f->ring.last) <= 0) {
            resp_skip(r, &fields);
            continue;
        }
        const char *body = r->at;
        take_entry(f, id, r, &fields);
        f->ring.last = id;
        f->last_hash = hash_table_hash((struct view){ body, (size_t)(r->at - body) });
        taken.fresh++;
    }
    if (taken.entries > 0)
        f->page = page_for((size_t)(r->at - begun) / taken.entries);
    if (taken.fresh > 0 && f->ring.ready)
        note_fresh(f);
    return taken;
}

// All that the stream had when it was read is in the log now.
static void caught_up(struct feed *f)
{
    f->ring.ready = true;
    f->ring.epoch = f->asked_epoch;
    f->sift = (struct eventid){ 0 };
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
            SAY_S("why", why), SAY_I("not_said", (int64_t)not_said));
    stats_add(&f->all->stats->resets, 1);

    append_gap(f, GAP_RESET, (struct eventid){ 0 }, MISSED_UNKNOWN);
    if (eventid_cmp(f->ring.last, f->had) > 0)
        f->had = f->ring.last;
    // After a break of the link Redis may have come back with less of the same
    // stream (a failover, an old snapshot); while it stood, the stream is a new one.
    if (f->unsure && eventid_cmp(f->ring.last, f->sift) > 0)
        f->sift = f->ring.last;
    f->ring.last = (struct eventid){ 0 };
    f->last_hash = 0;
    f->added_known = false;
    f->check = true;
    feed_mark_dirty(f);
}

struct stream_info stream_info_read(struct resp_reader *r, const struct resp_node *map)
{
    struct stream_info info = { 0 };
    struct resp_node name, value;
    if (resp_is_error(map, VIEW("ERR no such key"))) {
        info.known = true;
        return info;
    }
    if (map->type != RESP_MAP && map->type != RESP_ARRAY)
        return info;
    info.known = info.exists = true;
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (!resp_next(r, &name) || !resp_next(r, &value))
            break;
        struct resp_reader children = *r;
        resp_skip(r, &value);
        if (view_eq(name.text, VIEW("length"))) {
            info.length = (uint64_t)value.integer;
        } else if (view_eq(name.text, VIEW("entries-added"))) {
            info.added = (uint64_t)value.integer;
            info.added_known = true;
        } else if (view_eq(name.text, VIEW("last-generated-id"))) {
            eventid_parse(value.text, &info.last_generated);
        } else if (view_eq(name.text, VIEW("max-deleted-entry-id"))) {
            eventid_parse(value.text, &info.max_deleted);
        } else if (view_eq(name.text, VIEW("first-entry"))) {
            struct resp_node id;
            info.has_entries = value.type == RESP_ARRAY && value.count == 2 &&
                               resp_next(&children, &id) && eventid_parse(id.text, &info.first);
        }
    }
    return info;
}

static void trimmed(struct feed *f, const struct stream_info *info, int64_t missed)
{
    char after[EVENTID_MAX + 1];
    eventid_format(f->ring.last, after);
    uint64_t not_said;
    stats_add(&f->all->stats->trimmed, 1);
    if (say_limited(&f->all->trimmed, f->all->loop->now_ms, LOSS_SAY_MS, &not_said))
        say(SAY_WARN, "events_trimmed", SAY_V("stream", feed_id(f)), SAY_S("after", after),
            SAY_I("missed", missed), SAY_I("not_said", (int64_t)not_said),
            SAY_S("hint", "Redis dropped them before they were read"));
    append_gap(f, GAP_TRIMMED, info->first, missed);
}

// `last` did not come back. Why? False: the stream was reset, and its entries are
// to be read anew.
static bool explain_loss(struct feed *f, const struct stream_info *info)
{
    if (!info->exists) {
        reset_feed(f, "it was deleted");
        return false;
    }
    if (eventid_cmp(info->last_generated, f->ring.last) < 0) {
        reset_feed(f, "its ids went back");
        return false;
    }
    if (f->added_known && info->added_known && info->added < f->added) {
        reset_feed(f, "it was deleted and created again");
        return false;
    }
    bool first_is_behind = info->has_entries && eventid_cmp(info->first, f->ring.last) > 0;
    if (f->unsure && info->has_entries && !first_is_behind) {
        reset_feed(f, "Redis came back without the newest entry");
        return false;
    }
    if (info->has_entries && !first_is_behind && info->added_known &&
        eventid_cmp(info->max_deleted, f->ring.last) < 0) {
        reset_feed(f, "it never had the event that we had last");
        return false;
    }
    if (info->has_entries && !first_is_behind)
        return true; // `last` alone was deleted (XDEL)
    if (eventid_cmp(info->last_generated, f->ring.last) == 0)
        return true; // we had all that is gone
    if (f->added_known && info->added_known) {
        if (info->added < f->added + info->length) {
            reset_feed(f, "it holds more than was added to it since");
            return false;
        }
        uint64_t missed = info->added - f->added - info->length;
        if (missed > 0)
            trimmed(f, info, (int64_t)missed);
        return true;
    }
    trimmed(f, info, MISSED_UNKNOWN);
    return true;
}

// The range begins with the event that we had last, and nothing is missing behind
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

// The same as explain_loss where XINFO is refused: with nothing behind `last`, the
// stream was deleted or went back, or all of it was trimmed. What we had is sifted
// out when it is read anew.
static bool explain_blindly(struct feed *f, const struct resp_node *entries)
{
    if (entries->count > 0) {
        trimmed(f, &(struct stream_info){ 0 }, MISSED_UNKNOWN);
        return true;
    }
    struct eventid last = f->ring.last;
    reset_feed(f, "its newest entry is gone");
    f->sift = last;
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

// Where there was nothing, more was added than there is. But in a snapshot from before
// a deletion that tells of long ago: if it begins with what we had, all behind it is there.
static void lost_at_the_start(struct feed *f, const struct stream_info *info)
{
    bool comes_back = !eventid_is_none(f->sift);
    if (!f->placed || !eventid_is_none(f->ring.last) || !f->added_known || !info->added_known ||
        info->added <= f->added + info->length)
        return;
    if (comes_back && info->has_entries && eventid_cmp(info->first, f->sift) <= 0)
        return;
    int64_t missed = (int64_t)(info->added - f->added - info->length);
    trimmed(f, info, comes_back ? MISSED_UNKNOWN : missed);
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
    stats_add(&f->all->stats->hotline_reads, taken.fresh > 0);
    if (taken.is_full)
        feed_mark_dirty(f); // there is more
}
