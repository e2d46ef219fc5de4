// What a request for a stream asks, and whether it may: the handshake, the origin,
// the token, where to begin, in what form. Pure: the clock and the settings are
// passed in. Any thread.
#pragma once

#include "log/form.h"
#include "shared/config.h"
#include "wire/eventid.h"
#include "wire/http.h"
#include "wire/token.h"
#include "wire/ws.h"
#include "worker/commands.h"

enum route { ROUTE_NONE, ROUTE_WS, ROUTE_HUB, ROUTE_SSE, ROUTE_HISTORY };

#define HISTORY_LIMIT_DEFAULT 1000
#define HISTORY_LIMIT_MAX 10000

#define HUB_OPTIONS 6

struct admission {
    enum route route;
    struct buffer id; // the stream's, decoded
    enum form form;
    struct start start;
    enum slow slow;
    uint32_t every_ms;          // 0: each event
    int64_t expiry_s;           // the token's; of ROUTE_HUB: of the streams, the last one's
    uint64_t limit;             // of ROUTE_HISTORY
    char accept[WS_ACCEPT_LEN]; // of ROUTE_WS, ROUTE_HUB
    bool bond_v1;               // the sub-protocol was offered
    const char *extension;      // what Sec-WebSocket-Extensions is answered with, or NULL
    // Of ROUTE_HUB: the defaults of what is subscribed later, and the streams to begin with.
    struct subscribe_options options;
    struct buffer texts[HUB_OPTIONS]; // what the options point into
    struct buffer *streams;
    size_t stream_count;
};

// Why not. The texts are literals of ours.
struct refusal {
    int status;
    const char *code, *detail;
    const char *headers; // lines with their CRLF, or ""
};

// Which stream route a path is (/ws without an id: ROUTE_HUB), and the raw (still escaped) stream id in it.
enum route admission_route(struct view path, struct view *raw_id);

// Fills *a (admission_done frees it, in any case). False: *no says why not.
// now_ms is Unix time by our clock, for tokens; redis_now_ms by Redis's, for ids.
bool admission_read(struct admission *a, const struct http_request *req, enum route route,
                    struct view raw_id, const struct config *config, int64_t now_ms,
                    int64_t redis_now_ms, struct refusal *no);
void admission_done(struct admission *a);

// The parts that a command on a shared socket needs, too. A scope is what a token was signed
// for, in place of the stream's id; it covers the stream of that name.
enum token_verdict admission_verify(const struct config *config, struct view token,
                                    struct view scope, struct view stream, int64_t now_ms,
                                    int64_t *expiry_s);
// NULL, or what is wrong. An empty text is the default.
const char *admission_read_slow(struct view text, enum slow *slow);
const char *admission_read_every(struct view text, uint32_t *every_ms);

// The head of the reply that lets the client in: 101, or 200 for server-sent events,
// whose first line stands behind it. date: the line of the Date header.
void admission_write_handshake(const struct admission *a, const struct http_request *req,
                               const struct config *config, struct view date, struct buffer *out);

// CORS (Fetch standard): the header lines for a reply to this request, per
// BOND_ALLOWED_ORIGINS; none when its origin is not allowed.
void admission_add_cors(struct buffer *out, const struct http_request *req,
                        const struct config *config);
bool admission_origin_allowed(const struct http_request *req, const struct config *config);

// The accepted secrets: BOND_SECRET, and BOND_SECRET_PREVIOUS where it is set.
#define ADMISSION_SECRETS 2
void admission_secrets(const struct config *config, struct view out[ADMISSION_SECRETS]);
