#include "xstream.h"

#include "number.h"
#include "reply.h"

struct entry {
    struct eventid id;
    uint32_t at, len; // of its text
    bool is_deleted;
};

struct xstream_node {
    struct eventid first_id, last_id; // that were ever put here
    size_t stored;                    // how many were ever put here
    size_t live;                      // those that are not deleted
    size_t count, cap;                // those below, and room for them
    struct entry *entries;            // in order; deleted ones may be missing at the end
    struct buffer text;
    size_t pack_bytes;    // of the listpack that Redis would have here
    size_t field_count;   // of the first entry: who has the same fields is stored shorter
    uint64_t fields_hash; // of their names
};

// Where an entry is. Behind the last one: node is the stream's node_count.
struct place {
    size_t node, entry;
};

// ---- the size of a listpack -----------------------------------------------------

#define PACK_EMPTY 7 // its head and its end

static size_t back_len(size_t len)
{
    return len <= 127 ? 1 : len < 16383 ? 2 : len < 2097151 ? 3 : len < 268435455 ? 4 : 5;
}

static size_t integer_size(int64_t n)
{
    if (n >= 0 && n <= 127)
        return 1 + 1;
    if (n >= -4096 && n <= 4095)
        return 2 + 1;
    if (n >= INT16_MIN && n <= INT16_MAX)
        return 3 + 1;
    if (n >= -8388608 && n <= 8388607)
        return 4 + 1;
    return n >= INT32_MIN && n <= INT32_MAX ? 5 + 1 : 9 + 1;
}

static size_t text_size(struct view text)
{
    int64_t n;
    if (number_parse(text, &n))
        return integer_size(n);
    size_t size = text.len + (text.len < 64 ? 1 : text.len < 4096 ? 2 : 5);
    return size + back_len(size);
}

static size_t names_size(const struct view *fields, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i += 2)
        size += text_size(fields[i]);
    return size;
}

// count, deleted, number of fields, their names, 0
static size_t head_size(const struct view *fields, size_t count)
{
    return PACK_EMPTY + 2 + 2 + integer_size((int64_t)(count / 2)) + names_size(fields, count) + 2;
}

// flags, the id as a difference to the first one, values, and the names unless they are the
// first one's; how many of all these
static size_t entry_size(struct eventid id, struct eventid first, const struct view *fields,
                         size_t count, bool same_fields)
{
    size_t pairs = count / 2, size = 2;
    size += integer_size((int64_t)(id.ms - first.ms)) + integer_size((int64_t)(id.seq - first.seq));
    for (size_t i = 1; i < count; i += 2)
        size += text_size(fields[i]);
    if (same_fields)
        return size + integer_size((int64_t)pairs + 3);
    return size + integer_size((int64_t)pairs) + names_size(fields, count) +
           integer_size((int64_t)(2 * pairs) + 4);
}

static uint64_t hash_names(const struct view *fields, size_t count)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i += 2) {
        for (size_t j = 0; j < fields[i].len; j++)
            h = (h ^ (uint8_t)fields[i].at[j]) * 0x100000001b3;
        h = (h ^ fields[i].len) * 0x9e3779b97f4a7c15; // "ab" "c" is not "a" "bc"
    }
    return h;
}

// ---- nodes ----------------------------------------------------------------------

static struct xstream_node *node_at(const struct xstream *s, size_t i)
{
    return s->nodes[s->first + i];
}

static void node_free(struct xstream_node *n)
{
    free(n->entries);
    buffer_free(&n->text);
    free(n);
}

static void make_room_for_node(struct xstream *s)
{
    if (s->first + s->node_count < s->cap)
        return;
    if (s->first > s->cap / 2) {
        memmove(s->nodes, s->nodes + s->first, s->node_count * sizeof(struct xstream_node *));
        s->first = 0;
        return;
    }
    s->cap = s->cap ? s->cap * 2 : 4;
    s->nodes = realloc(s->nodes, s->cap * sizeof(struct xstream_node *));
    CHECK(s->nodes != NULL);
}

static struct xstream_node *add_node(struct xstream *s, struct eventid id,
                                     const struct view *fields, size_t count)
{
    struct xstream_node *n = must_alloc(sizeof(*n));
    *n = (struct xstream_node){ .first_id = id,
                                .pack_bytes = head_size(fields, count),
                                .field_count = count,
                                .fields_hash = hash_names(fields, count) };
    make_room_for_node(s);
    s->nodes[s->first + s->node_count++] = n;
    return n;
}

