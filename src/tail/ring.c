#include "tail/ring.h"

#include "wire/ws.h"

#define SEGMENT_SIZE_MIN (2 * KIB)
#define SEGMENT_SIZE_MAX (1 * MIB)
#define SEGMENTS_PER_RING 8 // a ring is trimmed by about this fraction at a time
#define SAY_EVERY_MS 10000
#define RETELL_MS 20 // a full mailbox is looked at again

#define RAW(r) (&(r)->editions[FORM_RAW].log)

// ---- trimming -------------------------------------------------------------------

// The newest event that an item which leaves may stand for. Of a gap that is what
// comes just before the next event; where there is none yet, the newest id of all.
static struct floor floor_of(const struct ring *r, const struct log *l, uint64_t seq)
{
    const struct item *item = log_item(l, seq);
    struct floor floor = { .id = item->id, .time_ms = item->time_ms };
    if (item->kind != ITEM_GAP)
        return floor;
    struct eventid next = r->last;
    if (seq + 1 >= l->end_seq)
        l = RAW(r); // an edition that is being made may have more to come
    if (seq + 1 >= l->first_seq && seq + 1 < l->end_seq) {
        const struct item *following = log_item(l, seq + 1);
        next = following->kind == ITEM_EVENT ? eventid_before(following->id) : following->id;
    }
    floor.id = eventid_behind(item->id);
    if (eventid_cmp(next, floor.id) > 0)
        floor.id = next;
    return floor;
}

static void drop_segments_before(struct ring *r, struct edition *edition, uint64_t seq)
{
    struct log *l = &edition->log;
    for (size_t i = 0; i < l->len; i++) {
        struct extent *e = log_extent(l, i);
        if (e->first_seq + e->count > seq)
            break;
        edition->floor = floor_of(r, l, e->first_seq + e->count - 1);
        r->all->bytes -= e->segment->size;
        list_remove(&e->segment->by_age);
    }
    log_trim(l, seq);
}

static void drop_gaps_before(struct ring *r, uint64_t seq)
{
    size_t gone = 0;
    while (gone < r->gap_count && r->gap_seqs[gone] < seq)
        gone++;
    if (gone == 0)
        return;
    r->gap_count -= gone;
    memmove(r->gaps, r->gaps + gone, r->gap_count * sizeof(*r->gaps));
    memmove(r->gap_seqs, r->gap_seqs + gone, r->gap_count * sizeof(*r->gap_seqs));
}

static bool is_filling(const struct edition *e)
{
    return !list_empty(&e->in_filling);
}

static bool all_told_up_to(const struct ring *r, uint64_t seq)
{
    for (size_t form = 0; form < FORM_COUNT; form++)
        if (!is_filling(&r->editions[form]) &&
            !subscribers_know(&r->editions[form].subscriptions, seq))
            return false;
    return true;
}

// The oldest raw segment goes, and of each edition what lies before the rest. But first
// its subscribers are told of what is in it: a letter holds the segments that it names,
// and a worker sends them before it hears, from the next letter, that they have left.
// So one read that brings more than the ring holds costs a client that reads nothing.
static void drop_oldest(struct ring *r)
{
    struct extent *oldest = log_extent(RAW(r), 0);
    uint64_t seq = oldest->first_seq + oldest->count;
    if (!all_told_up_to(r, seq))
        ring_tell(r);
    for (size_t form = 0; form < FORM_COUNT; form++)
        drop_segments_before(r, &r->editions[form], seq);
    drop_gaps_before(r, seq);
}

static size_t ring_bytes(const struct ring *r)
{
    size_t bytes = 0;
    for (size_t form = 0; form < FORM_COUNT; form++)
        bytes += r->editions[form].log.bytes;
    return bytes;
}

static void drop_for_memory(struct ring *r)
{
    const struct extent *oldest = log_extent(RAW(r), 0);
    int64_t newest_ms = log_item(RAW(r), oldest->first_seq + oldest->count - 1)->time_ms;
    if (newest_ms > r->all->shortened_to_ms)
        r->all->shortened_to_ms = newest_ms;
    metrics_add(r->all->metrics, METRIC_RING_SHORTENINGS, 1);
    drop_oldest(r);
}

