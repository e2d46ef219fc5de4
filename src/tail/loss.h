// What a missing event means. Pure.
//
// Each read begins with the event that we had last, `last`. As long as it comes back,
// nothing between it and what follows can have been lost, for streams are trimmed from
// their old end:
//
//        had, and perhaps gone           had    not read yet
//     ╭──────────────────────────────╮ ╭─────╮ ╭────────────────╮
//      1-0   2-0   3-0   …   18-0 19-0   20-0   21-0  22-0  23-0
//      ├── XTRIM takes from here ──▶    `last`                 ▲ last-generated-id
//
// When it does not come back, XINFO STREAM, from the same snapshot, says why. The first
// row that fits decides. (`added`, `deleted`, `first`, `newest` are XINFO's entries-added,
// max-deleted-entry-id, first-entry, last-generated-id; `had` is what `added` was when we
// were at `last`; `gone` = added - had - length, what came since and is not there.)
//
//  what XINFO says                                       what it means
//  ───────────────────────────────────────────────────   ──────────────────────────────────────
//  no such key                                           reset: it was deleted
//  newest < last                                         reset: its ids went back
//  added < had                                           reset: deleted and created again
//  first < last, that is, no trim reached `last`:
//     the link broke since we read it                    reset: Redis came back with less
//     deleted < last, so `last` was never in it          reset: another stream
//     deleted > last, and its life was short             reset, to be on the safe side
//     else: XDEL took `last`                             nothing is missing
//  nothing up to `last` is left:
//     newest = last, and nothing was added               nothing: we had all that is gone
//     newest = last, and something was added             reset: another stream
//     no counts (before Redis 7, or we were not at
//     its end)                                           trimmed, how much is unknown
//     gone < 0                                           reset: it holds more than was added
//     the link broke since we read it                    trimmed, how much is unknown
//     its life was short                                 trimmed, how much is unknown
//     gone = 0                                           nothing is missing
//     XDEL may have taken something unread:
//        it took at least one, and gone = 1              nothing: it took that one
//        else                                            trimmed, how much is unknown
//     else                                               trimmed: `gone` events
//
// Why a short life says nothing for sure: a stream that is deleted, filled again and trimmed
// between two reads shows the same figures as one that was trimmed, if it was filled with
// more than its earlier life ever had, and that much was trimmed again. Where the earlier
// life had LIFE_IS_LONG entries that is not taken for possible. A life is also known by
// `deleted` = last: XDEL took the very event that we had (nor is it taken for possible that
// somebody gives one id in two lives, and deletes it in the second).
//
// Why a break of the link says nothing for sure: Redis may have come back without its newest
// entries, of which we had some, and more may have been added since than it had lost: then
// `added` - `had` is less than what came since.
#pragma once

#include "base/base.h"
#include "wire/eventid.h"
#include "wire/resp.h"

#define LIFE_IS_LONG 64

// What XINFO STREAM says. A server before Redis 7 does not count entries-added.
struct stream_info {
    bool exists, known;                                // known: XINFO was answered
    struct eventid last_generated, first, max_deleted; // max_deleted: with added_known
    bool has_entries;
    uint64_t length, added;
    bool added_known;
};

// From the answer to XINFO STREAM, of which `map` has been read.
struct stream_info stream_info_read(struct resp_reader *r, const struct resp_node *map);

// What we knew of a stream before.
struct stream_had {
    struct eventid last;    // 0-0: it had nothing
    uint64_t added;         // its entries-added at `last`, but for entries that XDEL took unread
    struct eventid counted; // up to this id XINFO itself counted them, those that were gone too
    bool added_known;
    bool unsure; // the link broke since: Redis may have come back with less
};

struct loss {
    enum { LOSS_NOTHING, LOSS_TRIMMED, LOSS_RESET } kind;
    int64_t missed;       // of LOSS_TRIMMED; or MISSED_UNKNOWN
    const char *why;      // of LOSS_RESET
    bool may_be_the_same; // of LOSS_RESET: what we had may come again
};

// `last` did not come back.
struct loss loss_explain(const struct stream_had *had, const struct stream_info *info);
// There was nothing, and now there is. Never a reset.
struct loss loss_at_the_start(const struct stream_had *had, const struct stream_info *info);
