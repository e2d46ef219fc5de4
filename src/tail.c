#include "tail.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "clock.h"
#include "event.h"
#include "hash.h"
#include "hotline.h"
#include "link.h"
#include "resp.h"
#include "ring.h"
#include "table.h"
#include "ws.h"

#define PAGE_BYTES (1 * MIB) // what one read is to bring, going by the entries it brought before
#define PAGE_FIRST 32        // entries, while their size is not known
#define PAGE_MIN 2           // one of them is the one that we have
#define PAGE_MAX 512
#define READS_IN_FLIGHT 64 // with PAGE_BYTES it bounds the memory of the replies
#define RETRY_MS 250       // a stream whose read failed for now is read again
#define TICK_MS 1000       // sweep slice and clock check
#define CLOCK_EVERY_TICKS 5
#define POLLS_PER_MS 5 // without tracking: reads a millisecond at most
#define SAY_EVERY_MS 10000
#define DOWN_SAY_MS 30000
#define LOSS_SAY_MS 20     // a FLUSHALL resets thousands at once
#define WARM_MS 2000       // a stream is warm when its changes come closer together than this
#define HOT_READS_MAX 300  // changes a second; above it, reading what has piled up is cheaper
#define HOT_PAGE_MIN 64    // entries of 16 KiB at most, going by PAGE_BYTES
#define HOT_RECHECK_MS 100 // a hot stream that Redis says has changed is read here too

// What a read was when it was sent: the answer is understood by that.
struct read {
    struct eventid from;
    size_t page; // entries that were asked for
};

// One stream that is followed in Redis. Where we are in it is ring.last.
struct feed {
    struct tail *tail;
    struct ring ring;
    struct table_node by_id;
    struct list in_dirty, in_changed, in_sweep; // the tail's lists
    struct deadline linger;                     // armed while nobody listens
    struct list in_warm;
    struct deadline recheck; // while it is hot and Redis said that it changed
    int64_t fresh_ms;        // when its newest event was read

    struct eventid first; // of the entries that there were when we came
    uint64_t last_hash;   // of the fields of the entry at ring.last; 0: we have not seen them
    struct eventid sift;  // what is read next, up to here, may be what we had before a reset
    struct eventid had;   // the newest before the resets so far
    uint64_t added;       // the stream's entries-added when ring.last was its newest
    bool added_known;
    size_t page; // entries to ask for in one read
    bool placed; // ring.last is set: we know where we are
    bool check;  // the next read must look at XINFO too
    bool unsure; // not read since the link came up: Redis may have changed under us
    bool asked;  // `read` is unanswered
    bool dead;   // to be freed when it is answered
    bool hot;    // waited for on the hotline
    struct read read;
    uint64_t asked_epoch;

    size_t prefix_len, key_len;
    char key[]; // prefix and id
};

// What is unanswered, in the order in which it was sent.
enum ask_kind { ASK_NOTHING, ASK_OLDER, ASK_RANGE, ASK_CHECK, ASK_TIME, ASK_SERVER };
struct ask {
    enum ask_kind kind;
    struct feed *feed;
};

// A stream that is waited for on the hotline.
struct hot {
    struct feed *feed; // NULL: dropped meanwhile
    struct read read;
};

struct tail {
    const struct config *config;
    struct pulse *pulse;
    struct stats stats;
    pthread_t thread;
    bool running;
    struct loop loop;
    struct mailbox mailbox;
    struct link *link;

    struct table feeds;
    struct list dirty;   // to be read
    struct list changed; // letters to be sent
    struct list sweep;   // all feeds, the one that has waited longest first
    struct rings rings;

    struct hotline *hotline; // NULL: BOND_REDIS_CONNECTIONS=1
    struct hot hot[HOTLINE_WAITS_MAX];
    size_t hot_count;
    struct list warm;     // feeds that change now, the latest last
    uint64_t fresh_reads; // in this second
    bool busy;            // too many of them in the last one
    size_t server_id_len; // of the link's server; 0: not known
    char server_id[SERVER_ID_MAX];

    struct deadline_queue ticks, polls, retries, lingers, rechecks;
    struct deadline tick, poll, retry;
    uint64_t tick_count;

    struct ask *asks; // a circle of ask_cap, from ask_head on
    size_t ask_head, ask_len, ask_cap, reads_in_flight;
    int64_t time_asked_ms; // wall clock, when TIME was sent
    bool clock_known;      // TIME was answered: we know where the window begins
    bool troubled;         // Redis answers, but not with data (LOADING, BUSY, …)
    bool cannot_check;     // XINFO or MULTI are refused here
    bool key_refused;      // one of a transaction's commands: for its key, not for what it is
    struct buffer scratch;
    struct say_limit odd_event, read_failed, down, reset, trimmed;
    char down_why[256]; // as it was last said; empty when the link has been up since
};

static struct view feed_key(const struct feed *f)
{
    return (struct view){ f->key, f->key_len };
}

static struct view feed_id(const struct feed *f)
{
    return (struct view){ f->key + f->prefix_len, f->key_len - f->prefix_len };
}

// Redis's clock, now.
static int64_t redis_now_ms(const struct tail *t)
{
    return clock_wall_ms() + pulse_skew_ms(t->pulse);
}

static struct feed *find_feed(struct tail *t, struct view id)
{
    struct table_node *found = table_find(&t->feeds, id);
    return found ? TABLE_ITEM(found, struct feed, by_id) : NULL;
}

