// A second connection to Redis, for the few streams that change now. It waits in
//
//   XREAD BLOCK ms COUNT 1 STREAMS k1 k2 … id1 id2 …
//   XRANGE k1 id1 + COUNT n1
//   XRANGE k2 id2 + COUNT n2 …
//
// sent in one write. Redis holds the second command back until the first is answered,
// and runs it in the same turn: an event is read as it is added, where otherwise Redis
// says "changed" and is asked, which costs both sides a wake-up. XREAD is only what
// wakes; what it brings is thrown away, since it cannot say whether the event that we
// had last is still there. The inclusive XRANGE can (tail.h).
//
// Only for few streams: Redis registers a blocked client with each of them, and each is
// read whichever of them changed.
//
// It belongs to its loop's thread, as its link does.
#pragma once

#include "redis/link.h"
#include "wire/eventid.h"

struct hotline;

#define HOTLINE_WAITS_MAX 4 // streams at once

struct hotline_wait {
    struct view key;
    struct eventid from;
    size_t count; // entries at most, `from` included
};

struct hotline_events {
    // The XRANGE of the i-th that was waited for: each is answered once, in order, or lost.
    void (*answered)(void *ctx, size_t i, struct view reply);
    void (*lost)(void *ctx); // what was waited for will not be answered
};

#define SERVER_ID_MAX 40

// The run_id in the reply to INFO server: two connections with the same one are to the
// same life of the same server. Returns its length, 0 if there is none; no NUL.
size_t hotline_server_id(struct view reply, char out[SERVER_ID_MAX]);

// As link_new. It connects when it is first asked whether it is free, to where `beside`,
// which must outlive it, is connected.
struct hotline *hotline_new(struct loop *loop, const struct redis_url *url,
                            const struct link *beside, int64_t reply_timeout_ms,
                            const struct hotline_events *events, void *ctx, const char **why);
void hotline_free(struct hotline *h); // as link_free; no event comes of it

bool hotline_is_waiting(const struct hotline *h); // something is unanswered
// It is connected to that server, and nothing is unanswered. If it turns out to be
// connected to another one, or Redis refuses XREAD, it rests for a while.
bool hotline_is_free(struct hotline *h, struct view server_id);
void hotline_wait(struct hotline *h, const struct hotline_wait *waits, size_t count); // free
void hotline_flush(struct hotline *h); // once a turn, before sleep
// The other connection is gone; where this one leads is uncertain too.
void hotline_cut(struct hotline *h);
