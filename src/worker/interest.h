// One client's interest in one pattern: how its streams are to be subscribed to, and which of
// those that were found it has been handed. It knows no sockets.
#pragma once

#include "base/deadline.h"
#include "wire/eventid.h"
#include "worker/commands.h"
#include "worker/pattern.h"

struct hub;

struct interest {
    struct list node; // of pattern->idle, patterns->behind or hub->stalled
    struct pattern *pattern;
    struct hub *hub;
    uint8_t number;      // in its hub, from 1 on
    bool is_said : 1;    // `subscribed`
    uint8_t slow : 2;    // enum slow, of its streams
    bool is_ending : 1;  // its streams end, one after another, and then it does
    bool has_expiry : 1; // live expiry
    bool told_expiring : 1, says_expiring : 1;
    uint64_t next_seq;      // of the names, from here on have not been handed to it
    uint32_t every_ms : 22; // of its streams, as a seat's
    size_t seats;           // of its hub, which are here because of it
    int64_t time_ms;        // it counts from then on, Redis's clock
    int64_t expiry_s;       // its token's
    struct start start;     // of streams that have no bookmark
    struct table bookmarks; // by stream: where to resume
    size_t bookmark_bytes;
    struct deadline join; // armed until the tail looks for it, or Redis has had its time
    int end_code;         // is_ending
    const char *end_reason;
    size_t end_at; // of its hub's slots, those before have been looked at
    uint8_t ref_len, end_ref_len;
    bool has_ref, has_end_ref;
    char ref[COMMAND_REF_MAX], end_ref[COMMAND_REF_MAX];
};

struct interest *interest_new(struct pattern *p, struct hub *h, uint8_t number);
void interest_free(struct interest *i);

// `after` of a pattern: where to resume each stream. False: one makes no sense, or there are
// more than `most`.
bool interest_add_bookmarks(struct interest *i, const json_t *after, size_t most);
// Where to begin in that stream, which has just been found.
struct start interest_start_in(struct interest *i, struct view stream);

static inline struct view interest_ref(const struct interest *i)
{
    return (struct view){ i->has_ref ? i->ref : NULL, i->ref_len };
}
