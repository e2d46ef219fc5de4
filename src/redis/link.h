// One connection to one Redis: dialled (dial.h), secured if the URL says so (tls.h),
// greeted (greeting.h); then commands out and replies in, in order; when it breaks,
// again, with jittered backoff, for ever.
//
//   CLOSED ──backoff──▶ DIALLING ──▶ (SECURING) ──▶ GREETING ──▶ UP
//     ▲                    │             │             │          │
//     └──────────── an error, a hang-up, a timeout, a bad reply ──┘
//
// A link belongs to the thread whose loop it was made on; its events come there.
// The process must ignore SIGPIPE: OpenSSL writes to sockets that may be gone.
#pragma once

#include "base/loop.h"
#include "wire/eventid.h"
#include "wire/redis_url.h"

struct link;

struct link_options {
    int64_t connect_timeout_ms; // for the name; then from connect() to UP, for each address
    // The link is cut when the oldest unanswered command has been without progress for so
    // long: no byte of an answer came, and no byte of the command left. An answer may take
    // longer than this, as long as it flows.
    int64_t reply_timeout_ms;
    int64_t ping_ms; // a PING after so long without a byte from Redis
    int64_t backoff_min_ms, backoff_max_ms;
    size_t input_max; // bytes of one reply; a longer one cuts the link
    bool tracking;    // ask for CLIENT TRACKING ON; refusal is no error, see link_tracks
    // Of the same loop: connect to where that one is connected, while it is UP, and
    // resolve no name. NULL: to where the URL leads.
    const struct link *beside;
};

// Handlers may call link_command, link_flush and link_cut; a connection that ends
// by that ends behind the handler, and `down` follows.
struct link_events {
    void (*up)(void *ctx);
    // The link was UP, or an attempt to connect failed; `why` is a sentence without
    // secrets, with words of Redis's own at most. Unanswered commands will never be
    // answered. It tries again by itself. link_cut and link_flush may call it.
    void (*down)(void *ctx, const char *why);
    // To each link_command, in order. One whole reply, valid during the call.
    void (*reply)(void *ctx, struct view reply);
    void (*push)(void *ctx, struct view push); // RESP3 out-of-band data: invalidations
};

// Takes no ownership of url, which must outlive it. NULL: errno or TLS set-up, *why.
struct link *link_new(struct loop *loop, const struct redis_url *url,
                      const struct link_options *options, const struct link_events *events,
                      void *ctx, const char **why);
// No event comes of it. Not in a handler, nor while the loop still hands out a
// turn's events: in before_sleep or when the loop has ended.
void link_free(struct link *l);
void link_start(struct link *l); // connect as soon as the loop runs

// Queues a command; only while UP (link_is_up). Nothing is written before
// link_flush: a turn's commands leave in one write. PINGs of the link's own are
// answered within.
void link_command(struct link *l, size_t argc, const struct view *argv);
// XRANGE key from + COUNT count: `from` itself comes first, if it is still there.
void link_xrange(struct link *l, struct view key, struct eventid from, size_t count);
void link_flush(struct link *l); // once a turn, before sleep

// Cuts the connection, if there is one, and connects again after the backoff: for
// a reply that makes no sense, or a server that turned out not to be usable.
void link_cut(struct link *l, const char *why);

bool link_is_up(const struct link *l);
bool link_tracks(const struct link *l); // CLIENT TRACKING was granted (on this connection)
const char *link_why_not_tracking(const struct link *l); // a sentence, while UP
int64_t link_heard_ms(const struct link *l); // monotonic, when the last byte came; 0: never
// How many bytes there are of an answer that is not whole. In `down`, and until it connects
// again: how many there were. If some were, the answer was too long for the patience that
// we have or for the connection's life: the owner may ask for less.
size_t link_unfinished_bytes(const struct link *l);
struct view link_server(const struct link *l); // while UP: "redis 7.0.15"