static void mark_changed(struct feed *f)
{
    if (list_empty(&f->in_changed))
        list_push(&f->tail->changed, &f->in_changed);
}

static void mark_dirty(struct feed *f)
{
    if (list_empty(&f->in_dirty))
        list_push(&f->tail->dirty, &f->in_dirty);
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
    int64_t now_ms = redis_now_ms(f->tail);
    return is_timestamp(id.ms, now_ms) ? (int64_t)id.ms : f->placed ? now_ms : 0;
}

static void append_gap(struct feed *f, enum gap_reason reason, struct eventid before,
                       int64_t missed)
{
    const struct gap gap = {
        .reason = reason, .after = f->ring.last, .before = before, .missed = missed
    };
    // As late as the newest that is missing, so that who asks from then on is told.
    bool known = before.ms || before.seq;
    ring_append_gap(&f->ring, &gap, known ? event_time(f, before) : redis_now_ms(f->tail));
    mark_changed(f);
}

static void skip_event(struct feed *f, struct eventid id, enum event_verdict verdict)
{
    struct tail *t = f->tail;
    uint64_t missed;
    stats_add(&t->stats.events_skipped, 1);
    if (!say_limited(&t->odd_event, t->loop.now_ms, SAY_EVERY_MS, &missed))
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
    int64_t now_ms = redis_now_ms(f->tail);
    int64_t window_ms = f->tail->config->ring_seconds * MS_PER_S;
    return ring_has(&f->ring, id, payload) ||
           (is_timestamp(id.ms, now_ms) && ring_had(&f->ring, id)) ||
           is_timestamp(id.ms, now_ms - window_ms);
}

// An entry is [id, [field, value, …]]. Null instead of the fields: deleted since.
static void take_entry(struct feed *f, struct eventid id, struct resp_reader *r,
                       const struct resp_node *fields)
{
    struct tail *t = f->tail;
    if (fields->type != RESP_ARRAY && fields->type != RESP_MAP) {
        resp_skip(r, fields);
        return;
    }
    struct view payload;
    enum event_verdict verdict = event_read(r, fields->count, view_of(t->config->data_field),
                                            (size_t)t->config->event_bytes, &t->scratch, &payload);
    if (had_before(f, id, payload))
        return;
    if (verdict != EVENT_OK) {
        skip_event(f, id, verdict);
        return;
    }
    ring_append(&f->ring, id, event_time(f, id), payload);
    mark_changed(f);
    stats_add(&t->stats.events_read, 1);
}

// ---- reading --------------------------------------------------------------------

static void ask(struct tail *t, enum ask_kind kind, struct feed *f)
{
    if (t->ask_len == t->ask_cap) {
        size_t cap = t->ask_cap ? t->ask_cap * 2 : 64;
        struct ask *asks = must_alloc(cap * sizeof(*asks));
        for (size_t i = 0; i < t->ask_len; i++)
            asks[i] = t->asks[(t->ask_head + i) % t->ask_cap];
        free(t->asks);
        t->asks = asks;
        t->ask_cap = cap;
        t->ask_head = 0;
    }
    t->asks[(t->ask_head + t->ask_len++) % t->ask_cap] = (struct ask){ kind, f };
}

static void command(struct tail *t, size_t argc, const struct view *argv, enum ask_kind kind,
                    struct feed *f)
{
    link_command(t->link, argc, argv);
    ask(t, kind, kind == ASK_NOTHING ? NULL : f);
}

// Entries from an id on: where we are, or for a new feed the start of the window.
static void send_range(struct feed *f, const struct read *read, enum ask_kind kind)
{
    char start[EVENTID_MAX + 1], count[24];
    size_t start_len = eventid_format(read->from, start);
    size_t count_len = (size_t)snprintf(count, sizeof(count), "%zu", read->page);
    const struct view argv[] = { VIEW("XRANGE"), feed_key(f),   { start, start_len },
                                 VIEW("+"),      VIEW("COUNT"), { count, count_len } };
    command(f->tail, ARRAY_LEN(argv), argv, kind, f);
}

// The newest entry before the window: for from=last in a quiet stream, and so that
// we know what a client that comes with an older id has missed.
static void send_older(struct feed *f, struct eventid window, enum ask_kind kind)
{
    char end[EVENTID_MAX + 1];
    size_t end_len = eventid_format((struct eventid){ window.ms - 1, UINT64_MAX }, end);
    const struct view argv[] = { VIEW("XREVRANGE"), feed_key(f),   { end, end_len },
                                 VIEW("-"),         VIEW("COUNT"), VIEW("1") };
    command(f->tail, ARRAY_LEN(argv), argv, kind, f);
}

