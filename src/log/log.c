#include "log/log.h"

void log_init(struct log *l)
{
    *l = (struct log){ 0 };
}

void log_done(struct log *l)
{
    for (size_t i = 0; i < l->len; i++)
        segment_unref(log_extent(l, i)->segment);
    free(l->extents);
    free(l->older);
    log_init(l);
}

struct extent *log_extent(const struct log *l, size_t i)
{
    CHECK(i < l->len);
    return &l->extents[l->head + i];
}

static struct extent *last_extent(const struct log *l)
{
    return l->len ? log_extent(l, l->len - 1) : NULL;
}

// Extents leave at the front and come at the back; the room in front is used
// again once half of the array is free.
static bool make_room(struct log *l)
{
    if (l->head + l->len < l->cap)
        return true;
    if (l->head * 2 <= l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 2;
        struct extent *extents = realloc(l->extents, cap * sizeof(*extents));
        if (extents == NULL)
            return false;
        l->extents = extents;
        l->cap = cap;
    }
    if (l->head > 0)
        memmove(l->extents, l->extents + l->head, l->len * sizeof(*l->extents));
    l->head = 0;
    return true;
}

// Runs leave with their items.
static void forget_runs(struct log *l)
{
    if (l->run_seq < l->first_seq)
        l->run_seq = l->first_seq;
    size_t gone = 0;
    while (gone < l->older_count &&
           (gone + 1 < l->older_count ? l->older[gone + 1] : l->run_seq) <= l->first_seq)
        gone++;
    if (gone == 0)
        return;
    l->older_count -= gone;
    memmove(l->older, l->older + gone, l->older_count * sizeof(*l->older));
}

// Takes over the extent's reference.
static bool add_extent(struct log *l, struct extent extent)
{
    if (!make_room(l))
        return false;
    if (l->len == 0) { // perhaps after extents that came and went untold
        l->first_seq = extent.first_seq;
        forget_runs(l);
    }
    l->extents[l->head + l->len++] = extent;
    l->bytes += extent.segment->size;
    return true;
}

bool log_append(struct log *l, struct item item, struct view head, struct view body,
                size_t segment_bytes, struct segment **made)
{
    *made = NULL;
    struct extent *last = last_extent(l);
    if (last == NULL || !segment_append(last->segment, &item, head, body)) {
        struct segment *s = segment_new(segment_bytes, head.len + body.len);
        if (s == NULL)
            return false;
        if (!add_extent(l, (struct extent){ .segment = s, .first_seq = l->end_seq })) {
            segment_unref(s);
            return false;
        }
        CHECK(segment_append(s, &item, head, body));
        last = last_extent(l);
        *made = s;
    }
    last->count = last->segment->count;
    last->end = last->segment->end;
    l->end_seq++;
    return true;
}

// The oldest is forgotten where there are too many.
static void keep_older_run(struct log *l, uint64_t seq)
{
    if (l->older_count == LOG_OLDER_RUNS_MAX)
        memmove(l->older, l->older + 1, --l->older_count * sizeof(*l->older));
    if (l->older_count == l->older_cap) {
        l->older_cap = l->older_cap ? l->older_cap * 2 : 2;
        l->older = realloc(l->older, l->older_cap * sizeof(*l->older));
        CHECK(l->older != NULL);
    }
    l->older[l->older_count++] = seq;
}

void log_begin_run(struct log *l, uint64_t seq)
{
    CHECK(seq <= l->end_seq);
    if (seq <= l->run_seq)
        return;
    keep_older_run(l, l->run_seq);
    l->run_seq = seq;
}

void log_reset(struct log *l)
{
    log_begin_run(l, l->end_seq);
}

size_t log_runs_from(const struct log *l, uint64_t from, uint64_t *starts)
{
    size_t count = 0;
    for (size_t i = 0; i < l->older_count; i++)
        if (l->older[i] >= from)
            starts[count++] = l->older[i];
    if (l->run_seq >= from)
        starts[count++] = l->run_seq;
    return count;
}

void log_skip_to(struct log *l, uint64_t seq)
{
    CHECK(l->len == 0 && seq >= l->end_seq);
    l->first_seq = l->end_seq = seq;
    forget_runs(l);
}

