// The letters that threads send each other, and what each hands over.
//
//   worker ──FOLLOW, UNFOLLOW, REFRESH──▶ tail
//   tail ──NEWS, FAILED, UNFOLLOWED──▶ worker
//   worker ──WATCH, UNWATCH──▶ tail      tail ──FOUND, UNWATCHABLE, UNWATCHED──▶ worker
//   worker ──LIST──▶ tail ──LISTED──▶ worker      (listing.h)
//   broker ──DRAIN, STOP──▶ worker      broker ──STOP──▶ tail
//
// A subscription is one worker's interest in one stream in one form. The worker names it by a
// pointer of its own, which the tail only carries back; the worker keeps that
// pointer alive until UNFOLLOWED, the last letter about it.
#pragma once

#include "base/mailbox.h"
#include "log/form.h"
#include "log/log.h"
#include "shared/name.h"

enum letter_kind {
    LETTER_FOLLOW,
    LETTER_UNFOLLOW,
    LETTER_REFRESH,
    LETTER_NEWS,
    LETTER_FAILED,
    LETTER_UNFOLLOWED,
    LETTER_WATCH,
    LETTER_UNWATCH,
    LETTER_FOUND,
    LETTER_UNWATCHABLE,
    LETTER_UNWATCHED,
    LETTER_DRAIN,
    LETTER_STOP,
    LETTER_LIST,
    LETTER_LISTED,
};

struct stream; // the worker's name for a subscription

// What a worker lets others see of a subscription, at any time: the tail may look as long as
// it has the subscription, for the worker keeps it until UNFOLLOWED.
struct listening {
    atomic_uint clients;
    atomic_ullong lag_events, lag_ms; // of the slowest, as of the last survey
};

// FOLLOW, UNFOLLOW, REFRESH. The tail frees it.
// REFRESH asks that the stream be read now; NEWS with `refreshed` answers when
// all that Redis had by then is in the log.
struct request {
    struct letter letter;
    struct mailbox *from; // the worker's; the worker outlives the tail's use of it
    struct stream *stream;
    const struct listening *listening;
    enum form form;
    size_t id_len;
    char id[]; // the stream's
};

// The newest event that may be in the stream's past but is not in the log: it has
// left, or it was older than the window, or gone from Redis, when we came. 0-0: there
// is none that we know of.
struct floor {
    struct eventid id;
    int64_t time_ms; // 0: who asks by time is not told of it
    bool trimmed;    // it had gone from Redis
};

// What is new in a stream. The worker takes over each extent's reference and
// frees the letter.
struct news {
    struct letter letter;
    struct stream *stream;
    uint64_t first_seq;  // all before it has left the ring
    uint64_t end_seq;    // where the extents end
    struct eventid last; // the last id that the stream is known to have had
    struct floor floor;
    uint64_t epoch; // see pulse.h: the log is up to date as of this recovery
    bool ready;     // the ring is primed: the log joins the stream without a gap
    bool refreshed;
    size_t run_count; // runs that begin in the extents, or just after them
    size_t extent_count;
    struct extent extents[]; // and where those runs begin: news_runs
};

static inline uint64_t *news_runs(struct news *news)
{
    return (uint64_t *)(void *)(news->extents + news->extent_count);
}

// The worker's log becomes what the letter says; the extents' references are taken over.
void news_take(struct news *news, struct log *l);

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

// ---- patterns -----------------------------------------------------------------------
// The same for a worker's interest in all streams that match a pattern. The worker names it by
// a pointer, which it keeps alive until UNWATCHED.

struct pattern; // the worker's name for it

struct watch_request { // WATCH, UNWATCH. The tail frees it.
    struct letter letter;
    struct mailbox *from;
    struct pattern *pattern;
    size_t len;
    char text[]; // the pattern
};

// Streams that match were found, in the order of their `seq`; each is told once. The first
// letter may have none: it says that they are looked for. The worker takes over each name's
// reference and frees the letter.
struct finding {
    struct letter letter;
    struct pattern *pattern;
    size_t count;
    struct name *names[];
};

// They cannot be looked for: the tail has forgotten the pattern, and UNWATCHED comes next, when
// it has been asked for. The worker frees it.
struct watch_failure {
    struct letter letter;
    struct pattern *pattern;
    const char *reason; // a literal
};

struct watch_end { // UNWATCHED. The worker frees it.
    struct letter letter;
    struct pattern *pattern;
};