static void send_read(struct feed *f)
{
    struct tail *t = f->tail;
    int64_t from_ms = redis_now_ms(t) - t->config->ring_seconds * MS_PER_S;
    struct eventid window = { .ms = (uint64_t)from_ms };
    f->read = (struct read){ .from = f->placed ? f->ring.last : window, .page = f->page };
    f->asked_epoch = pulse_epoch(t->pulse);

    if (t->cannot_check)
        f->check = false;
    // Without an event that must come back, only the count tells of what was trimmed.
    bool check = f->check || !f->placed || eventid_is_none(f->ring.last);
    if (check && !t->cannot_check) { // one snapshot: nothing comes between
        const struct view info[] = { VIEW("XINFO"), VIEW("STREAM"), feed_key(f) };
        command(t, 1, &VIEW("MULTI"), ASK_NOTHING, NULL);
        command(t, ARRAY_LEN(info), info, ASK_NOTHING, NULL);
        if (!f->placed)
            send_older(f, window, ASK_NOTHING);
        send_range(f, &f->read, ASK_NOTHING);
        command(t, 1, &VIEW("EXEC"), ASK_CHECK, f);
        stats_add(&t->stats.redis_checks, 1);
    } else {
        if (!f->placed)
            send_older(f, window, ASK_OLDER);
        send_range(f, &f->read, ASK_RANGE);
        stats_add(&t->stats.redis_reads, 1);
    }
    f->asked = true;
    t->reads_in_flight++;
    ring_refresh_sent(&f->ring);
}

static bool may_read(const struct tail *t)
{
    return link_is_up(t->link) && t->clock_known && !deadline_armed(&t->retry);
}

// Dirty feeds are read as far as the pipeline has room; the rest stay dirty. A
// feed whose read is unanswered stays dirty too, and is read again after it.
static void read_dirty(struct tail *t)
{
    if (!may_read(t))
        return;
    LIST_EACH (node, &t->dirty) {
        if (t->reads_in_flight >= READS_IN_FLIGHT)
            break;
        struct feed *f = LIST_ITEM(node, struct feed, in_dirty);
        if (f->asked)
            continue;
        list_remove(&f->in_dirty);
        send_read(f);
    }
}

// Two changes in a row make a stream warm; what it had when we came is none.
static void note_fresh(struct feed *f)
{
    struct tail *t = f->tail;
    int64_t now_ms = t->loop.now_ms;
    if (now_ms - f->fresh_ms < WARM_MS)
        list_move(&t->warm, &f->in_warm);
    else
        list_remove(&f->in_warm);
    f->fresh_ms = now_ms;
    t->fresh_reads++;
}

struct taken {
    size_t entries; // how many the reply had
    size_t fresh;   // how many of them lay behind `last`
    bool is_full;   // there may be more behind them
};

static size_t page_for(size_t entry_bytes)
{
    size_t page = PAGE_BYTES / (entry_bytes + 1);
    return page < PAGE_MIN ? PAGE_MIN : page > PAGE_MAX ? PAGE_MAX : page;
}