static void remove_node(struct xstream *s, size_t i)
{
    node_free(node_at(s, i));
    if (i == 0)
        s->first++;
    else
        memmove(&s->nodes[s->first + i], &s->nodes[s->first + i + 1],
                (s->node_count - i - 1) * sizeof(struct xstream_node *));
    s->node_count--;
}

struct xstream *xstream_new(void)
{
    struct xstream *s = must_alloc(sizeof(*s));
    *s = (struct xstream){ 0 };
    return s;
}

void xstream_free(struct xstream *s)
{
    for (size_t i = 0; i < s->node_count; i++)
        node_free(node_at(s, i));
    free(s->nodes);
    free(s);
}

static struct xstream_node *node_copy(const struct xstream_node *n)
{
    struct xstream_node *copy = must_alloc(sizeof(*copy));
    *copy = *n;
    copy->entries = must_alloc(n->cap * sizeof(struct entry));
    memcpy(copy->entries, n->entries, n->count * sizeof(struct entry));
    copy->text = (struct buffer){ 0 };
    buffer_add_view(&copy->text, buffer_view(&n->text));
    return copy;
}

struct xstream *xstream_copy(const struct xstream *s)
{
    struct xstream *copy = must_alloc(sizeof(*copy));
    *copy = *s;
    copy->first = 0;
    copy->cap = s->node_count + 1;
    copy->nodes = must_alloc(copy->cap * sizeof(struct xstream_node *));
    for (size_t i = 0; i < s->node_count; i++)
        copy->nodes[i] = node_copy(node_at(s, i));
    return copy;
}

// ---- adding ---------------------------------------------------------------------

static size_t text_len(const struct view *fields, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += fields[i].len;
    return len;
}

// Redis compares before it knows how the entry will be encoded: with its texts' bare length.
static bool has_room(const struct xstream_node *n, size_t len, const struct xstream_limits *limits)
{
    return (limits->bytes_max == 0 || n->pack_bytes + len < limits->bytes_max) &&
           (limits->entries_max == 0 || n->stored < limits->entries_max);
}

static void write_entry(struct buffer *out, struct eventid id, const struct view *fields,
                        size_t count)
{
    reply_header(out, '*', 2);
    reply_id(out, id);
    reply_header(out, '*', count);
    for (size_t i = 0; i < count; i++)
        reply_bulk(out, fields[i]);
}

static void append(struct xstream_node *n, struct eventid id, const struct view *fields,
                   size_t count)
{
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 8;
        n->entries = realloc(n->entries, n->cap * sizeof(struct entry));
        CHECK(n->entries != NULL);
    }
    bool same_fields = count == n->field_count && hash_names(fields, count) == n->fields_hash;
    size_t at = n->text.len;
    write_entry(&n->text, id, fields, count);
    n->entries[n->count++] =
        (struct entry){ id, (uint32_t)at, (uint32_t)(n->text.len - at), false };
    n->pack_bytes += entry_size(id, n->first_id, fields, count, same_fields);
    n->last_id = id;
    n->stored++;
    n->live++;
}

// XSETID may let ids go back to below those of entries that were deleted. Nobody finds
// these any more, so that the others stay in order.
static void forget_deleted_above(struct xstream_node *n, struct eventid id)
{
    while (n->count > 0 && eventid_cmp(n->entries[n->count - 1].id, id) >= 0) {
        CHECK(n->entries[n->count - 1].is_deleted);
        n->count--;
    }
}

void xstream_add(struct xstream *s, struct eventid id, const struct view *fields, size_t count,
                 const struct xstream_limits *limits)
{
    CHECK(eventid_cmp(id, s->last_id) > 0);
    struct xstream_node *n = s->node_count ? node_at(s, s->node_count - 1) : NULL;
    if (n)
        forget_deleted_above(n, id);
    if (n == NULL || !has_room(n, text_len(fields, count), limits))
        n = add_node(s, id, fields, count);
    append(n, id, fields, count);
    s->last_id = id;
    s->added++;
    if (++s->len == 1)
        s->first_id = id;
}

// ---- finding --------------------------------------------------------------------

