#include "shared/config.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/typo.h"
#include "base/utf8.h"
#include "wire/http.h"

enum kind { TEXT, INTEGER };

struct setting {
    const char *env;
    enum kind kind;
    size_t offset;
    const char *initial;
    int64_t least, most; // of an INTEGER
    const char *about;
};

#define FIELD(name) offsetof(struct config, name)
#define TEXT_AT(c, offset) ((char **)(void *)((char *)(c) + (offset)))
#define INT_AT(c, offset) ((int64_t *)(void *)((char *)(c) + (offset)))
#define DAY_S (24 * 3600)
#define MEMORY_BYTES_MIN INT64_C(262144)

// clang-format off
static const struct setting settings[] = {
    { "REDIS_URL", TEXT, FIELD(redis_url_text), "redis://localhost:6379", 0, 0,
      "the address of Redis: redis://, rediss:// (TLS) or unix://, with user, password and database" },
    { "BOND_SECRET", TEXT, FIELD(secret), CONFIG_DEFAULT_SECRET, 0, 0,
      "the key that tokens are signed with, the same as the API's" },
    { "BOND_SECRET_PREVIOUS", TEXT, FIELD(secret_previous), "", 0, 0,
      "a second key whose tokens are accepted too, while the secret is being changed" },
    { "BOND_EXPIRE_LIVE", INTEGER, FIELD(expire_live), "0", 0, 1,
      "1: a connection is closed (4001) when its token expires; 0: a token is only checked when its client connects" },
    { "BOND_ALLOWED_ORIGINS", TEXT, FIELD(allowed_origins), "", 0, 0,
      "origins whose web pages may connect (https://a.example), separated by commas; empty or *: all" },
    { "BOND_HOST", TEXT, FIELD(host), "0.0.0.0", 0, 0,
      "the address to listen on; :: is every address, IPv6 and IPv4" },
    { "BOND_PORT", INTEGER, FIELD(port), "8080", 0, 65535,
      "the port to listen on; without it PORT is used, which hosts such as Railway set" },
    { "BOND_ADMIN_TOKEN", TEXT, FIELD(admin_token), "", 0, 0,
      "what /metrics, /stats and /streams ask for, as a Bearer token or a password; empty: they are for callers on this machine only" },
    { "BOND_ADMIN_PORT", INTEGER, FIELD(admin_port), "0", 0, 65535,
      "a port of their own for /metrics, /stats and /streams, which the other one does not have then; 0: none" },
    { "BOND_ADMIN_HOST", TEXT, FIELD(admin_host), "127.0.0.1", 0, 0, "the address to listen on for BOND_ADMIN_PORT" },
    { "BOND_WORKERS", INTEGER, FIELD(workers), "0", 0, 256,
      "threads that serve clients; 0: one for each processor available" },
    { "BOND_RING_SECONDS", INTEGER, FIELD(ring_seconds), "60", 1, DAY_S,
      "seconds of each stream that are kept in memory, so how far back a client may replay" },
    { "BOND_RING_BYTES", INTEGER, FIELD(ring_bytes), "16777216", 65536, INT64_C(1) << 40,
      "bytes of memory for one stream; beyond them its oldest events are dropped first" },
    { "BOND_MEMORY_BYTES", INTEGER, FIELD(memory_bytes), "0", 0, INT64_C(1) << 50,
      "bytes of memory for all streams together; 0: half of what the process may use" },
    { "BOND_OUTBOX_BYTES", INTEGER, FIELD(outbox_bytes), "67108864", 1048576, INT64_C(1) << 40,
      "bytes of memory for what waits for clients outside the streams; beyond them the client that has made no progress for longest is closed" },
    { "BOND_EVENT_BYTES", INTEGER, FIELD(event_bytes), "4194304", 1024, INT64_C(1) << 29,
      "bytes of the largest event that is delivered; larger ones are skipped and logged" },
    { "BOND_MAX_CLIENTS", INTEGER, FIELD(max_clients), "0", 0, 100000000,
      "connections at once; 0: as many as the limit of open files allows" },
    { "BOND_MAX_CLIENTS_PER_IP", INTEGER, FIELD(max_clients_per_ip), "0", 0, 100000000,
      "streams that one address may be connected to at once; 0: no limit" },
    { "BOND_MAX_STREAMS_PER_CLIENT", INTEGER, FIELD(max_streams_per_client), "1024", 1, 1000000,
      "streams that one connection to /ws may subscribe to" },
    { "BOND_PATTERNS", INTEGER, FIELD(patterns), "0", 0, 1,
      "1: * in a token's scope stands for any run of characters, and clients may subscribe to patterns; 0: * is a letter like any other" },
    { "BOND_DISCOVER_SECONDS", INTEGER, FIELD(discover_seconds), "2", 1, DAY_S,
      "seconds between two searches of Redis (SCAN) for streams that match patterns" },
    { "BOND_TRUST_PROXY", INTEGER, FIELD(trust_proxy), "0", 0, 16,
      "proxies in front of the broker; a client's address is what the outermost of them wrote to X-Forwarded-For" },
    { "BOND_COMPRESSION", INTEGER, FIELD(compression), "1", 0, 1,
      "1: permessage-deflate for clients that offer it; 0: no compression" },
    { "BOND_MAX_FOLLOWED", INTEGER, FIELD(max_followed), "100000", 1, 100000000,
      "streams that are followed in Redis at once" },
    { "BOND_PING_SECONDS", INTEGER, FIELD(ping_seconds), "20", 1, DAY_S,
      "seconds between pings to a WebSocket client" },
    { "BOND_PONG_SECONDS", INTEGER, FIELD(pong_seconds), "20", 1, DAY_S,
      "seconds that a client has to answer a ping or a close frame" },
    { "BOND_HANDSHAKE_SECONDS", INTEGER, FIELD(handshake_seconds), "10", 1, DAY_S,
      "seconds that a connection has to send its request" },
    { "BOND_DRAIN_SECONDS", INTEGER, FIELD(drain_seconds), "10", 0, DAY_S,
      "seconds over which the closing of clients is spread at shutdown" },
    { "BOND_DRAIN_DELAY_SECONDS", INTEGER, FIELD(drain_delay_seconds), "0", 0, DAY_S,
      "seconds at shutdown in which /ready says 503 and all else goes on, before clients are closed" },
    { "BOND_FLUSH_MS", INTEGER, FIELD(flush_ms), "0", 0, 1000,
      "milliseconds at least between two writes of events to a client: less CPU, more latency" },
    { "BOND_STALE_MS", INTEGER, FIELD(stale_ms), "1500", 100, 3600000,
      "milliseconds without a word from Redis after which it counts as unreadable (/ready says 503)" },
    { "BOND_REDIS_TIMEOUT_MS", INTEGER, FIELD(redis_timeout_ms), "5000", 100, 3600000,
      "milliseconds in which no byte of an answer comes, after which a connection to Redis is given up" },
    { "BOND_REDIS_CONNECTIONS", INTEGER, FIELD(redis_connections), "2", 1, 2,
      "connections to Redis; the second waits for the few streams that change now, so that events come sooner" },
    { "BOND_SWEEP_SECONDS", INTEGER, FIELD(sweep_seconds), "60", 1, DAY_S,
      "seconds after which each stream is read again even if Redis did not report a change" },
    { "BOND_POLL_MS", INTEGER, FIELD(poll_ms), "100", 1, 60000,
      "milliseconds between reads of each stream where Redis cannot report changes (CLIENT TRACKING)" },
    { "BOND_LOG_LEVEL", TEXT, FIELD(log_level), "info", 0, 0,
      "the least important lines that are logged: debug, info, warn or error" },
    { "BOND_LOG_FORMAT", TEXT, FIELD(log_format), "logfmt", 0, 0, "how lines are logged: logfmt or json" },
    { "BOND_STATUS_SECONDS", INTEGER, FIELD(status_seconds), "60", 0, DAY_S,
      "seconds between log lines that say what is going on (event=status); 0: none" },
    { "BOND_STREAM_PREFIX", TEXT, FIELD(stream_prefix), "stream:", 0, 0,
      "what stands before a stream's id in its Redis key" },
    { "BOND_DATA_FIELD", TEXT, FIELD(data_field), "data", 0, 0,
      "the field of a stream's entry that holds the event" },
};
// clang-format on