// Takes the entries of a range that lie behind f->ring.last.
static struct taken take_entries(struct feed *f, const struct read *read, struct resp_reader *r,
                                 const struct resp_node *entries)
{
    struct taken taken = { .is_full = entries->count >= read->page };
    struct resp_node entry, id_node, fields;
    const char *begun = r->at;
    for (size_t i = 0; i < entries->count; i++) {
        struct eventid id;
        if (!resp_next(r, &entry))
            break;
        if (entry.type != RESP_ARRAY || entry.count != 2 || !resp_next(r, &id_node) ||
            !eventid_parse(id_node.text, &id) || !resp_next(r, &fields)) {
            link_cut(f->tail->link, "Redis sent a stream entry that makes no sense");
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
    mark_changed(f);
}

static void finish_read(struct feed *f, struct taken taken)
{
    if (taken.is_full)
        mark_dirty(f); // there is more
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
    if (say_limited(&f->tail->reset, f->tail->loop.now_ms, LOSS_SAY_MS, &not_said))
        say(SAY_INFO, "stream_reset", SAY_V("stream", feed_id(f)), SAY_S("after", was),
            SAY_S("why", why), SAY_I("not_said", (int64_t)not_said));
    stats_add(&f->tail->stats.resets, 1);

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
    mark_dirty(f);
}

// What XINFO STREAM says. A server before Redis 7 does not count entries-added.
struct stream_info {
    bool exists, known;                                // known: XINFO was answered
    struct eventid last_generated, first, max_deleted; // max_deleted: with added_known
    bool has_entries;
    uint64_t length, added;
    bool added_known;
};

static bool error_is(const struct resp_node *node, struct view code)
{
    return node->type == RESP_ERROR && view_starts(node->text, code);
}

static struct stream_info read_info(struct resp_reader *r, const struct resp_node *map)
{
    struct stream_info info = { 0 };
    struct resp_node name, value;
    if (error_is(map, VIEW("ERR no such key"))) {
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
    stats_add(&f->tail->stats.trimmed, 1);
    if (say_limited(&f->tail->trimmed, f->tail->loop.now_ms, LOSS_SAY_MS, &not_said))
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
    if (f->ring.last.ms == 0 && f->ring.last.seq == 0)
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
static void take_older(struct feed *f, struct resp_reader *r, const struct resp_node *entries)
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

static void take_range(struct feed *f, struct resp_reader *r, const struct resp_node *entries)
{
    enum place place = f->placed ? find_place(f, *r, entries) : HERE;
    bool is_new = !f->placed;
    if (place == GONE && f->tail->cannot_check && !explain_blindly(f, entries))
        return;
    if (place == ANOTHER) {
        reset_feed(f, "another event bears the last id");
    } else if (place == GONE && !f->tail->cannot_check) {
        f->check = true;
        mark_dirty(f);
    } else {
        struct taken taken = take_entries(f, &f->read, r, entries);
        if (is_new) // at once, where XINFO is refused
            set_floor(f, &(struct stream_info){ 0 });
        f->placed = true;
        f->added += taken.fresh;
        finish_read(f, taken);
    }
}

static void take_check(struct feed *f, struct resp_reader *r, const struct stream_info *info,
                       const struct resp_node *entries)
{
    enum place place = f->placed ? find_place(f, *r, entries) : HERE;
    struct taken taken;
    f->check = false;
    if (!info->known) { // XINFO itself was refused
        f->tail->cannot_check = true;
        mark_dirty(f);
        return;
    }
    if (place == ANOTHER) {
        reset_feed(f, "another event bears the last id");
        return;
    }
    if (place == GONE && !explain_loss(f, info))
        return;
    if (f->placed && eventid_is_none(f->ring.last) && f->added_known && info->added_known &&
        info->added > f->added + info->length)
        trimmed(f, info, (int64_t)(info->added - f->added - info->length));
    taken = take_entries(f, &f->read, r, entries);
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

// ---- what a read may answer besides entries -------------------------------------

static void feed_drop(struct feed *f);

static void fail_feed(struct feed *f, int close_code, const char *reason)
{
    ring_fail(&f->ring, close_code, reason);
    feed_drop(f);
}

static void refuse_key(struct feed *f)
{
    fail_feed(f, WS_CLOSE_FAILURE, "Redis does not let the broker read this stream (NOPERM)");
}

// A command of a transaction is queued, or refused: by an ACL for its key, or for
// what it is. NOPERM says which in its sentence alone.
static void answer_queued(struct tail *t, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node) && error_is(&node, VIEW("NOPERM")) &&
        memmem(node.text.at, node.text.len, " key", 4) != NULL)
        t->key_refused = true;
}

// What a whole server says, and not for ever.
static bool is_trouble(const struct resp_node *error)
{
    static const char *const codes[] = { "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN",
                                         "TRYAGAIN" };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (error_is(error, view_of(codes[i])))
            return true;
    return false;
}

static void read_failed(struct feed *f, const struct resp_node *error)
{
    struct tail *t = f->tail;
    uint64_t missed;
    if (say_limited(&t->read_failed, t->loop.now_ms, SAY_EVERY_MS, &missed))
        say(SAY_WARN, "read_failed", SAY_V("stream", feed_id(f)), SAY_V("error", error->text),
            SAY_I("not_said", (int64_t)missed));

    if (error_is(error, VIEW("WRONGTYPE"))) {
        fail_feed(f, WS_CLOSE_FAILURE, "the stream's key in Redis holds no stream (WRONGTYPE)");
    } else if (error_is(error, VIEW("NOPERM"))) {
        refuse_key(f);
    } else if (is_trouble(error)) {
        t->troubled = true;
        mark_dirty(f);
        if (!deadline_armed(&t->retry))
            deadline_arm(&t->retries, &t->retry, t->loop.now_ms);
    } // anything else is this key's: the sweep reads it again
}

static void mark_all_dirty(struct tail *t)
{
    LIST_EACH (node, &t->sweep)
        mark_dirty(LIST_ITEM(node, struct feed, in_sweep));
}

static void retry_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, retry);
    t->troubled = t->troubled && t->feeds.len > 0; // else no feed is left to find out
}

// What was asked for from a place where we are no more: the hotline was quicker.
static bool is_outrun(const struct feed *f, const struct read *read)
{
    return f->placed && eventid_cmp(read->from, f->ring.last) != 0;
}

static void answer_range(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    f->tail->troubled = false;
    if (is_outrun(f, &f->read))
        mark_dirty(f);
    else
        take_range(f, &r, &node);
}

static void answer_check(struct feed *f, struct view reply)
{
    struct tail *t = f->tail;
    struct resp_reader r = resp_open(reply);
    struct resp_node node, info_node;
    CHECK(resp_next(&r, &node));
    bool key_refused = t->key_refused;
    t->key_refused = false;
    if (error_is(&node, VIEW("EXECABORT")) && key_refused) {
        refuse_key(f);
        return;
    }
    if (error_is(&node, VIEW("EXECABORT")) || error_is(&node, VIEW("ERR"))) {
        // A command of the four was refused when it was queued. Go on without.
        say(SAY_WARN, "checks_off", SAY_V("error", node.text),
            SAY_S("hint",
                  "let the broker use MULTI, EXEC and XINFO, so that it finds lost events"));
        t->cannot_check = true;
        mark_dirty(f);
        return;
    }
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    if (node.type != RESP_ARRAY || node.count < 2 || !resp_next(&r, &info_node)) {
        link_cut(t->link, "Redis answered EXEC with something else");
        return;
    }
    bool has_older = node.count == 3;
    struct resp_reader info_reader = r;
    struct stream_info info = read_info(&info_reader, &info_node);
    resp_skip(&r, &info_node);
    if (has_older && resp_next(&r, &node))
        take_older(f, &r, &node);
    if (!resp_next(&r, &node))
        return;
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    t->troubled = false;
    if (is_outrun(f, &f->read))
        mark_dirty(f);
    else
        take_check(f, &r, &info, &node);
}

static void answer_older(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node))
        take_older(f, &r, &node);
}

