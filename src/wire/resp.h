// RESP2 and RESP3 (the Redis serialization protocol): is a reply whole, what is
// in it, and how to write a command. Pure: no I/O, no allocation but the caller's
// buffer.
#pragma once

#include "base/base.h"

#define RESP_DEPTH_MAX 16

enum resp_type {
    RESP_STRING, // simple, bulk, verbatim (without its "txt:"), big number: text
    RESP_ERROR,  // simple or bulk: text, without the '-'
    RESP_INTEGER,
    RESP_DOUBLE, // text, as it came
    RESP_BOOL,   // integer 0 or 1
    RESP_NULL,   // RESP3 null, RESP2 null bulk and null array
    RESP_ARRAY,  // array, set: count children follow
    RESP_MAP,    // count is keys AND values: 2 a pair, so that it reads as an array
    RESP_PUSH,   // out-of-band: count children follow
};

enum resp_result { RESP_MORE, RESP_DONE, RESP_BAD };

// Finds the end of the reply that begins at bytes.at, over as many calls as it
// takes: scan keeps how far it got, so no byte is looked at twice (but those of a
// half line). Zero it for each new reply; bytes must begin at the same reply each
// time. RESP_DONE: *used is the reply's length, and resp_next may walk it without
// further checks failing. RESP_BAD: not RESP, deeper than RESP_DEPTH_MAX, a
// declared length beyond RESP_LEN_MAX, a line beyond RESP_LINE_MAX, or a push
// inside another reply. RESP3 attributes are skipped as part of the reply they
// stand before, and count as one level of depth. Streamed (unknown length) types
// are RESP_BAD: Redis never sends them.
#define RESP_LEN_MAX (1024 * MIB) // bytes of a text, elements of an aggregate
#define RESP_LINE_MAX (64 * KIB)  // characters of a line: errors and simple strings are short

struct resp_scan {
    size_t at;                     // bytes known to be whole elements
    uint32_t depth;                // open aggregates
    uint64_t left[RESP_DEPTH_MAX]; // elements still due in each
};
enum resp_result resp_scan(struct resp_scan *scan, struct view bytes, size_t *used);

// Walks a reply that resp_scan found whole, in order, depth first. An aggregate
// comes before its children.
struct resp_node {
    enum resp_type type;
    struct view text; // of a string, error or double; a view into the reply
    int64_t integer;  // of an integer or bool
    size_t count;     // of an aggregate; 0 otherwise
};
struct resp_reader {
    const char *at, *end;
};
struct resp_reader resp_open(struct view reply);
bool resp_next(struct resp_reader *r, struct resp_node *node); // false at the end
// Passes over the children of `node` (all of their children too); nothing for a leaf.
void resp_skip(struct resp_reader *r, const struct resp_node *node);

// An error whose text begins with that: its code, in capitals.
static inline bool resp_is_error(const struct resp_node *node, struct view code)
{
    return node->type == RESP_ERROR && view_starts(node->text, code);
}

// Appends a command as an array of bulk strings.
void resp_command(struct buffer *out, size_t argc, const struct view *argv);