// Bond's API reads these from an .env that it may share with us; they say nothing to
// us, and nobody is warned of them. (WS_HOST and the like do not look like ours.)
static const char *const api_names[] = { "BOND_MAX_STREAMS", "BOND_TOKEN_TTL" };

static char *sentence(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *sentence(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    CHECK(vasprintf(&text, fmt, args) >= 0);
    va_end(args);
    return text;
}

static char *copy(const char *text)
{
    char *out = strdup(text);
    CHECK(out != NULL);
    return out;
}

// What a bare number of the setting counts, in ms; 0: it is no time. Its name says that.
static int64_t unit_ms(const struct setting *s)
{
    size_t len = strlen(s->env);
    if (len > 8 && strcmp(s->env + len - 8, "_SECONDS") == 0)
        return MS_PER_S;
    return len > 3 && strcmp(s->env + len - 3, "_MS") == 0;
}

// A whole number; of a time also 90s or 1h, if that is a whole number of the setting's unit.
static bool read_integer(const struct setting *s, const char *value, int64_t *number)
{
    int64_t unit = unit_ms(s), ms;
    uint64_t bare;
    if (view_u64(view_of(value), &bare) && bare <= INT64_MAX)
        *number = (int64_t)bare;
    else if (unit && duration_parse(view_of(value), unit, &ms) && ms % unit == 0)
        *number = ms / unit;
    else
        return false;
    return *number >= s->least && *number <= s->most;
}

// `name` is how the user spelled the setting: BOND_PORT, PORT or --port.
static char *set(struct config *c, const struct setting *s, const char *name, const char *value)
{
    if (s->kind == TEXT) {
        char **at = TEXT_AT(c, s->offset);
        free(*at);
        *at = copy(value);
        return NULL;
    }
    if (!read_integer(s, value, INT_AT(c, s->offset)))
        return sentence("%s is \"%s\", but must be a whole number from %lld to %lld%s (%s)", name,
                        value, (long long)s->least, (long long)s->most,
                        unit_ms(s) ? ", or such a time as 90s, 5m or 1h" : "", s->about);
    return NULL;
}

// BOND_PING_SECONDS → --ping-seconds; REDIS_URL → --redis-url.
static void flag_name(const struct setting *s, char *out, size_t size)
{
    const char *env = strncmp(s->env, "BOND_", 5) == 0 ? s->env + 5 : s->env;
    snprintf(out, size, "--%s", env);
    for (char *p = out; *p; p++)
        *p = *p == '_' ? '-' : (char)tolower(*p);
}

static const struct setting *find_flag(const char *arg, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char flag[64];
        flag_name(&settings[i], flag, sizeof(flag));
        if (strlen(flag) == len && memcmp(flag, arg, len) == 0)
            return &settings[i];
    }
    return NULL;
}