void log_trim(struct log *l, uint64_t seq)
{
    while (l->len && log_extent(l, 0)->first_seq + log_extent(l, 0)->count <= seq) {
        struct extent *gone = log_extent(l, 0);
        l->bytes -= gone->segment->size;
        segment_unref(gone->segment);
        l->head++;
        l->len--;
    }
    l->first_seq = l->len ? log_extent(l, 0)->first_seq : l->end_seq;
    forget_runs(l);
}

void log_extend(struct log *l, const struct extent *extent)
{
    struct extent *last = last_extent(l);
    if (last && last->segment == extent->segment) {
        CHECK(extent->count >= last->count && extent->end >= last->end);
        last->count = extent->count;
        last->end = extent->end;
        segment_unref(extent->segment); // we have one already
    } else {
        CHECK(l->len == 0 || extent->first_seq == l->end_seq);
        CHECK(add_extent(l, *extent));
    }
    l->end_seq = extent->first_seq + extent->count;
}

// The extent that holds seq. Most ask for the newest.
static const struct extent *extent_of(const struct log *l, uint64_t seq)
{
    CHECK(l->len > 0 && seq >= log_extent(l, 0)->first_seq && seq < l->end_seq);
    size_t low = 0, high = l->len - 1;
    if (seq >= log_extent(l, high)->first_seq)
        return log_extent(l, high);
    while (low < high) { // the last extent whose first_seq <= seq
        size_t middle = (low + high + 1) / 2;
        if (log_extent(l, middle)->first_seq <= seq)
            low = middle;
        else
            high = middle - 1;
    }
    return log_extent(l, low);
}

const struct item *log_item(const struct log *l, uint64_t seq)
{
    const struct extent *e = extent_of(l, seq);
    return segment_item(e->segment, (uint32_t)(seq - e->first_seq));
}

// How many of an extent's items lie before `seq`.
static uint32_t items_before(const struct extent *e, uint64_t seq)
{
    if (seq <= e->first_seq)
        return 0;
    return seq - e->first_seq < e->count ? (uint32_t)(seq - e->first_seq) : e->count;
}

int64_t log_count_events(const struct log *l, uint64_t from, uint64_t to)
{
    int64_t count = 0;
    if (from >= to)
        return 0;
    CHECK(to <= l->end_seq);
    const struct extent *end = last_extent(l) + 1;
    for (const struct extent *e = extent_of(l, from); e < end && e->first_seq < to; e++)
        count += (int64_t)segment_events(e->segment, items_before(e, to)) -
                 (int64_t)segment_events(e->segment, items_before(e, from));
    return count;
}

int64_t log_count_bytes(const struct log *l, struct cursor from)
{
    if (from.seq >= l->end_seq)
        return 0;
    const struct extent *e = extent_of(l, from.seq), *end = last_extent(l) + 1;
    int64_t bytes = -(int64_t)segment_start(e->segment, (uint32_t)(from.seq - e->first_seq));
    for (; e < end; e++)
        bytes += e->end;
    return bytes - from.skip;
}

bool log_has_gaps(const struct log *l, uint64_t from, uint64_t to)
{
    return from < to && (uint64_t)log_count_events(l, from, to) < to - from;
}

// The first seq in [low, high) for which is_late_enough(item) holds; high if none.
// Items for which it holds come after those for which it does not.
#define BISECT(l, low, high, is_late_enough)                                                       \
    do {                                                                                           \
        while ((low) < (high)) {                                                                   \
            uint64_t middle = (low) + ((high) - (low)) / 2;                                        \
            const struct item *item = log_item((l), middle);                                       \
            if (is_late_enough)                                                                    \
                (high) = middle;                                                                   \
            else                                                                                   \
                (low) = middle + 1;                                                                \
        }                                                                                          \
    } while (0)

uint64_t log_seek_time(const struct log *l, int64_t at_ms)
{
    uint64_t low = l->first_seq, high = l->end_seq;
    BISECT(l, low, high, item->time_ms >= at_ms);
    return low;
}

// The first item in [low, high), which is of one run, whose id is that or a later one.
static uint64_t seek_in_run(const struct log *l, uint64_t low, uint64_t high, struct eventid id)
{
    BISECT(l, low, high, eventid_cmp(item->id, id) >= 0);
    return low;
}

static bool has_event_at(const struct log *l, uint64_t seq, struct eventid id)
{
    const struct item *item = log_item(l, seq);
    return item->kind == ITEM_EVENT && eventid_cmp(item->id, id) == 0;
}

