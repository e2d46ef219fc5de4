// One connection's life, and what all the connections of a worker share.
//
//           accept                                          101
//             ▼                                              ▲
//   HEAD ──request, token, stream──▶ JOINING ──ring primed──▶ OPEN
//    ▲ │ │                             │  └──▶ HISTORY         │
//    │ │ └─ bad tokens ──▶ HELD ──┐    │          │            │
//    │ └─ page, refusal ────┐     │    │          │            │      (REPORT: as HISTORY, from HEAD)
//    │                      ▼     ▼    ▼          ▼            ▼
//    └──── keep-alive ───── CLOSING ──all sent, the peer's end──▶ DEAD ──reaped after the turn
//
// An OPEN client has a subscription: a cursor in its stream's log. Replay, live and lagging
// differ only in where it stands. A handshake waits (JOINING) until the stream's place in
// Redis is fixed, so that whatever is published after connect() returns is delivered;
// when Redis cannot be read it is let in after a second and waits OPEN.
//
// What waits to be sent to a client, besides what its cursor stands at, is its outbox. It
// holds what the client has asked for (replies) or one batch of control frames and notices,
// never more: the next batch is made when the last one has left (flush.h). While more than
// OUTBOX_MAX waits, nothing is read from its socket.
//
// All of it belongs to its worker's thread; the door alone is shared.
#pragma once

#include "base/deadline.h"
#include "base/list.h"
#include "base/loop.h"
#include "log/excerpt.h"
#include "shared/config.h"
#include "shared/door.h"
#include "shared/metrics.h"
#include "shared/pulse.h"
#include "wire/http.h"
#include "wire/ws.h"
#include "worker/budget.h"
#include "worker/hub.h"
#include "worker/outbox.h"
#include "worker/pace.h"
#include "worker/stream.h"

#define INPUT_MAX (16 * KIB)        // read at once, and kept while it cannot be looked at yet
#define OUTBOX_MAX (64 * KIB)       // that waits, before nothing more is read
#define FLUSH_BYTES_MAX (256 * KIB) // written at once to one client: the others' turn comes
#define COMMENT_MS 15000            // between comments that keep a quiet event stream open

enum client_state {
    CLIENT_HEAD,
    CLIENT_HELD,
    CLIENT_JOINING,
    CLIENT_OPEN,
    CLIENT_HISTORY,
    CLIENT_REPORT,
    CLIENT_CLOSING,
    CLIENT_DEAD,
};

// One client's place in one stream.
struct subscription {
    struct list node;      // of one of the stream's lists
    struct stream *stream; // while JOINING, OPEN or HISTORY
    struct cursor cursor;  // once the stream is primed
    uint32_t every_ms;     // of its pace (pace.h); 0: it gets each event
    uint8_t slow;          // enum slow: what becomes of it when it falls behind
    bool waiting : 1;      // its cursor is not set yet: it is in stream->waiting
    bool told_stale : 1;   // the last `source` message that it got
    bool due : 1;          // with a pace: it may have the newest event now
    bool fresh : 1;        // with a pace: it has had one since the last tick
    uint32_t surveyed;     // the last survey of lag that has seen it (lag.h)
};

struct lag_survey;
struct report;

struct client {
    struct watch watch;
    struct deadline deadline; // what it means, the state says
    struct visitor *visitor;  // its address at the door, where that is limited
    int64_t expiry_s;         // its token's, with live expiry; else 0

    // What a delivery touches, side by side: it comes cold from memory.
    struct clients *all;
    struct extra *extra; // what only a client in the middle of something needs
    // Its node is of all->lobby, hubs, leaving or dead while it has no stream.
    struct subscription sub;
    int fd;
    uint8_t state;
    uint8_t interest;        // what epoll watches for: EPOLLIN, EPOLLOUT
    bool pinged : 1;         // a pong is due
    bool progressed : 1;     // bytes have left since its deadline was armed
    bool peer_ended : 1;     // nothing more comes from it, but it may still read
    bool going_away : 1;     // closes with 1001 once it has had all of the log
    bool admin : 1;          // came by the listener for operators
    bool counted_in : 1;     // in bond_clients
    bool counted_closed : 1; // in bond_connections_closed_total
};

// What most clients do not need most of the time; made when needed, dropped when
// all of it is empty.
struct extra {
    struct client *of;
    struct hub *hub;         // of a client of many streams; else NULL
    struct buffer in;        // a request head that is not whole; what could not be looked at yet
    struct outbox outbox;    // leaves before anything else but the rest of a frame under way
    struct buffer handshake; // goes out when the client is let in
    struct buffer message;   // what has come of a message that we look into
    struct holder holder;    // counts the memory of all these
    struct ws_reader reader;
    struct start start;      // where a waiting client wants to begin
    struct excerpt history;  // what is left of one that is being sent
    struct report *report;   // REPORT: what is left of it (reporting.h)
    uint64_t limit;          // events of a history that it asked for
    struct gap gap;          // owed: of all that was passed over since the last one was told
    int64_t let_in_ms;       // Redis's clock, when it was let in to wait inside; 0: it was not
    uint64_t live_seq;       // a replay ends here
    struct eventid live_id;  // the newest event then, where the log has none before live_seq
    struct in6_addr address; // of a client that is held
    int queued;              // bytes in its socket when we looked last (client_got_on)
    size_t ending_at;        // its place in all->ending
    int64_t inflate_from_us; // what it unfolds is paid for up to here (frames.c)
    int64_t auth_from_ms;    // its in-band tokens are paid for up to here (expiry.c)
    struct deadline resume;  // armed while what it has sent waits: to be paid for, or for its turn
    uint8_t pong_len;        // of the newest pong, which is not in the outbox yet
    char pong[WS_CONTROL_MAX];
    bool starting;      // `start` is still needed
    bool greeted;       // `hello` has been said
    bool replaying;     // `live` is still to be said
    bool gap_owed;      // nothing behind the cursor leaves before it
    bool to_latest;     // slow=latest: the cursor moves to the newest event then
    bool keep_alive;    // after the reply
    bool chunked;       // a history goes out in chunks (HTTP/1.1)
    bool wants_history; // and not the stream
    bool history_ends;  // its last piece is in the outbox
    bool report_begun;  // its head is in the outbox
    bool ping;          // a ping or comment is to be sent
    bool pong_waits;    // a pong is to be sent
    bool says_expiring; // `expiring` is to be sent
    bool replying;      // HEAD: the deadline is about the reply
    bool confirmed;     // the stream was read again for an `after` ahead of what we knew
    bool ending;        // it is in all->ending
    bool told_expiring;
};