static void answer_time(struct tail *t, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, seconds, micros;
    uint64_t s, us;
    t->clock_known = true; // or never will be: then ours has to do
    if (!resp_next(&r, &node) || node.type != RESP_ARRAY || node.count != 2 ||
        !resp_next(&r, &seconds) || !resp_next(&r, &micros) || !view_u64(seconds.text, &s) ||
        !view_u64(micros.text, &us))
        return;
    // Redis read its clock somewhere between the question and the answer.
    int64_t now_ms = clock_wall_ms();
    int64_t middle_ms = t->time_asked_ms + (now_ms - t->time_asked_ms) / 2;
    atomic_store(&t->pulse->skew_ms, (int64_t)(s * 1000 + us / 1000) - middle_ms);
}

// ---- the hotline: streams that change now ---------------------------------------

// Redis may have told the link of a change that the hotline was to bring; from now on
// only the link brings it.
static void cool(struct feed *f)
{
    f->hot = false;
    if (deadline_armed(&f->recheck))
        mark_dirty(f);
    deadline_cancel(&f->recheck);
}

static void cool_all(struct tail *t)
{
    for (size_t i = 0; i < t->hot_count; i++)
        if (t->hot[i].feed)
            cool(t->hot[i].feed);
    t->hot_count = 0;
}

// Somebody listens, we are at its end as far as we know, and to read its newest event
// once more for each change of the others costs little.
static bool may_be_hot(const struct feed *f)
{
    bool at_end = f->placed && f->ring.ready && !f->unsure && !f->check && !f->asked &&
                  list_empty(&f->in_dirty);
    return at_end && !eventid_is_none(f->ring.last) && eventid_is_none(f->sift) &&
           !deadline_armed(&f->linger) && f->page >= HOT_PAGE_MIN;
}

static void choose_hot(struct tail *t)
{
    struct feed *was[HOTLINE_WAITS_MAX];
    size_t was_count = t->hot_count;
    for (size_t i = 0; i < was_count; i++) {
        was[i] = t->hot[i].feed;
        if (was[i])
            was[i]->hot = false;
    }
    t->hot_count = 0;
    for (struct list *node = t->warm.prev; node != &t->warm; node = node->prev) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (t->hot_count == ARRAY_LEN(t->hot))
            break;
        if (!may_be_hot(f))
            continue;
        f->hot = true;
        t->hot[t->hot_count++] = (struct hot){ f, { .from = f->ring.last, .page = f->page } };
    }
    for (size_t i = 0; i < was_count; i++)
        if (was[i] && !was[i]->hot)
            cool(was[i]);
}

static void drop_lukewarm(struct tail *t)
{
    LIST_EACH (node, &t->warm) {
        struct feed *f = LIST_ITEM(node, struct feed, in_warm);
        if (t->loop.now_ms - f->fresh_ms < WARM_MS)
            break;
        list_remove(node);
    }
}

// The streams that changed last are waited for, unless so much changes that a
// round for each change would cost Redis more than it saves.
static void wait_on_hotline(struct tail *t)
{
    struct view server = { t->server_id, t->server_id_len };
    if (t->hotline == NULL || hotline_is_waiting(t->hotline))
        return;
    drop_lukewarm(t);
    bool may = may_read(t) && server.len > 0 && !t->busy && !list_empty(&t->warm);
    if (!may || !hotline_is_free(t->hotline, server)) {
        cool_all(t);
        return;
    }
    choose_hot(t);
    struct hotline_wait waits[HOTLINE_WAITS_MAX];
    for (size_t i = 0; i < t->hot_count; i++) {
        const struct hot *hot = &t->hot[i];
        waits[i] = (struct hotline_wait){ feed_key(hot->feed), hot->read.from, hot->read.page };
    }
    if (t->hot_count > 0)
        hotline_wait(t->hotline, waits, t->hot_count);
    hotline_flush(t->hotline);
}

// What is not plainly "what we had, and then this" is left to the link.
static void hotline_answered(void *ctx, size_t i, struct view reply)
{
    struct tail *t = ctx;
    const struct hot *hot = &t->hot[i];
    struct feed *f = hot->feed;
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (f == NULL)
        return;
    if (node.type != RESP_ARRAY || is_outrun(f, &hot->read) || f->unsure || f->check ||
        find_place(f, r, &node) != HERE) {
        mark_dirty(f);
        return;
    }
    struct taken taken = take_entries(f, &hot->read, &r, &node);
    f->added += taken.fresh;
    stats_add(&t->stats.hotline_reads, taken.fresh > 0);
    if (taken.is_full)
        mark_dirty(f); // there is more
}

static void hotline_lost(void *ctx)
{
    struct tail *t = ctx;
    for (size_t i = 0; i < t->hot_count; i++)
        if (t->hot[i].feed)
            mark_dirty(t->hot[i].feed);
    cool_all(t);
}

static void recheck_due(struct deadline *d)
{
    mark_dirty(CONTAINER_OF(d, struct feed, recheck));
}

// ---- the link's events ----------------------------------------------------------

static void ask_server(struct tail *t)
{
    t->server_id_len = 0;
    const struct view argv[] = { VIEW("INFO"), VIEW("server") };
    if (t->hotline)
        command(t, ARRAY_LEN(argv), argv, ASK_SERVER, NULL);
}

static void ask_time(struct tail *t)
{
    t->time_asked_ms = clock_wall_ms();
    command(t, 1, &VIEW("TIME"), ASK_TIME, NULL);
}