// Newest run first: ids of different runs are in no order. A run of which the beginning
// has left the log begins where the log does.
static bool find_in_older_runs(const struct log *l, struct eventid id, uint64_t *seq)
{
    uint64_t end = l->run_seq;
    for (size_t i = l->older_count; i > 0 && end > l->first_seq; i--) {
        uint64_t begin = l->older[i - 1] > l->first_seq ? l->older[i - 1] : l->first_seq;
        *seq = seek_in_run(l, begin, end, id);
        if (*seq < end && has_event_at(l, *seq, id))
            return true;
        end = begin;
    }
    return false;
}

uint64_t log_seek_id(const struct log *l, struct eventid id)
{
    uint64_t seq = seek_in_run(l, l->run_seq, l->end_seq, id), older;
    bool exact = seq < l->end_seq && eventid_cmp(log_item(l, seq)->id, id) == 0;
    return !exact && find_in_older_runs(l, id, &older) ? older : seq;
}

bool log_find_id(const struct log *l, struct eventid id, uint64_t *seq)
{
    *seq = log_seek_id(l, id);
    return *seq < l->end_seq && has_event_at(l, *seq, id);
}

bool log_has_id(const struct log *l, struct eventid id)
{
    uint64_t seq;
    return log_find_id(l, id, &seq);
}

uint64_t log_seek_after(const struct log *l, struct eventid id)
{
    uint64_t seq = log_seek_id(l, id);
    while (seq < l->end_seq && has_event_at(l, seq, id))
        seq++;
    return seq;
}

// Where the bytes of items before `until_seq` end in the extent.
static uint32_t end_before(const struct extent *e, uint64_t until_seq)
{
    if (until_seq >= e->first_seq + e->count)
        return e->end;
    return until_seq <= e->first_seq
               ? 0
               : segment_start(e->segment, (uint32_t)(until_seq - e->first_seq));
}

size_t log_gather(const struct log *l, struct cursor at, uint64_t until_seq, size_t max,
                  struct iovec *pieces, size_t *count)
{
    size_t room = *count, total = 0;
    *count = 0;
    if (at.seq >= until_seq || at.seq == l->end_seq)
        return 0;

    const struct extent *e = extent_of(l, at.seq);
    const struct extent *end = last_extent(l) + 1;
    uint32_t start = segment_start(e->segment, (uint32_t)(at.seq - e->first_seq)) + at.skip;
    for (; e < end && e->first_seq < until_seq && *count < room && total < max; e++, start = 0) {
        size_t len = end_before(e, until_seq) - start;
        if (len > max - total)
            len = max - total;
        if (len == 0)
            continue;
        pieces[(*count)++] = (struct iovec){ e->segment->data + start, len };
        total += len;
    }
    return total;
}

// The first item of the extent that ends after `offset`; its count if none does.
static uint32_t item_at(const struct extent *e, uint32_t offset)
{
    if (offset == e->end)
        return e->count;
    uint32_t low = 0, high = e->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment_item(e->segment, middle)->end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct cursor log_advance(const struct log *l, struct cursor at, size_t bytes)
{
    if (at.seq == l->end_seq)
        return at;
    const struct extent *e = extent_of(l, at.seq);
    const struct extent *last = last_extent(l);
    size_t offset = segment_start(e->segment, (uint32_t)(at.seq - e->first_seq)) + at.skip + bytes;
    for (; offset > e->end || (offset == e->end && e < last); e++) {
        CHECK(e < last);
        offset -= e->end;
    }
    uint32_t i = item_at(e, (uint32_t)offset);
    if (i == e->count)
        return (struct cursor){ .seq = e->first_seq + i };
    return (struct cursor){
        .seq = e->first_seq + i,
        .skip = (uint32_t)offset - segment_start(e->segment, i),
    };
}

struct log_part log_rest(const struct log *l, struct cursor at)
{
    const struct extent *e = extent_of(l, at.seq);
    uint32_t i = (uint32_t)(at.seq - e->first_seq);
    uint32_t start = segment_start(e->segment, i) + at.skip;
    return (struct log_part){ e->segment, start, segment_item(e->segment, i)->end - start };
}

struct view log_rest_of_item(const struct log *l, struct cursor at)
{
    struct log_part rest = log_rest(l, at);
    return (struct view){ rest.segment->data + rest.at, rest.len };
}