// Each ring has its limit, and all together have one. At the latter the segment goes
// that was last appended to before all others, whosever it is: the window shrinks for
// everyone alike, and a quiet stream's newest event is as new as its time says.
static void enforce_limits(struct ring *r)
{
    struct rings *all = r->all;
    uint64_t missed;
    while (RAW(r)->len > 1 && ring_bytes(r) > (size_t)all->config->ring_bytes)
        drop_for_memory(r);
    while (all->bytes > (size_t)all->config->memory_bytes && !list_empty(&all->segments)) {
        struct ring *of = LIST_ITEM(all->segments.next, struct segment, by_age)->owner;
        if (of == r && RAW(r)->len == 1)
            break; // what has just come must be delivered
        if (say_limited(&all->full, all->loop->now_ms, SAY_EVERY_MS, &missed))
            say(SAY_WARN, "rings_full", SAY_I("bytes", (int64_t)all->bytes),
                SAY_V("shortened", of->id),
                SAY_S("hint", "raise BOND_MEMORY_BYTES or lower BOND_RING_SECONDS"));
        drop_for_memory(of);
        if (of != r) // r's subscribers will be told with what has just come
            ring_tell(of);
    }
}

static void drop_edition(struct ring *r, struct edition *e)
{
    drop_segments_before(r, e, e->log.end_seq);
    log_done(&e->log);
    list_remove(&e->in_filling);
    e->owed = 0;
    e->active = false;
}

// Drops those that nobody has listened to since then. True: some are left that
// nobody listens to.
static bool drop_idle_editions(struct ring *r, int64_t since_ms)
{
    bool left = false;
    for (size_t form = FORM_RAW + 1; form < FORM_COUNT; form++) {
        struct edition *e = &r->editions[form];
        bool idle = e->active && list_empty(&e->subscriptions);
        if (idle && e->idle_since_ms <= since_ms)
            drop_edition(r, e);
        else
            left = left || idle;
    }
    return left;
}

// By time a segment leaves when the window has passed since its newest item came:
// since it came, not since it happened, so that what Redis held back during an
// outage is not dropped before connected clients have had it. Clients that ask
// for the window get it by event time (log_seek_time). The newest segment stays,
// for from=last.
static void trim_due(struct deadline *d)
{
    struct ring *r = CONTAINER_OF(d, struct ring, trim);
    struct rings *all = r->all;
    int64_t before_ms = all->loop->now_ms - all->config->ring_seconds * MS_PER_S;
    while (RAW(r)->len > 1 && log_extent(RAW(r), 0)->segment->written_ms <= before_ms)
        drop_oldest(r);
    bool idle_left = drop_idle_editions(r, before_ms);
    if (RAW(r)->len > 1 || idle_left)
        deadline_arm(&all->trims, &r->trim, all->loop->now_ms);
    ring_tell(r);
}

// ---- appending ------------------------------------------------------------------

// Small at first, growing with what the ring holds, so that a quiet stream costs
// little and a busy one is sent in large pieces.
static size_t segment_size(const struct ring *r, const struct log *l)
{
    size_t size = l->bytes / 4;
    size_t most = (size_t)r->all->config->ring_bytes / SEGMENTS_PER_RING;
    if (size < SEGMENT_SIZE_MIN)
        size = SEGMENT_SIZE_MIN;
    if (size > SEGMENT_SIZE_MAX)
        size = SEGMENT_SIZE_MAX;
    return size < most ? size : most;
}

static bool append_to(struct ring *r, struct log *l, struct item item, struct view bytes)
{
    struct rings *all = r->all;
    struct segment *made;
    if (!log_append(l, item, bytes, VIEW(""), segment_size(r, l), &made))
        return false;
    log_extent(l, l->len - 1)->segment->written_ms = all->loop->now_ms;
    if (made) {
        made->owner = r;
        all->bytes += made->size;
    }
    if (l == RAW(r))
        list_move(&all->segments, &log_extent(l, l->len - 1)->segment->by_age);
    return true;
}

static void say_memory_out(struct ring *r)
{
    uint64_t missed;
    if (say_limited(&r->all->memory_out, r->all->loop->now_ms, SAY_EVERY_MS, &missed))
        say(SAY_ERROR, "memory_out", SAY_V("stream", r->id),
            SAY_I("events_lost", (int64_t)missed + 1));
}

