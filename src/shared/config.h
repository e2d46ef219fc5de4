// The settings: each has an environment name (BOND_PING_SECONDS) and the same flag
// (--ping-seconds). The table in config.c is the one list of them. Read once,
// before the threads start; read-only then, from any thread.
#pragma once

#include "base/base.h"
#include "base/say.h"
#include "wire/redis_url.h"

struct config {
    char *redis_url_text;
    struct redis_url redis_url;
    char *secret;
    char *secret_previous; // accepted too, while tokens are being rotated; "" for none
    char *host;
    int64_t port;
    int64_t workers; // 0: as many as processors are available
    int64_t ring_seconds;
    int64_t ring_bytes;             // per stream
    int64_t memory_bytes;           // of all rings; 0: half of what the process may use
    int64_t outbox_bytes;           // of what waits for clients, or has come of them
    int64_t event_bytes;            // the largest event that is delivered
    int64_t max_clients;            // open connections; 0: as many as descriptors allow
    int64_t max_clients_per_ip;     // 0: no limit
    int64_t max_streams_per_client; // on a socket of many streams
    int64_t patterns;               // 1: `*` in a scope or a pattern is any run of characters
    int64_t discover_seconds;       // between two searches for streams that match patterns
    int64_t trust_proxy;            // proxies in front whose X-Forwarded-For entries are believed
    int64_t max_followed;           // streams followed in Redis
    int64_t expire_live;            // 1: a token's end ends its connection
    int64_t compression;            // 1: permessage-deflate is offered
    char *admin_token;              // for /metrics and the like; "": none, local callers only
    int64_t admin_port;             // 0: they are at `port`
    char *admin_host;
    char *allowed_origins;          // comma-separated; "": all
    int64_t ping_seconds, pong_seconds;
    int64_t handshake_seconds;
    int64_t drain_seconds;
    int64_t drain_delay_seconds; // /ready says 503 for so long before the drain
    int64_t flush_ms; // at least between two writes of a stream's news to its clients; 0: none
    int64_t stale_ms; // Redis unheard for so long is not readable
    int64_t redis_timeout_ms;
    int64_t redis_connections; // 1 or 2: with a hotline
    int64_t sweep_seconds;     // each stream is read once in so long, whatever tracking says
    int64_t poll_ms;           // the same where tracking is refused
    char *log_level, *log_format;
    int64_t status_seconds; // between `status` lines of the log; 0: none
    enum say_level say_level;
    enum say_format say_format;
    char *stream_prefix; // "stream:"
    char *data_field;    // "data"
};

// Defaults, then the environment, then flags (args are those after the
// subcommand; "--name value" and "--name=value"). Returns NULL, or a sentence
// that names the setting and says what is wrong, to be freed by the caller.
char *config_load(struct config *c, int argc, char **argv);
void config_done(struct config *c);

// The environment's names that begin with BOND_ and are neither settings nor the API's.
// near: the setting that may have been meant, or NULL. Their values are not shown.
void config_each_unknown(void (*tell)(struct view name, const char *near));

// Is that a setting's flag, such as --ring-seconds? Each takes a value.
bool config_has_flag(struct view flag);
// Each setting in the table's order: its environment name, its flag, its default, its
// meaning. The texts are valid during the call.
void config_each(void (*tell)(void *ctx, const char *env, const char *flag, const char *initial,
                              const char *about),
                 void *ctx);
// How a broker with these flags and this environment logs, before anything is known to make
// sense: for the sentence that says what does not.
enum say_format config_log_format(int argc, char **argv);

// One line a setting: environment name, meaning, default. For `help`.
void config_describe(struct buffer *out);

// Bond's own default, which its sources tell everybody.
#define CONFIG_DEFAULT_SECRET "bond-dev-secret-change-in-production"
bool config_is_default_secret(const char *secret);
