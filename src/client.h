// One connection's life, and all the connections of one worker.
//
//           accept                                          101
//             ▼                                              ▲
//   HEAD ──request, token, stream──▶ JOINING ──ring primed──▶ OPEN
//    ▲ │                               │                      │
//    │ └─ page, refusal ──┐            │                      │
//    └── keep-alive ──────┤            ▼                      ▼
//                         └────────▶ CLOSING ──sent, EOF──▶ DEAD ──reaped after the turn
//
// An OPEN client is a cursor in its stream's log; replay, live and lagging differ
// only in where it stands. A handshake waits (JOINING) until the stream's place in
// Redis is fixed, so that whatever is published after connect() returns is
// delivered; when Redis cannot be read it is let in after a second and waits OPEN.
//
// All of it belongs to its worker's thread.
#pragma once

#include "config.h"
#include "deadline.h"
#include "eventid.h"
#include "list.h"
#include "log.h"
#include "loop.h"
#include "pulse.h"
#include "stats.h"
#include "stream.h"

enum client_state { CLIENT_HEAD, CLIENT_JOINING, CLIENT_OPEN, CLIENT_CLOSING, CLIENT_DEAD };

struct client {
    struct watch watch;
    struct clients *all;
    struct stream *stream;    // while JOINING or OPEN
    struct list node;         // of one of the stream's lists, or of all->lobby, leaving, dead
    struct deadline deadline; // what it means, the state says
    struct cursor cursor;     // OPEN, once the stream is primed
    struct extra *extra;      // what only a client in the middle of something needs
    int fd;
    uint8_t state;
    uint8_t interest;      // what epoll watches for: EPOLLIN, EPOLLOUT
    bool slow_skip;        // slow=skip: a lagging client goes on from the oldest event
    bool waiting;          // its cursor is not set yet: it is in stream->waiting
    bool pinged;           // a pong is due
    bool going_away;       // closes with 1001 once it has had all of the log
};

struct clients {
    struct loop *loop;
    const struct config *config;
    const struct pulse *pulse;
    struct stats *stats;
    struct streams *streams;
    struct list lobby;   // HEAD
    struct list leaving; // CLOSING
    struct list dead;
    size_t count;       // connections of this worker
    atomic_size_t *total; // connections of all workers
    size_t max;         // of all workers; above it nobody is upgraded
    bool draining;
    struct deadline_queue heads, joins, pings, pongs, closings, drains;
};

void clients_init(struct clients *all, struct loop *loop, const struct config *config,
                  const struct pulse *pulse, struct stats *stats, struct streams *streams,
                  atomic_size_t *total, size_t max);
void clients_done(struct clients *all); // closes all that are left, at once

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