static void arm_poll(struct tail *t)
{
    t->polls.after_ms = t->config->poll_ms;
    deadline_arm(&t->polls, &t->poll, t->loop.now_ms);
}

static void link_came_up(void *ctx)
{
    struct tail *t = ctx;
    t->clock_known = false;
    deadline_cancel(&t->retry);
    say(SAY_INFO, "redis_up", SAY_V("server", link_server(t->link)),
        SAY_S("following", link_tracks(t->link) ? "tracking" : "polling"),
        SAY_I("streams", (int64_t)t->feeds.len));
    t->troubled = false;
    t->cannot_check = false;
    t->down_why[0] = '\0';
    ask_time(t);
    ask_server(t);
    mark_all_dirty(t);
    deadline_cancel(&t->poll);
    if (!link_tracks(t->link))
        arm_poll(t);
}

// The first time, when the reason changes, and now and then: it is tried again
// every second or two.
static void say_down(struct tail *t, const char *why)
{
    uint64_t missed = 0;
    bool it_is_time = say_limited(&t->down, t->loop.now_ms, DOWN_SAY_MS, &missed);
    if (strcmp(t->down_why, why) == 0 && !it_is_time)
        return;
    snprintf(t->down_why, sizeof(t->down_why), "%s", why);
    say(SAY_WARN, "redis_down", SAY_S("why", why), SAY_I("streams", (int64_t)t->feeds.len),
        SAY_I("not_said", (int64_t)missed));
}

// Nothing that was asked will be answered; feeds that were dropped meanwhile go now.
static void forget_asks(struct tail *t)
{
    while (t->ask_len > 0) {
        struct ask *a = &t->asks[t->ask_head];
        t->ask_head = (t->ask_head + 1) % t->ask_cap;
        t->ask_len--;
        if (a->feed == NULL || a->kind == ASK_OLDER)
            continue;
        a->feed->asked = false;
        if (a->feed->dead)
            feed_drop(a->feed);
    }
    t->reads_in_flight = 0;
}

static void link_went_down(void *ctx, const char *why)
{
    struct tail *t = ctx;
    say_down(t, why);
    atomic_store(&t->pulse->readable_until_ms, 0);
    forget_asks(t);
    t->server_id_len = 0;
    if (t->hotline)
        hotline_cut(t->hotline);
    LIST_EACH (node, &t->sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        f->unsure = true;
        if (eventid_is_none(f->ring.last)) // deleted; an old snapshot may bring it back
            f->sift = f->had;
        ring_refresh_lost(&f->ring);
    }
}

static void link_replied(void *ctx, struct view reply)
{
    struct tail *t = ctx;
    CHECK(t->ask_len > 0);
    struct ask a = t->asks[t->ask_head];
    t->ask_head = (t->ask_head + 1) % t->ask_cap;
    t->ask_len--;

    if (a.kind == ASK_TIME)
        answer_time(t, reply);
    if (a.kind == ASK_SERVER)
        t->server_id_len = hotline_server_id(reply, t->server_id);
    if (a.kind == ASK_NOTHING)
        answer_queued(t, reply);
    if (a.feed == NULL)
        return;
    if (a.kind == ASK_OLDER) {
        if (!a.feed->dead)
            answer_older(a.feed, reply);
        return; // the range is still to come
    }
    a.feed->asked = false;
    t->reads_in_flight--;
    if (a.feed->dead)
        feed_drop(a.feed);
    else if (a.kind == ASK_RANGE)
        answer_range(a.feed, reply);
    else
        answer_check(a.feed, reply);
}

// ["invalidate", [key, …]], or null instead of the keys when all of them went
// (FLUSHALL, FLUSHDB).
static void link_pushed(void *ctx, struct view push)
{
    struct tail *t = ctx;
    struct resp_reader r = resp_open(push);
    struct resp_node node, key;
    struct view prefix = view_of(t->config->stream_prefix);
    if (!resp_next(&r, &node) || !resp_next(&r, &node) || !view_eq(node.text, VIEW("invalidate")) ||
        !resp_next(&r, &node))
        return;
    if (node.type == RESP_NULL)
        mark_all_dirty(t);
    for (size_t i = 0; node.type == RESP_ARRAY && i < node.count && resp_next(&r, &key); i++) {
        if (!view_starts(key.text, prefix))
            continue;
        struct view id = { key.text.at + prefix.len, key.text.len - prefix.len };
        struct feed *f = find_feed(t, id);
        if (f && f->hot) { // the hotline brings it; but a DEL does not end an XREAD
            if (!deadline_armed(&f->recheck))
                deadline_arm(&t->rechecks, &f->recheck, t->loop.now_ms);
        } else if (f) {
            mark_dirty(f);
        }
    }
}

// The link pings when it hears nothing, three times in stale_ms, so silence is
// trouble. After it every stream is read, so that its clients can be told that it
// is up to date.
static void take_pulse(struct tail *t)
{
    if (!link_is_up(t->link) || t->troubled)
        return; // what was said last runs out by itself
    bool was_readable = pulse_readable(t->pulse, t->loop.now_ms);
    atomic_store(&t->pulse->heard_ms, link_heard_ms(t->link));
    atomic_store(&t->pulse->readable_until_ms, link_heard_ms(t->link) + t->config->stale_ms);
    if (!was_readable && pulse_readable(t->pulse, t->loop.now_ms)) {
        atomic_fetch_add(&t->pulse->epoch, 1);
        mark_all_dirty(t);
    }
}