struct clients {
    // Set by the worker, before clients_init:
    struct loop *loop;
    const struct config *config;
    const struct pulse *pulse;
    struct metrics *metrics;               // this worker's row
    const struct metric_rows *all_metrics; // and those of all threads
    struct streams *streams;
    struct patterns *patterns;
    struct door *door;
    atomic_size_t *total; // connections of all workers
    size_t max;           // of all workers; above it nobody is upgraded
    size_t outbox_bytes;  // this worker's share of BOND_OUTBOX_BYTES
    // Answers a request of a client in HEAD: with client_reply, or client_join.
    void (*answer)(struct client *c, const struct http_request *req);

    size_t count; // connections of this worker
    bool draining;
    struct list lobby;   // HEAD, HELD, REPORT
    struct list hubs;    // OPEN, with a hub
    struct list crowd;   // hubs that are to be flushed in this turn
    struct list leaving; // CLOSING
    struct list dead;
    struct list reports; // those that wait for the tail
    uint64_t tickets;    // of them all so far
    struct deadline_queue heads, holds, joins, pings, comments, pongs, stalls, drains, looks,
        pauses, resumes, turns, seat_joins, pattern_joins, first_seats, no_seats, report_waits;
    struct deadline look;   // at Redis's pulse, and at tokens that end soon
    struct client **ending; // those whose tokens end soon, in no order
    size_t ending_len, ending_cap;
    struct budget budget;
    struct lag_survey *lag;
    struct paces paces;
    struct inflater *inflater; // made when the first client needs it
    struct buffer text;
};

// ---- for the other files of a client's life -------------------------------------

struct extra *client_extra(struct client *c); // made if it has none
void client_drop_extra_if_idle(struct client *c);
// What it holds has changed; `progress`: it has got on.
void client_recount(struct client *c, bool progress);

// The one place where a client's state changes; `why` is for the log.
void client_enter(struct client *c, enum client_state state, const char *why);
// Ends the connection now. The struct lives until the turn's end: events for it may be in
// hand.
void client_die(struct client *c, const char *why);
// Its subscription ends. In the middle of a frame, the rest of it goes to the outbox.
void client_leave_stream(struct client *c);
void client_leave_door(struct client *c); // its address may have one more
void client_forget_ending(struct client *c);
// Tells epoll what it waits for. blocked: its socket takes no more now.
void client_watch(struct client *c, bool blocked);

// Has its socket taken bytes, or has the peer taken some of those in it, since this was asked
// last? The first time the latter is not known, and is taken for granted.
bool client_got_on(struct client *c);

// The rest of the frame that it is in the middle of goes to the outbox, by reference, so
// that the log may drop it.
void client_hold_rest(struct client *c);

void clients_reap(struct clients *all); // frees the dead, once a turn

// A request was refused with that `error` (shared/codes.h).
static inline void clients_count_refusal(struct clients *all, const char *code)
{
    metrics_add(all->metrics, METRIC_REQUESTS_REFUSED + refusal_code(code), 1);
}

int64_t clients_redis_now_ms(const struct clients *all); // Redis's clock
static inline int64_t clients_window_start_ms(const struct clients *all)
{
    return clients_redis_now_ms(all) - all->config->ring_seconds * MS_PER_S;
}

static inline struct client *client_of(struct list *node) // of a stream's list
{
    return CONTAINER_OF(node, struct client, sub.node);
}

static inline struct hub *client_hub(const struct client *c) // NULL: it has one stream
{
    return c->extra ? c->extra->hub : NULL;
}

static inline enum form client_form(const struct client *c) // while OPEN
{
    return client_hub(c) ? client_hub(c)->form : c->sub.stream->form;
}

static inline bool client_is_sse(const struct client *c)
{
    return c->sub.stream && c->sub.stream->form == FORM_SSE;
}

static inline bool client_is_for_history(const struct client *c) // it waits for one or reads it
{
    return c->state == CLIENT_HISTORY || (c->state == CLIENT_JOINING && c->extra->wants_history);
}

static inline bool client_tells(const struct client *c) // its format has more than events
{
    return c->sub.stream && form_tells(c->sub.stream->form);
}

static inline bool client_has_log(const struct client *c) // its cursor stands in one
{
    return c->state == CLIENT_OPEN && !c->sub.waiting;
}

// It has had all of the log that it may have now.
static inline bool client_has_caught_up(const struct client *c)
{
    if (c->sub.every_ms > 0 && !c->sub.due)
        return true;
    return c->sub.cursor.seq == c->sub.stream->log.end_seq;
}

static inline bool client_has_outbox(const struct client *c)
{
    return c->extra && !outbox_is_empty(&c->extra->outbox);
}