static bool is_end(const struct xstream *s, struct place p)
{
    return p.node >= s->node_count;
}

static struct entry *entry_of(const struct xstream *s, struct place p)
{
    return &node_at(s, p.node)->entries[p.entry];
}

// The first entry, deleted or not, whose id is not below `id`.
static struct place place_of(const struct xstream *s, struct eventid id)
{
    size_t low = 0, high = s->node_count; // nodes whose last id is below `id` come first
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct xstream_node *n = node_at(s, middle);
        if (n->count == 0 || eventid_cmp(n->entries[n->count - 1].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    struct place p = { .node = low };
    if (is_end(s, p))
        return p;
    const struct xstream_node *n = node_at(s, p.node);
    for (low = 0, high = n->count; low < high;) {
        size_t middle = (low + high) / 2;
        if (eventid_cmp(n->entries[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    p.entry = low;
    return p;
}

static struct place step(const struct xstream *s, struct place p)
{
    if (++p.entry == node_at(s, p.node)->count)
        p = (struct place){ p.node + 1, 0 };
    return p;
}

// False: there is none before it.
static bool step_back(const struct xstream *s, struct place *p)
{
    while (p->entry == 0) {
        if (p->node == 0)
            return false;
        p->entry = node_at(s, --p->node)->count;
    }
    p->entry--;
    return true;
}

static struct place first_live(const struct xstream *s)
{
    struct place p = place_of(s, (struct eventid){ 0 });
    while (!is_end(s, p) && entry_of(s, p)->is_deleted)
        p = step(s, p);
    return p;
}

// The last entry that is there and not above `id`; false: none.
static bool last_up_to(const struct xstream *s, struct eventid id, struct place *p)
{
    *p = place_of(s, id);
    if (!is_end(s, *p) && eventid_cmp(entry_of(s, *p)->id, id) == 0 && !entry_of(s, *p)->is_deleted)
        return true;
    while (step_back(s, p))
        if (!entry_of(s, *p)->is_deleted)
            return true;
    return false;
}

static const struct eventid id_max = { UINT64_MAX, UINT64_MAX };

struct eventid xstream_top(const struct xstream *s)
{
    struct place p;
    return last_up_to(s, id_max, &p) ? entry_of(s, p)->id : (struct eventid){ 0 };
}

static void find_first_id(struct xstream *s)
{
    struct place p = first_live(s);
    s->first_id = is_end(s, p) ? (struct eventid){ 0 } : entry_of(s, p)->id;
}

// ---- deleting -------------------------------------------------------------------

bool xstream_delete(struct xstream *s, struct eventid id)
{
    struct place p = place_of(s, id);
    if (is_end(s, p) || entry_of(s, p)->is_deleted || eventid_cmp(entry_of(s, p)->id, id) != 0)
        return false;
    struct xstream_node *n = node_at(s, p.node);
    entry_of(s, p)->is_deleted = true;
    s->len--;
    if (--n->live == 0)
        remove_node(s, p.node);
    if (eventid_cmp(id, s->max_deleted) > 0)
        s->max_deleted = id;
    if (eventid_cmp(id, s->first_id) == 0)
        find_first_id(s);
    return true;
}

static bool goes_whole(const struct xstream *s, const struct xstream_node *n,
                       const struct xstream_trimming *how)
{
    if (how->by == TRIM_MAXLEN)
        return s->len - n->live >= how->maxlen;
    return eventid_cmp(n->last_id, how->minid) < 0;
}

// Of the first node that does not go as a whole. It stays even if nothing of it is left,
// which happens by MINID, behind whose last entry deleted ones remain.
static size_t trim_within(struct xstream *s, struct xstream_node *n,
                          const struct xstream_trimming *how)
{
    size_t gone = 0;
    for (size_t i = 0; i < n->count; i++) {
        struct entry *e = &n->entries[i];
        if (how->by == TRIM_MAXLEN ? s->len <= how->maxlen : eventid_cmp(e->id, how->minid) >= 0)
            break;
        if (!e->is_deleted) {
            e->is_deleted = true;
            n->live--;
            s->len--;
            gone++;
        }
    }
    return gone;
}

size_t xstream_trim(struct xstream *s, const struct xstream_trimming *how)
{
    size_t gone = 0;
    while (s->node_count > 0) {
        struct xstream_node *n = node_at(s, 0);
        if (how->by == TRIM_MAXLEN && s->len <= how->maxlen)
            break;
        if (how->delete_max && gone + n->live > how->delete_max)
            break;
        if (goes_whole(s, n, how)) {
            gone += n->live;
            s->len -= n->live;
            remove_node(s, 0);
            continue;
        }
        if (!how->whole_nodes)
            gone += trim_within(s, n, how);
        break;
    }
    if (s->len == 0 || gone > 0)
        find_first_id(s);
    return gone;
}

// ---- reading --------------------------------------------------------------------

static struct view text_of(const struct xstream *s, struct place p)
{
    const struct entry *e = entry_of(s, p);
    return (struct view){ node_at(s, p.node)->text.at + e->at, e->len };
}

static size_t count_forwards(const struct xstream *s, struct place p, struct eventid to,
                             size_t most)
{
    size_t n = 0;
    for (; !is_end(s, p) && n < most && eventid_cmp(entry_of(s, p)->id, to) <= 0; p = step(s, p))
        n += !entry_of(s, p)->is_deleted;
    return n;
}

static size_t write_forwards(const struct xstream *s, struct place p, struct eventid to,
                             size_t most, struct buffer *out)
{
    size_t count = count_forwards(s, p, to, most);
    reply_header(out, '*', count);
    for (size_t left = count; left > 0; p = step(s, p))
        if (!entry_of(s, p)->is_deleted) {
            buffer_add_view(out, text_of(s, p));
            left--;
        }
    return count;
}

static bool next_back(const struct xstream *s, struct eventid from, struct place *p)
{
    while (step_back(s, p)) {
        if (eventid_cmp(entry_of(s, *p)->id, from) < 0)
            return false;
        if (!entry_of(s, *p)->is_deleted)
            return true;
    }
    return false;
}

static size_t write_backwards(const struct xstream *s, struct place p, struct eventid from,
                              size_t most, struct buffer *out)
{
    size_t count = 1;
    for (struct place q = p; count < most && next_back(s, from, &q);)
        count++;
    reply_header(out, '*', count);
    for (size_t i = 0; i < count; i++) {
        buffer_add_view(out, text_of(s, p));
        next_back(s, from, &p);
    }
    return count;
}

size_t xstream_write_range(const struct xstream *s, struct eventid from, struct eventid to,
                           size_t most, bool backwards, struct buffer *out)
{
    most = most ? most : SIZE_MAX;
    if (!backwards)
        return write_forwards(s, place_of(s, from), to, most, out);
    struct place p;
    if (last_up_to(s, to, &p) && eventid_cmp(entry_of(s, p)->id, from) >= 0)
        return write_backwards(s, p, from, most, out);
    reply_header(out, '*', 0);
    return 0;
}

bool xstream_write_edge(const struct xstream *s, bool last, struct buffer *out)
{
    struct place p = first_live(s);
    if (last ? !last_up_to(s, id_max, &p) : is_end(s, p))
        return false;
    buffer_add_view(out, text_of(s, p));
    return true;
}

// ---- the radix tree -------------------------------------------------------------
// A key is the id of a node's first entry in 16 bytes, big-endian. A run of bytes without a
// branch is one node of the tree, a branch is one, and so is the end of each key.

#define KEY_LEN 16

static uint8_t key_byte(const struct xstream *s, size_t node, size_t i)
{
    struct eventid id = node_at(s, node)->first_id;
    return (uint8_t)(i < 8 ? id.ms >> (56 - 8 * i) : id.seq >> (120 - 8 * i));
}

static size_t count_tree(const struct xstream *s, size_t from, size_t to, size_t depth)
{
    if (to - from == 1)
        return depth < KEY_LEN ? 2 : 1;
    size_t branch = depth, nodes = 1;
    while (key_byte(s, from, branch) == key_byte(s, to - 1, branch))
        branch++;
    nodes += branch > depth;
    for (size_t i = from, next; i < to; i = next) {
        for (next = i + 1; next < to && key_byte(s, next, branch) == key_byte(s, i, branch);)
            next++;
        nodes += count_tree(s, i, next, branch + 1);
    }
    return nodes;
}

size_t xstream_radix_nodes(const struct xstream *s)
{
    return s->node_count ? count_tree(s, 0, s->node_count, 0) : 1;
}
