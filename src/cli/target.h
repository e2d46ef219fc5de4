// Where a stream is listened to: at the broker of the settings, or wherever a URL leads.
// Pure: texts in, texts out.
#pragma once

#include "shared/config.h"

struct target {
    bool tls;
    char *host; // a name or an address, without brackets
    int port;
    char *host_header;      // "localhost:8080", "[::1]:8080", "broker.example"
    struct buffer path;     // "/ws/btc-usdt", as it is sent
    struct buffer query;    // what the URL says besides where to begin and in what format
    struct buffer from;     // of the URL, as it is sent; empty: none
    struct buffer after;    // the same
    struct buffer name;     // the stream's id, decoded, for people and for tokens
    bool is_minted;         // the token is ours to make, for each connection a new one
    bool says_what_is_slow; // the URL has slow=
};

// Is it a URL, and not a stream's id?
bool target_is_url(const char *text);
// ws://HOST[:PORT]/ws/STREAM?…, wss://, and http:// or https:// for the same; /sse/STREAM and
// /history/STREAM are taken for the /ws/STREAM beside them. NULL, or a sentence that says
// what is wrong; it quotes nothing, for a URL may hold a token. target_done in any case.
const char *target_of_url(const char *text, struct target *out);
// Of the broker that these settings start, from the same machine.
void target_of_stream(const struct config *config, const char *stream, struct target *out);
void target_done(struct target *t);

// Where a connection is to begin; both NULL: where the URL says, or with what comes now.
struct target_start {
    const char *from, *after; // as people write them; after goes before
    const char *token;        // of a minted one
};
// Appends the path and the query of a handshake.
void target_request(const struct target *t, const struct target_start *start, struct buffer *out);
