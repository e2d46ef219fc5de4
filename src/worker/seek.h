// Where a client begins in a log, and what it missed by that. Pure.
#pragma once

#include "log/log.h"
#include "log/notice.h"
#include "shared/letter.h"

struct seek_place {
    uint64_t seq;
    bool has_gap;
    struct gap gap; // of what was asked for, this will not come
};

// window_ms: the start of the replay window, Redis's clock. Nobody begins before
// it, whatever memory still holds. last: the newest id of the stream's latest run.
struct seek_place seek_start(const struct log *l, const struct floor *floor, struct eventid last,
                             const struct start *start, int64_t window_ms);

// An `after` that is ahead of the latest run, and in no older one that the log still
// has, is of another stream: the latest run is new to that client.
bool seek_is_ahead(const struct log *l, struct eventid last, const struct start *start);

// The id of the first event from seq on, and of the last one before it; 0-0: none.
struct eventid seek_event_id(const struct log *l, uint64_t seq);
struct eventid seek_event_id_before(const struct log *l, uint64_t seq);

// The newest event of those before `end`; `end` if there is none.
uint64_t seek_newest_event(const struct log *l, uint64_t end);

// The gap (`slow`) of who stands at `at` and goes on at first_seq. The log may not know all of
// that: the ring can have dropped what this worker was never told of. after: the last id that
// it had.
struct gap seek_passed_over(const struct log *l, uint64_t at, uint64_t first_seq,
                            struct eventid after);