// A name as the user knows it, BOND_PING_SECONDS or --ping-seconds, without what all
// names have before what tells them apart.
static struct view bare_name(struct view name)
{
    while (name.len > 0 && name.at[0] == '-')
        name = (struct view){ name.at + 1, name.len - 1 };
    struct view prefix = { name.at, name.len < 5 ? 0 : 5 };
    bool prefixed = view_eq_nocase(prefix, VIEW("BOND_")) || view_eq_nocase(prefix, VIEW("BOND-"));
    return prefixed ? (struct view){ name.at + 5, name.len - 5 } : name;
}

// The setting that was probably meant; NULL when none is near.
static const struct setting *find_near(struct view name)
{
    const struct setting *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        size_t distance = typo_distance(bare_name(name), bare_name(view_of(settings[i].env)));
        if (distance < least) {
            least = distance;
            nearest = &settings[i];
        }
    }
    return typo_is_near(bare_name(name), least) ? nearest : NULL;
}

static const struct setting *find_env(const char *env)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (strcmp(settings[i].env, env) == 0)
            return &settings[i];
    CHECK(!"a setting of that name");
    return NULL;
}

// An empty variable is what `KEY=` in an .env file gives: not set.
static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static char *load_environment(struct config *c)
{
    char *wrong = NULL;
    const char *secret = getenv("BOND_SECRET");
    if (secret && *secret == '\0') // its default is public, so nobody is to get it by accident
        return sentence(
            "BOND_SECRET is empty; set it to the API's secret, or do not set it at all");
    const char *railway_port = environment("PORT");
    if (railway_port && !environment("BOND_PORT"))
        wrong = set(c, find_env("BOND_PORT"), "PORT", railway_port);
    for (size_t i = 0; i < ARRAY_LEN(settings) && !wrong; i++) {
        const char *value = environment(settings[i].env);
        if (value)
            wrong = set(c, &settings[i], settings[i].env, value);
    }
    return wrong;
}

