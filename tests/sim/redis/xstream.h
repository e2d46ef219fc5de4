// A Redis stream: entries in the order of their ids, trimmed and counted as Redis does it.
// Pure; no knowledge of keys or connections.
//
// Redis keeps entries in the nodes of a radix tree, as many in one as have room
// (stream-node-max-entries and -bytes), and "~" trims whole nodes only. So where a node ends can
// be seen from outside, and is modelled exactly: each node counts the bytes that Redis's
// listpack would have. An entry is kept as the text that answers XRANGE, so that
// reading is copying:
//
//      stream ─▶ node [ id at │ id at │ id at ]      entries, deleted ones too
//                     [ *2 $3 1-0 *2 $1 f $1 v │ *2 … │ *2 … ]
#pragma once

#include "base/base.h"
#include "wire/eventid.h"

struct xstream_limits {
    size_t entries_max, bytes_max; // of a node; 0: no limit
};

struct xstream_node;

struct xstream {
    struct xstream_node **nodes; // those from `first` on, `node_count` of them
    size_t first, node_count, cap;
    size_t len;                 // entries that are not deleted
    struct eventid first_id;    // none when len is 0
    struct eventid last_id;     // the largest that was ever added, or XSETID
    struct eventid max_deleted; // by XDEL alone
    uint64_t added;             // entries-added
};

struct xstream *xstream_new(void);
void xstream_free(struct xstream *s);
struct xstream *xstream_copy(const struct xstream *s);

// `id` must be above last_id. fields: names and values, in turn.
void xstream_add(struct xstream *s, struct eventid id, const struct view *fields, size_t count,
                 const struct xstream_limits *limits);

bool xstream_delete(struct xstream *s, struct eventid id); // false: it is not there

enum trim_kind { TRIM_NOT, TRIM_MAXLEN, TRIM_MINID };
struct xstream_trimming {
    enum trim_kind by;
    size_t maxlen;
    struct eventid minid;
    bool whole_nodes;  // "~"
    size_t delete_max; // LIMIT; 0: none
};
size_t xstream_trim(struct xstream *s, const struct xstream_trimming *how); // how many went

struct eventid xstream_top(const struct xstream *s); // the last that is there; none: empty

// Appends an array of the entries from `from` to `to`, both included, `most` at most (0: all),
// the last ones first if `backwards`. Returns how many.
size_t xstream_write_range(const struct xstream *s, struct eventid from, struct eventid to,
                           size_t most, bool backwards, struct buffer *out);
// The first or last entry alone, no array around it. False: empty, nothing written.
bool xstream_write_edge(const struct xstream *s, bool last, struct buffer *out);

size_t xstream_radix_nodes(const struct xstream *s); // as XINFO counts them
