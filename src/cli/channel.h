// A WebSocket to a broker, from the client's end: dialled, secured if it is wss, upgraded to
// bond.v1, then messages in, and now and then one out. It ends once, and whoever owns it
// says when it is to be tried again.
//
//   CLOSED ──channel_connect──▶ DIALLING ──▶ (SECURING) ──▶ ASKING ──▶ OPEN
//     ▲                            │             │            │          │
//     └───────────── ended: an error, a refusal, a close, a silence ─────┘
//
// It belongs to its loop's thread. The process must ignore SIGPIPE.
#pragma once

#include "base/loop.h"
#include "base/tls.h"

#define CHANNEL_MESSAGE_MAX (256 * MIB) // a longer message ends the connection (1009)

struct channel;

struct channel_end {
    const char *why;        // a sentence, of the server's words at most cleaned ones
    int status;             // the handshake was refused with it; 0: it was not
    int64_t retry_after_ms; // the refusal says so; -1: it does not
    int code;               // of the server's close frame; 0: there was none
};

struct channel_events {
    // Before each handshake: appends the path and the query.
    void (*request)(void *ctx, struct buffer *target);
    void (*opened)(void *ctx);
    void (*message)(void *ctx, struct view text); // valid during the call
    // channel_connect may be called in it.
    void (*ended)(void *ctx, const struct channel_end *end);
};

struct channel_options { // all that it points to must outlive the channel
    struct loop *loop;
    const char *host, *host_header;
    int port;
    const struct tls_context *tls; // NULL: ws://
    bool verify_host;
};

struct channel *channel_new(const struct channel_options *options,
                            const struct channel_events *events, void *ctx);
void channel_free(struct channel *ch); // not in an event: when the loop has ended
void channel_connect(struct channel *ch, int64_t after_ms); // while it is closed
bool channel_is_open(const struct channel *ch);
void channel_send(struct channel *ch, struct view text); // while it is open