static char *unknown_flag(struct view name)
{
    const struct setting *near = find_near(name);
    char flag[64] = "";
    if (near)
        flag_name(near, flag, sizeof(flag));
    return sentence(VIEW_FMT " is no setting%s%s%s; `bond-broker help` lists them", VIEW_ARG(name),
                    near ? " (did you mean " : "", flag, near ? "?)" : "");
}

static char *load_flags(struct config *c, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        size_t len = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const struct setting *s = find_flag(argv[i], len);
        if (s == NULL)
            return unknown_flag((struct view){ argv[i], len });
        if (!equals && i + 1 == argc)
            return sentence("%s needs a value (%s)", argv[i], s->about);
        char name[64];
        flag_name(s, name, sizeof(name));
        char *wrong = set(c, s, name, equals ? equals + 1 : argv[++i]);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static int64_t read_number(const char *path) // 0: no number there ("max", or no such file)
{
    FILE *f = fopen(path, "re");
    long long value = 0;
    if (f == NULL)
        return 0;
    if (fscanf(f, "%lld", &value) != 1)
        value = 0;
    fclose(f);
    return value;
}

// The least of the machine's memory and what the container may use (cgroup v2, v1).
static int64_t memory_available(void)
{
    int64_t least = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    const int64_t limits[] = {
        read_number("/sys/fs/cgroup/memory.max"),
        read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i] > 0 && limits[i] < least)
            least = limits[i];
    return least;
}

static char *check_choice(const char *name, const char *value, const char *const *choices,
                          size_t count, int *index)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(choices[i], value) == 0) {
            *index = (int)i;
            return NULL;
        }
    char *all = copy(choices[0]);
    for (size_t i = 1; i < count; i++) {
        char *longer = sentence("%s, %s", all, choices[i]);
        free(all);
        all = longer;
    }
    char *wrong = sentence("%s is \"%s\", but must be one of: %s", name, value, all);
    free(all);
    return wrong;
}

// Each is *, null (a page without an origin) or an origin; the empty ones are passed over.
static char *check_origins(const char *list)
{
    for (const char *comma; *list; list = *comma ? comma + 1 : comma) {
        comma = strchrnul(list, ',');
        struct view entry = view_trim((struct view){ list, (size_t)(comma - list) });
        if (entry.len && !view_eq(entry, VIEW("*")) && !view_eq(entry, VIEW("null")) &&
            !http_is_origin(entry))
            return sentence("BOND_ALLOWED_ORIGINS has \"" VIEW_FMT "\", but an origin is a scheme, "
                            "a host and perhaps a port, without a path: https://a.example:8443",
                            VIEW_ARG(entry));
    }
    return NULL;
}

