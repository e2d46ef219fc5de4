// One connection's life, and all the connections of one worker.
//
//           accept                                          101
//             ▼                                              ▲
//   HEAD ──request, token, stream──▶ JOINING ──ring primed──▶ OPEN
//    ▲ │ │                             │                      │
//    │ │ └─ bad tokens ──▶ HELD ──┐    │                      │
//    │ └─ page, refusal ────┐     │    │                      │
//    └──── keep-alive ──────┤     ▼    ▼                      ▼
//                           └───────▶ CLOSING ──sent, EOF──▶ DEAD ──reaped after the turn
//
// An OPEN client is a cursor in its stream's log; replay, live and lagging differ
// only in where it stands. A handshake waits (JOINING) until the stream's place in
// Redis is fixed, so that whatever is published after connect() returns is
// delivered; when Redis cannot be read it is let in after a second and waits OPEN.
//
// All of it belongs to its worker's thread; the door alone is shared.
#pragma once

#include "base/deadline.h"
#include "base/list.h"
#include "base/loop.h"
#include "log/log.h"
#include "shared/config.h"
#include "shared/door.h"
#include "shared/pulse.h"
#include "shared/stats.h"
#include "worker/admission.h"
#include "worker/stream.h"

enum client_state {
    CLIENT_HEAD,
    CLIENT_HELD,
    CLIENT_JOINING,
    CLIENT_OPEN,
    CLIENT_CLOSING,
    CLIENT_DEAD,
};

struct client {
    struct watch watch;
    struct deadline deadline; // what it means, the state says
    struct visitor *visitor;  // its address at the door, where that is limited
    int64_t expiry_s;         // its token's, with live expiry; else 0

    // What a delivery touches, side by side: it comes cold from memory.
    struct list node; // of one of the stream's lists, or of all->lobby, leaving, dead
    struct clients *all;
    struct stream *stream; // while JOINING or OPEN
    struct cursor cursor;  // OPEN, once the stream is primed
    struct extra *extra;   // what only a client in the middle of something needs
    int fd;
    uint8_t state;
    uint8_t interest; // what epoll watches for: EPOLLIN, EPOLLOUT
    bool slow_skip;   // slow=skip: a lagging client goes on from the oldest event
    bool waiting;     // its cursor is not set yet: it is in stream->waiting
    bool pinged;      // a pong is due
    bool going_away;  // closes with 1001 once it has had all of the log
    bool told_stale;  // the last `source` message that it got
};

struct clients {
    // Set by the worker, before clients_init:
    struct loop *loop;
    const struct config *config;
    const struct pulse *pulse;
    struct stats *stats;
    struct streams *streams;
    struct door *door;
    atomic_size_t *total; // connections of all workers
    size_t max;           // of all workers; above it nobody is upgraded
    // Answers a request of a client in HEAD: with client_reply, or client_join.
    void (*answer)(struct client *c, const struct http_request *req);

    size_t count; // connections of this worker
    bool draining;
    struct list lobby;   // HEAD, HELD
    struct list leaving; // CLOSING
    struct list dead;
    struct deadline_queue heads, holds, joins, pings, comments, pongs, closings, drains, looks,
        pauses;
    struct deadline look;   // at Redis's pulse, and at tokens that end soon
    struct client **ending; // those whose tokens end soon, in no order
    size_t ending_len, ending_cap;
    struct inflater *inflater; // made when the first client needs it
    struct buffer text;
};

void clients_init(struct clients *all);  // its first part is set
void clients_start(struct clients *all); // on the worker's thread
void clients_done(struct clients *all);  // closes all that are left, at once

// Takes over an accepted, non-blocking socket. False: memory or epoll is out; it
// is still the caller's.
bool clients_add(struct clients *all, int fd);

// Letters about a stream. They take over what the letter owns, and free it.
void clients_news(struct clients *all, struct news *news);
void clients_failure(struct clients *all, struct failure *failure);

// Once a turn: sends what is new to those who want it, reaps the dead. True when
// some are not done and their sockets take more.
bool clients_flush(struct clients *all);

// No new clients; those there are get what is in the log, then 1001, spread over
// drain_ms. clients_left says how many are still to go.
void clients_drain(struct clients *all, int64_t drain_ms);
size_t clients_left(const struct clients *all);

// For `answer`.

struct buffer *client_reply(struct client *c); // whole replies are appended here
// The reply there is waits a second, and the connection ends with it.
void client_hold(struct client *c, struct in6_addr address);
void client_shut(struct client *c, const char *why); // ends it now, without a reply
// Follows the stream that `a` names; what goes first to the client is `handshake`
// (ROUTE_WS, ROUTE_SSE) or the head of a history's reply. Takes over visitor.
void client_join(struct client *c, const struct admission *a, struct view handshake,
                 struct visitor *visitor);
int64_t clients_redis_now_ms(const struct clients *all); // Redis's clock
