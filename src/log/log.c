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

// Takes over the extent's reference.
static bool add_extent(struct log *l, struct extent extent)
{
    if (!make_room(l))
        return false;
    if (l->len == 0) { // perhaps behind extents that came and went untold
        l->first_seq = extent.first_seq;
        if (l->run_seq < l->first_seq)
            l->run_seq = l->first_seq;
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

void log_reset(struct log *l)
{
    l->run_seq = l->end_seq;
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
    if (l->run_seq < l->first_seq)
        l->run_seq = l->first_seq;
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
    const struct extent *behind = last_extent(l) + 1;
    for (const struct extent *e = extent_of(l, from); e < behind && e->first_seq < to; e++)
        count += (int64_t)segment_events(e->segment, items_before(e, to)) -
                 (int64_t)segment_events(e->segment, items_before(e, from));
    return count;
}

bool log_has_gaps(const struct log *l, uint64_t from, uint64_t to)
{
    return from < to && (uint64_t)log_count_events(l, from, to) < to - from;
}

bool log_last_id(const struct log *l, struct eventid *id)
{
    for (uint64_t seq = l->end_seq; seq > l->run_seq; seq--) {
        const struct item *item = log_item(l, seq - 1);
        if (item->kind == ITEM_EVENT) {
            *id = item->id;
            return true;
        }
    }
    return false;
}

// The first seq in [low, high) for which is_behind(item) holds; high if none.
// Items for which it holds come after those for which it does not.
#define BISECT(l, low, high, is_behind)                                                            \
    do {                                                                                           \
        while ((low) < (high)) {                                                                   \
            uint64_t middle = (low) + ((high) - (low)) / 2;                                        \
            const struct item *item = log_item((l), middle);                                       \
            if (is_behind)                                                                         \
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

// Ids of an older run are in no order with those of the latest, so it is looked
// through one by one, newest first. Runs end when a stream is deleted or its ids
// go back: this is rare, and bounded by the ring.
static bool find_in_older_runs(const struct log *l, struct eventid id, uint64_t *seq)
{
    for (uint64_t at = l->run_seq; at > l->first_seq; at--) {
        const struct item *item = log_item(l, at - 1);
        if (item->kind == ITEM_EVENT && eventid_cmp(item->id, id) == 0) {
            *seq = at - 1;
            return true;
        }
    }
    return false;
}

uint64_t log_seek_id(const struct log *l, struct eventid id)
{
    uint64_t low = l->run_seq, high = l->end_seq, older;
    BISECT(l, low, high, eventid_cmp(item->id, id) >= 0);
    bool exact = low < l->end_seq && eventid_cmp(log_item(l, low)->id, id) == 0;
    if (!exact && find_in_older_runs(l, id, &older))
        return older;
    return low;
}

bool log_has_id(const struct log *l, struct eventid id)
{
    uint64_t seq = log_seek_id(l, id);
    return seq < l->end_seq && log_item(l, seq)->kind == ITEM_EVENT &&
           eventid_cmp(log_item(l, seq)->id, id) == 0;
}

uint64_t log_seek_after(const struct log *l, struct eventid id)
{
    uint64_t seq = log_seek_id(l, id);
    while (seq < l->end_seq && eventid_cmp(log_item(l, seq)->id, id) == 0 &&
           log_item(l, seq)->kind == ITEM_EVENT)
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
    const struct extent *behind = last_extent(l) + 1;
    uint32_t start = segment_start(e->segment, (uint32_t)(at.seq - e->first_seq)) + at.skip;
    for (; e < behind && e->first_seq < until_seq && *count < room && total < max; e++, start = 0) {
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

// The first item of the extent that ends behind `offset`; its count if none does.
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

struct view log_rest_of_item(const struct log *l, struct cursor at)
{
    const struct extent *e = extent_of(l, at.seq);
    uint32_t i = (uint32_t)(at.seq - e->first_seq);
    uint32_t start = segment_start(e->segment, i) + at.skip;
    return (struct view){ e->segment->data + start, segment_item(e->segment, i)->end - start };
}