// ---- following ------------------------------------------------------------------

static struct feed *feed_new(struct tail *t, struct view id)
{
    size_t prefix_len = strlen(t->config->stream_prefix);
    struct feed *f = must_alloc(sizeof(*f) + prefix_len + id.len);
    *f = (struct feed){
        .tail = t, .page = PAGE_FIRST, .prefix_len = prefix_len, .key_len = prefix_len + id.len
    };
    memcpy(f->key, t->config->stream_prefix, prefix_len);
    memcpy(f->key + prefix_len, id.at, id.len);
    list_init(&f->in_dirty);
    list_init(&f->in_changed);
    deadline_init(&f->linger);
    list_init(&f->in_warm);
    deadline_init(&f->recheck);
    ring_init(&f->ring, &t->rings, feed_id(f));
    table_add(&t->feeds, &f->by_id, feed_id(f));
    list_push(&t->sweep, &f->in_sweep);
    mark_dirty(f);
    return f;
}

// Forgets the feed; if a read is unanswered, in two steps. Nobody listens to it.
static void feed_drop(struct feed *f)
{
    if (!f->dead) {
        ring_done(&f->ring);
        table_remove(&f->tail->feeds, &f->by_id);
        list_remove(&f->in_sweep);
        list_remove(&f->in_dirty);
        list_remove(&f->in_changed);
        list_remove(&f->in_warm);
        deadline_cancel(&f->linger);
        deadline_cancel(&f->recheck);
        for (size_t i = 0; i < f->tail->hot_count; i++)
            if (f->tail->hot[i].feed == f)
                f->tail->hot[i].feed = NULL;
        f->dead = true;
    }
    if (!f->asked)
        free(f);
}

static void linger_due(struct deadline *d)
{
    struct feed *f = CONTAINER_OF(d, struct feed, linger);
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "unfollow", SAY_V("stream", feed_id(f)));
    feed_drop(f);
}

static void follow(struct tail *t, const struct request *request)
{
    struct view id = { request->id, request->id_len };
    struct feed *f = find_feed(t, id);
    if (f == NULL && t->feeds.len >= (size_t)t->config->max_followed) {
        struct failure *failure = must_alloc(sizeof(*failure));
        *failure = (struct failure){ .letter.kind = LETTER_FAILED,
                                     .stream = request->stream,
                                     .close_code = WS_CLOSE_TRY_LATER,
                                     .reason = "too many streams are followed" };
        mailbox_post(request->from, &failure->letter);
        return;
    }
    if (f == NULL) {
        f = feed_new(t, id);
        if (say_enabled(SAY_DEBUG))
            say(SAY_DEBUG, "follow", SAY_V("stream", id));
    }
    ring_subscribe(&f->ring, request);
    deadline_cancel(&f->linger);
    mark_changed(f);
}

static struct feed *feed_of(struct tail *t, const struct request *request)
{
    return find_feed(t, (struct view){ request->id, request->id_len });
}

static void unfollow(struct tail *t, const struct request *request)
{
    struct feed *f = feed_of(t, request);
    // It may have failed, and the worker did not know yet.
    if (f && ring_unsubscribe(&f->ring, request) && !ring_has_subscribers(&f->ring))
        deadline_arm(&t->lingers, &f->linger, t->loop.now_ms);
    struct farewell *farewell = must_alloc(sizeof(*farewell));
    *farewell = (struct farewell){ .letter.kind = LETTER_UNFOLLOWED, .stream = request->stream };
    mailbox_post(request->from, &farewell->letter);
}

static void refresh(struct tail *t, const struct request *request)
{
    struct feed *f = feed_of(t, request);
    if (f && ring_want_refresh(&f->ring, request))
        mark_dirty(f);
}

static void take_letter(void *ctx, struct letter *letter)
{
    struct tail *t = ctx;
    if (letter->kind == LETTER_STOP) {
        loop_stop(&t->loop);
        free(letter);
        return;
    }
    struct request *request = CONTAINER_OF(letter, struct request, letter);
    switch (letter->kind) {
    case LETTER_FOLLOW: follow(t, request); break;
    case LETTER_UNFOLLOW: unfollow(t, request); break;
    case LETTER_REFRESH: refresh(t, request); break;
    default: CHECK(!"a letter for the tail");
    }
    free(request);
}

static void tell_changes(struct tail *t)
{
    for (struct list *node; (node = list_pop(&t->changed));)
        ring_tell(&LIST_ITEM(node, struct feed, in_changed)->ring);
}

static bool before_sleep(void *ctx)
{
    struct tail *t = ctx;
    tell_changes(t);
    read_dirty(t);
    link_flush(t->link);
    wait_on_hotline(t);
    take_pulse(t);
    return !list_empty(&t->dirty) && may_read(t) && t->reads_in_flight == 0;
}

// ---- the sweep ------------------------------------------------------------------

// Marks up to `count` feeds dirty, those that have waited longest first.
static void sweep_some(struct tail *t, size_t count)
{
    if (count > t->feeds.len)
        count = t->feeds.len;
    while (count-- > 0) {
        struct feed *f = LIST_ITEM(t->sweep.next, struct feed, in_sweep);
        list_move(&t->sweep, &f->in_sweep);
        mark_dirty(f);
    }
}