static struct view encode(struct ring *r, enum form form, const struct item *item,
                          struct view payload, const struct gap *gap)
{
    struct buffer *out = &r->all->scratch;
    out->len = 0;
    if (item->kind == ITEM_GAP)
        form_gap(&r->all->writer, form, r->id, gap, out);
    else
        form_event(&r->all->writer, form, r->id, item->id, payload, out);
    if (form_is_deflated(form) && item->kind == ITEM_EVENT) {
        metrics_add(r->all->metrics, METRIC_COMPRESSION_INPUT_BYTES, payload.len);
        metrics_add(r->all->metrics, METRIC_COMPRESSION_OUTPUT_BYTES, out->len);
    }
    return buffer_view(out);
}

// An edition that cannot be written to is no edition any more: its subscribers are
// sent away, and get a new one when they come again.
static void fail_edition(struct ring *r, enum form form, int close_code, const char *reason);

static void append(struct ring *r, struct item item, struct view payload, const struct gap *gap)
{
    struct log *raw = RAW(r);
    if (raw->len) {
        int64_t newest_ms = log_item(raw, raw->end_seq - 1)->time_ms;
        if (item.time_ms < newest_ms)
            item.time_ms = newest_ms;
    }
    if (!append_to(r, raw, item, encode(r, FORM_RAW, &item, payload, gap))) {
        say_memory_out(r);
        return;
    }
    for (enum form form = FORM_RAW + 1; form < FORM_COUNT; form++) {
        struct edition *e = &r->editions[form];
        if (is_filling(e))
            e->owed += sizeof(item) + payload.len;
        else if (e->active && !append_to(r, &e->log, item, encode(r, form, &item, payload, gap)))
            fail_edition(r, form, WS_CLOSE_FAILURE, "the broker is out of memory");
    }
}

static void has_grown(struct ring *r)
{
    enforce_limits(r);
    if (RAW(r)->len > 1 && !deadline_armed(&r->trim))
        deadline_arm(&r->all->trims, &r->trim, r->all->loop->now_ms);
}

void ring_append(struct ring *r, struct eventid id, int64_t time_ms, struct view payload)
{
    append(r, (struct item){ .id = id, .time_ms = time_ms, .kind = ITEM_EVENT }, payload, NULL);
    has_grown(r);
}

static void keep_gap(struct ring *r, const struct gap *gap)
{
    if (r->gap_count == r->gap_cap) {
        r->gap_cap = r->gap_cap ? r->gap_cap * 2 : 4;
        r->gaps = realloc(r->gaps, r->gap_cap * sizeof(*r->gaps));
        r->gap_seqs = realloc(r->gap_seqs, r->gap_cap * sizeof(*r->gap_seqs));
        CHECK(r->gaps && r->gap_seqs);
    }
    r->gaps[r->gap_count] = *gap;
    r->gap_seqs[r->gap_count++] = RAW(r)->end_seq;
}

void ring_append_gap(struct ring *r, const struct gap *gap, int64_t time_ms)
{
    keep_gap(r, gap);
    append(r, (struct item){ .id = gap->after, .time_ms = time_ms, .kind = ITEM_GAP }, VIEW(""),
           gap);
    if (gap->reason == GAP_RESET)
        for (size_t form = 0; form < FORM_COUNT; form++)
            if (!is_filling(&r->editions[form])) // else it gets there
                log_reset(&r->editions[form].log);
    has_grown(r); // not before the new run has begun: subscribers may be told of it
}

bool ring_has(const struct ring *r, struct eventid id, struct view payload)
{
    const struct log *l = RAW(r);
    uint64_t seq;
    return log_find_id(l, id, &seq) && view_eq(form_raw_payload(log_bytes(l, seq)), payload);
}

bool ring_had(const struct ring *r, struct eventid id)
{
    return eventid_cmp(id, r->editions[FORM_RAW].floor.id) <= 0;
}

void ring_set_floor(struct ring *r, struct floor floor)
{
    for (size_t form = 0; form < FORM_COUNT; form++)
        if (eventid_is_none(r->editions[form].floor.id)) // else the limit was quicker
            r->editions[form].floor = floor;
}

// ---- editions -------------------------------------------------------------------

static const struct gap *gap_at(const struct ring *r, uint64_t seq)
{
    size_t low = 0, high = r->gap_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->gap_seqs[middle] < seq)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->gap_count && r->gap_seqs[low] == seq ? &r->gaps[low] : NULL;
}

