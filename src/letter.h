// The letters that threads send each other, and what each hands over.
//
//   worker ──FOLLOW, UNFOLLOW, REFRESH──▶ tail
//   tail ──NEWS, FAILED, UNFOLLOWED──▶ worker
//   broker ──DRAIN, STOP──▶ worker, tail
//
// A subscription is one worker's interest in one stream. The worker names it by a
// pointer of its own, which the tail only carries back; the worker keeps that
// pointer alive until UNFOLLOWED, the last letter about it.
#pragma once

#include "log.h"
#include "mailbox.h"

enum letter_kind {
    LETTER_FOLLOW,
    LETTER_UNFOLLOW,
    LETTER_REFRESH,
    LETTER_NEWS,
    LETTER_FAILED,
    LETTER_UNFOLLOWED,
    LETTER_DRAIN,
    LETTER_STOP,
};

struct stream; // the worker's name for a subscription

// FOLLOW, UNFOLLOW, REFRESH. The tail frees it.
// REFRESH asks that the stream be read now; NEWS with `refreshed` answers when
// all that Redis had by then is in the log.
struct request {
    struct letter letter;
    struct mailbox *from; // the worker's; the worker outlives the tail's use of it
    struct stream *stream;
    size_t id_len;
    char id[]; // FOLLOW: the stream id
};

// What is new in a stream. The worker takes over each extent's reference and
// frees the letter.
struct news {
    struct letter letter;
    struct stream *stream;
    uint64_t first_seq;  // all before it has left the ring
    uint64_t end_seq;    // where the extents end
    uint64_t run_seq;
    struct eventid last; // the last id that the stream is known to have had
    bool ready;          // the ring is primed: the log joins the stream without a gap
    bool refreshed;
    size_t extent_count;
    struct extent extents[];
};

// The stream cannot be followed; the tail has forgotten the subscription, and
// UNFOLLOWED comes next. The worker frees it.
struct failure {
    struct letter letter;
    struct stream *stream;
    int close_code; // enum ws_close_code
    char reason[124];
};

struct farewell { // UNFOLLOWED. The worker frees it.
    struct letter letter;
    struct stream *stream;
};
