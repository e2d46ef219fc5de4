// What one client had, in the order in which it came: the judge's evidence.
#pragma once

#include "truth.h"

enum record_kind { RECORD_OPEN, RECORD_EVENT, RECORD_GAP, RECORD_LIVE, RECORD_CLOSE };

enum record_start { BEGAN_LIVE, BEGAN_FIRST, BEGAN_LAST, BEGAN_AT_TIME, BEGAN_AFTER };

enum gap_reason { BECAUSE_WINDOW, BECAUSE_LIMIT, BECAUSE_TRIMMED, BECAUSE_SLOW, BECAUSE_RESET };

#define MISSED_NULL (-1)

struct item {
    enum record_kind kind;
    int64_t at_us;
    union {
        struct { // the handshake is over
            int broker;
            enum record_start start;
            bool resumes;         // after= is what this record had last
            struct eventid asked; // the id that it resumes from
            int64_t asked_ms;     // BEGAN_AT_TIME: Unix time by Redis's clock
        } open;
        struct {
            int at;      // of its entry, as its data says; -1: a stranger
            bool has_id; // the format tells it
            struct eventid id;
            bool intact;
        } event;
        struct {
            bool has_after, has_before;
            struct eventid after, before;
            enum gap_reason reason;
            int64_t missed; // MISSED_NULL
        } gap;
        struct {
            bool has_id;
            struct eventid id;
        } live;
        struct {
            int code; // 0: without a close frame
        } close;
    };
};

struct record {
    char client[24];
    struct truth *truth;
    bool tells; // envelope, server-sent events: it is told of gaps
    bool skips; // slow=skip
    struct item *items;
    int count, cap;
};

static inline void record_add(struct record *r, struct item item)
{
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->items = realloc(r->items, (size_t)r->cap * sizeof(*r->items));
    }
    item.at_us = world->now_us;
    r->items[r->count++] = item;
    world_mix((uint64_t)item.kind * 1000003 + (uint64_t)item.at_us);
    if (item.kind == RECORD_EVENT)
        world_mix((uint64_t)item.event.at);
}