// A run that begins where the log does may have begun before; `to` knew it then.
static void copy_runs(struct log *to, const struct log *from)
{
    uint64_t runs[LOG_OLDER_RUNS_MAX + 1];
    size_t count = log_runs_from(from, from->first_seq + 1, runs);
    for (size_t i = 0; i < count && runs[i] <= to->end_seq; i++)
        log_begin_run(to, runs[i]);
}

// Nothing is written yet: that takes a while, and other streams are not to wait.
static void begin_edition(struct ring *r, enum form form)
{
    struct edition *e = &r->editions[form];
    log_init(&e->log);
    log_skip_to(&e->log, RAW(r)->first_seq);
    e->floor = r->editions[FORM_RAW].floor;
    e->active = true;
    if (RAW(r)->len > 0)
        list_push(&r->all->filling, &e->in_filling);
}

static bool copy_item(struct ring *r, struct edition *e, uint64_t seq)
{
    enum form form = (enum form)(e - r->editions);
    const struct item *item = log_item(RAW(r), seq);
    struct view payload = VIEW("");
    if (item->kind == ITEM_EVENT)
        payload = form_raw_payload(log_bytes(RAW(r), seq));
    return append_to(r, &e->log, *item, encode(r, form, item, payload, gap_at(r, seq)));
}

// Copies items, up to `bytes` of them. False: memory is out. What has been trimmed
// meanwhile is passed over; *done is how many bytes the work was worth.
static bool copy_some(struct ring *r, struct edition *e, size_t bytes, size_t *done)
{
    const struct log *raw = RAW(r);
    if (e->log.end_seq < raw->first_seq) {
        log_skip_to(&e->log, raw->first_seq);
        e->floor = r->editions[FORM_RAW].floor;
    }
    for (*done = 0; *done < bytes && e->log.end_seq < raw->end_seq;) {
        *done += sizeof(struct item) + log_bytes(raw, e->log.end_seq).len;
        if (!copy_item(r, e, e->log.end_seq))
            return false;
    }
    copy_runs(&e->log, raw);
    return true;
}

// An edition that has left the list for its turn. Returns how many bytes that took, but for
// what came since its last turn: had it been there, it would have made that at once, and
// so it gets to the end, however much comes.
static size_t fill_slice(struct edition *e, size_t bytes)
{
    struct ring *r = e->ring;
    size_t done, owed = e->owed;
    e->owed = 0;
    if (!copy_some(r, e, bytes + owed, &done)) {
        say_memory_out(r);
        fail_edition(r, (enum form)(e - r->editions), WS_CLOSE_FAILURE,
                     "the broker is out of memory");
        return done;
    }
    if (e->log.end_seq < RAW(r)->end_seq)
        list_push(&r->all->filling, &e->in_filling);
    has_grown(r); // it takes room as events do
    ring_tell(r);
    return done < owed ? 0 : done - owed;
}

bool rings_fill(struct rings *all)
{
    size_t slice = all->fill_bytes / 4 + 1, left = all->fill_bytes;
    for (struct list *node; left > 0 && (node = list_pop(&all->filling));) {
        size_t done =
            fill_slice(LIST_ITEM(node, struct edition, in_filling), slice < left ? slice : left);
        left -= done < left ? done : left;
    }
    return !list_empty(&all->filling);
}

// ---- subscribers ----------------------------------------------------------------

static void fail_edition(struct ring *r, enum form form, int close_code, const char *reason)
{
    struct edition *e = &r->editions[form];
    subscribers_fail(&e->subscriptions, close_code, reason);
    if (form != FORM_RAW && e->active)
        drop_edition(r, e);
}

void ring_fail(struct ring *r, int close_code, const char *reason)
{
    for (enum form form = FORM_RAW; form < FORM_COUNT; form++)
        fail_edition(r, form, close_code, reason);
}

void ring_subscribe(struct ring *r, const struct request *request)
{
    struct edition *e = &r->editions[request->form];
    if (!e->active)
        begin_edition(r, request->form);
    subscribers_add(&e->subscriptions, request, e->log.first_seq);
}

bool ring_unsubscribe(struct ring *r, const struct request *request)
{
    struct edition *e = &r->editions[request->form];
    if (!subscribers_remove(&e->subscriptions, request))
        return false;
    e->idle_since_ms = r->all->loop->now_ms;
    if (!deadline_armed(&r->trim))
        deadline_arm(&r->all->trims, &r->trim, r->all->loop->now_ms);
    return true;
}