static void tick_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, tick);
    size_t sweep_s = (size_t)t->config->sweep_seconds;
    t->busy = t->fresh_reads > HOT_READS_MAX;
    t->fresh_reads = 0;
    if (link_is_up(t->link)) {
        sweep_some(t, (t->feeds.len + sweep_s - 1) / sweep_s);
        if (++t->tick_count % CLOCK_EVERY_TICKS == 0)
            ask_time(t);
    }
    deadline_arm(&t->ticks, d, t->loop.now_ms);
}

static void poll_due(struct deadline *d)
{
    struct tail *t = CONTAINER_OF(d, struct tail, poll);
    sweep_some(t, (size_t)t->config->poll_ms * POLLS_PER_MS);
    arm_poll(t);
}

// ---- start and stop -------------------------------------------------------------

static char *failed(const char *what)
{
    char *text = NULL;
    CHECK(asprintf(&text, "%s: %s", what, strerror(errno)) >= 0);
    return text;
}

static const struct hotline_events hotline_events = {
    .answered = hotline_answered,
    .lost = hotline_lost,
};

static const struct link_events link_events = {
    .up = link_came_up,
    .down = link_went_down,
    .reply = link_replied,
    .push = link_pushed,
};

static struct link *make_link(struct tail *t, const char **why)
{
    const struct link_options options = {
        .connect_timeout_ms = t->config->redis_timeout_ms,
        .reply_timeout_ms = t->config->redis_timeout_ms,
        .ping_ms = t->config->stale_ms / 3,
        .backoff_min_ms = 50,
        .backoff_max_ms = 2000,
        .input_max = 1024 * MIB,
        .tracking = true,
    };
    return link_new(&t->loop, &t->config->redis_url, &options, &link_events, t, why);
}

static void *run(void *arg)
{
    struct tail *t = arg;
    prctl(PR_SET_NAME, "bond-tail");
    link_start(t->link);
    deadline_arm(&t->ticks, &t->tick, t->loop.now_ms);
    loop_run(&t->loop);
    return NULL;
}

static void init_queue(struct tail *t, struct deadline_queue *q, int64_t after_ms,
                       void (*due)(struct deadline *))
{
    deadline_queue_init(q, after_ms, due);
    loop_add_queue(&t->loop, q);
}

static void tail_free(struct tail *t)
{
    mailbox_done(&t->mailbox);
    forget_asks(t);
    LIST_EACH (node, &t->sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        ring_fail(&f->ring, WS_CLOSE_GOING_AWAY, "the broker ends");
        feed_drop(f);
    }
    if (t->hotline)
        hotline_free(t->hotline);
    if (t->link)
        link_free(t->link);
    loop_done(&t->loop);
    table_done(&t->feeds);
    rings_done(&t->rings);
    buffer_free(&t->scratch);
    free(t->asks);
    free(t);
}

struct tail *tail_new(const struct config *config, struct pulse *pulse, char **why)
{
    struct tail *t = must_alloc(sizeof(*t));
    *t = (struct tail){ .config = config, .pulse = pulse };
    table_init(&t->feeds);
    list_init(&t->dirty);
    list_init(&t->changed);
    list_init(&t->sweep);
    list_init(&t->warm);
    deadline_init(&t->tick);
    deadline_init(&t->poll);
    deadline_init(&t->retry);
    if (!loop_init(&t->loop) || !mailbox_init(&t->mailbox, take_letter, t) ||
        !mailbox_open(&t->mailbox, &t->loop)) {
        *why = failed("cannot make the tail's loop");
        return NULL;
    }
    t->loop.before_sleep = before_sleep;
    t->loop.ctx = t;
    int64_t ring_ms = config->ring_seconds * MS_PER_S;
    init_queue(t, &t->ticks, TICK_MS, tick_due);
    init_queue(t, &t->polls, config->poll_ms, poll_due);
    init_queue(t, &t->retries, RETRY_MS, retry_due);
    rings_init(&t->rings, config, &t->stats, &t->loop);
    init_queue(t, &t->lingers, ring_ms, linger_due);
    init_queue(t, &t->rechecks, HOT_RECHECK_MS, recheck_due);

    const char *link_why = NULL;
    t->link = make_link(t, &link_why);
    if (t->link && config->redis_connections > 1)
        t->hotline = hotline_new(&t->loop, &config->redis_url, t->link, config->redis_timeout_ms,
                                 &hotline_events, t, &link_why);
    if (t->link == NULL || (config->redis_connections > 1 && t->hotline == NULL)) {
        CHECK(asprintf(why, "the link to Redis (REDIS_URL) cannot be prepared: %s", link_why) >= 0);
        tail_free(t);
        return NULL;
    }
    return t;
}

bool tail_start(struct tail *t, char **why)
{
    errno = pthread_create(&t->thread, NULL, run, t);
    t->running = errno == 0;
    if (!t->running)
        *why = failed("cannot start the tail's thread");
    return t->running;
}

struct mailbox *tail_mailbox(struct tail *t)
{
    return &t->mailbox;
}

const struct stats *tail_stats(const struct tail *t)
{
    return &t->stats;
}

void tail_stop(struct tail *t)
{
    if (t->running) {
        struct letter *stop = must_alloc(sizeof(*stop));
        *stop = (struct letter){ .kind = LETTER_STOP };
        mailbox_post(&t->mailbox, stop);
        pthread_join(t->thread, NULL);
    }
    tail_free(t);
}