// What one value says about another, and what a text must look like.
static char *check(struct config *c)
{
    const char *wrong = redis_url_parse(view_of(c->redis_url_text), &c->redis_url);
    if (wrong)
        return sentence("REDIS_URL cannot be used: %s", wrong);
    if (*c->secret == '\0')
        return sentence("BOND_SECRET is empty; set it to the API's secret");
    if (!utf8_valid(view_of(c->stream_prefix)))
        return sentence("BOND_STREAM_PREFIX is not UTF-8");
    if (*c->data_field == '\0')
        return sentence("BOND_DATA_FIELD is empty; Bond's API writes the field \"data\"");
    char *bad = check_origins(c->allowed_origins);
    if (bad)
        return bad;

    static const char *const levels[] = { "debug", "info", "warn", "error" };
    static const char *const formats[] = { "logfmt", "json" };
    int index = 0;
    bad = check_choice("BOND_LOG_LEVEL", c->log_level, levels, ARRAY_LEN(levels), &index);
    if (bad)
        return bad;
    c->say_level = (enum say_level)index;
    bad = check_choice("BOND_LOG_FORMAT", c->log_format, formats, ARRAY_LEN(formats), &index);
    if (bad)
        return bad;
    c->say_format = (enum say_format)index;

    if (c->memory_bytes > 0 && c->memory_bytes < MEMORY_BYTES_MIN)
        return sentence("BOND_MEMORY_BYTES is %lld, but must be 0 or at least %lld (a ring or two)",
                        (long long)c->memory_bytes, (long long)MEMORY_BYTES_MIN);
    if (c->memory_bytes == 0)
        c->memory_bytes = memory_available() / 2;
    if (c->memory_bytes < c->ring_bytes)
        c->ring_bytes = c->memory_bytes;
    return NULL;
}

char *config_load(struct config *c, int argc, char **argv)
{
    *c = (struct config){ 0 };
    char *wrong = NULL;
    for (size_t i = 0; i < ARRAY_LEN(settings) && !wrong; i++)
        wrong = set(c, &settings[i], settings[i].env, settings[i].initial);
    CHECK(wrong == NULL);
    wrong = load_environment(c);
    if (!wrong)
        wrong = load_flags(c, argc, argv);
    if (!wrong)
        wrong = check(c);
    if (wrong)
        config_done(c);
    return wrong;
}

void config_done(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (settings[i].kind == TEXT)
            free(*TEXT_AT(c, settings[i].offset));
    redis_url_done(&c->redis_url);
    *c = (struct config){ 0 };
}

bool config_is_default_secret(const char *secret)
{
    return strcmp(secret, CONFIG_DEFAULT_SECRET) == 0;
}

static bool is_known(struct view name)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (view_eq(name, view_of(settings[i].env)))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(api_names); i++)
        if (view_eq(name, view_of(api_names[i])))
            return true;
    return false;
}

void config_each_unknown(void (*tell)(struct view name, const char *near))
{
    for (char **variable = environ; variable && *variable; variable++) {
        struct view name = { *variable, (size_t)(strchrnul(*variable, '=') - *variable) };
        if (!view_starts(name, VIEW("BOND_")) || is_known(name))
            continue;
        const struct setting *near = find_near(name);
        tell(name, near ? near->env : NULL);
    }
}

bool config_has_flag(struct view flag)
{
    return find_flag(flag.at, flag.len) != NULL;
}

void config_each(void (*tell)(void *ctx, const char *env, const char *flag, const char *initial,
                              const char *about),
                 void *ctx)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        char flag[64];
        flag_name(&settings[i], flag, sizeof(flag));
        tell(ctx, settings[i].env, flag, settings[i].initial, settings[i].about);
    }
}

enum say_format config_log_format(int argc, char **argv)
{
    const char *format = environment("BOND_LOG_FORMAT");
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--log-format") == 0 && i + 1 < argc)
            format = argv[++i];
        else if (strncmp(argv[i], "--log-format=", 13) == 0)
            format = argv[i] + 13;
    }
    return format && strcmp(format, "json") == 0 ? SAY_JSON : SAY_LOGFMT;
}

void config_describe(struct buffer *out)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct setting *s = &settings[i];
        buffer_printf(out, "  %-24s %s [%s]\n", s->env, s->about, s->initial);
    }
}