bool ring_has_subscribers(const struct ring *r)
{
    for (size_t form = 0; form < FORM_COUNT; form++)
        if (!list_empty(&r->editions[form].subscriptions))
            return true;
    return false;
}

struct ring_facts ring_describe(const struct ring *r, int64_t recent_ms)
{
    const struct log *raw = RAW(r);
    struct ring_facts facts = { .bytes = ring_bytes(r) };
    for (size_t form = 0; form < FORM_COUNT; form++)
        subscribers_count(&r->editions[form].subscriptions, &facts.listeners, &facts.lag_events,
                          &facts.lag_ms);
    if (raw->first_seq == raw->end_seq)
        return facts;
    facts.first = log_item(raw, raw->first_seq)->id;
    facts.oldest_ms = log_item(raw, raw->first_seq)->time_ms;
    facts.newest_ms = log_item(raw, raw->end_seq - 1)->time_ms;
    facts.recent_events =
        (uint64_t)log_count_events(raw, log_seek_time(raw, recent_ms), raw->end_seq);
    return facts;
}

bool ring_want_refresh(struct ring *r, const struct request *request)
{
    return subscribers_want_refresh(&r->editions[request->form].subscriptions, request);
}

static void move_refreshes(struct ring *r, enum refresh from, enum refresh to)
{
    for (size_t form = 0; form < FORM_COUNT; form++)
        subscribers_move_refresh(&r->editions[form].subscriptions, from, to);
}

void ring_refresh_sent(struct ring *r)
{
    move_refreshes(r, REFRESH_WANTED, REFRESH_SENT);
}

void ring_refresh_done(struct ring *r)
{
    move_refreshes(r, REFRESH_SENT, REFRESH_DONE);
}

void ring_refresh_lost(struct ring *r)
{
    move_refreshes(r, REFRESH_SENT, REFRESH_WANTED);
}

void ring_tell(struct ring *r)
{
    bool told_all = true;
    for (size_t form = 0; form < FORM_COUNT; form++) {
        struct edition *e = &r->editions[form];
        if (is_filling(e))
            continue; // not ready: its clients wait, as they do for a ring that is not primed
        const struct tidings tidings = { &e->log, e->floor, r->last, r->epoch, r->ready };
        told_all = subscribers_tell(&e->subscriptions, &tidings) && told_all;
    }
    if (told_all)
        deadline_cancel(&r->retell);
    else if (!deadline_armed(&r->retell))
        deadline_arm(&r->all->retells, &r->retell, r->all->loop->now_ms);
}

static void retell_due(struct deadline *d)
{
    ring_tell(CONTAINER_OF(d, struct ring, retell));
}

// ---- start and end --------------------------------------------------------------

void rings_init(struct rings *all, const struct config *config, struct metrics *metrics,
                struct loop *loop)
{
    *all = (struct rings){ .config = config, .metrics = metrics, .loop = loop };
    list_init(&all->segments);
    list_init(&all->filling);
    all->fill_bytes = EDITION_BYTES_PER_TURN;
    deadline_queue_init(&all->trims, config->ring_seconds * MS_PER_S / SEGMENTS_PER_RING, trim_due);
    loop_add_queue(loop, &all->trims);
    deadline_queue_init(&all->retells, RETELL_MS, retell_due);
    loop_add_queue(loop, &all->retells);
}

void rings_done(struct rings *all)
{
    CHECK(list_empty(&all->segments) && all->bytes == 0);
    form_writer_done(&all->writer);
    buffer_free(&all->scratch);
}

void ring_init(struct ring *r, struct rings *all, struct view id)
{
    *r = (struct ring){ .all = all, .id = id };
    deadline_init(&r->trim);
    deadline_init(&r->retell);
    for (size_t form = 0; form < FORM_COUNT; form++) {
        r->editions[form].ring = r;
        log_init(&r->editions[form].log);
        list_init(&r->editions[form].in_filling);
        list_init(&r->editions[form].subscriptions);
    }
    r->editions[FORM_RAW].active = true;
}

void ring_done(struct ring *r)
{
    CHECK(!ring_has_subscribers(r));
    for (size_t form = 0; form < FORM_COUNT; form++)
        drop_edition(r, &r->editions[form]);
    deadline_cancel(&r->trim);
    deadline_cancel(&r->retell);
    free(r->gaps);
    free(r->gap_seqs);
}
