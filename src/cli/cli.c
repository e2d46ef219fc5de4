#include "cli/cli.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "redis/link.h"
#include "wire/resp.h"
#include "wire/token.h"

#define TTL_DEFAULT_S 3600
#define PUBLISH_TIMEOUT_MS 5000
#define HEALTH_TIMEOUT_S 3
#define EXIT_USAGE 2

static const char *const usage =
    "usage: bond-broker [serve] [flags]            serve until SIGTERM\n"
    "       bond-broker token STREAM [--ttl S] [--full]\n"
    "                                              mint a token (one hour; --full: 64 digits)\n"
    "       bond-broker check-token STREAM TOKEN   is it valid now? exit status 0 or 1\n"
    "       bond-broker publish STREAM [JSON|-]    write one event, or one for each line of\n"
    "                                              standard input, as the API does\n"
    "       bond-broker health                     does the broker on this host and port answer?\n"
    "       bond-broker version\n"
    "       bond-broker help\n";

static int wrong_usage(const char *why)
{
    fprintf(stderr, "bond-broker: %s\n%s", why, usage);
    return EXIT_USAGE;
}

// The settings from the environment alone: what follows a subcommand is its own.
static bool load(struct config *c)
{
    char *wrong = config_load(c, 0, NULL);
    if (wrong == NULL)
        return true;
    fprintf(stderr, "bond-broker: %s\n", wrong);
    free(wrong);
    return false;
}

// ---- tokens ---------------------------------------------------------------------

int cli_token(int argc, char **argv)
{
    const char *stream = NULL;
    uint64_t ttl_s = TTL_DEFAULT_S;
    bool full = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--full") == 0)
            full = true;
        else if (strcmp(argv[i], "--ttl") == 0 || strncmp(argv[i], "--ttl=", 6) == 0) {
            const char *text = argv[i][5] ? argv[i] + 6 : i + 1 < argc ? argv[++i] : "";
            if (!view_u64(view_of(text), &ttl_s) || ttl_s > UINT32_MAX)
                return wrong_usage("--ttl needs a whole number of seconds");
        } else if (stream == NULL && argv[i][0] != '\0' && strncmp(argv[i], "--", 2) != 0)
            stream = argv[i];
        else
            return wrong_usage("token takes one stream id");
    }
    if (stream == NULL)
        return wrong_usage("token needs a stream id");

    struct config c;
    if (!load(&c))
        return EXIT_USAGE;
    char token[TOKEN_MAX + 1];
    int64_t expiry_s = clock_wall_ms() / MS_PER_S + (int64_t)ttl_s;
    token_mint(view_of(stream), view_of(c.secret), expiry_s, full, token);
    puts(token);
    config_done(&c);
    return 0;
}

int cli_check_token(int argc, char **argv)
{
    if (argc != 2)
        return wrong_usage("check-token needs a stream id and a token");
    struct config c;
    if (!load(&c))
        return EXIT_USAGE;
    const struct view secrets[] = { view_of(c.secret), view_of(c.secret_previous) };
    int64_t expiry_s, now_ms = clock_wall_ms();
    enum token_verdict verdict = token_verify(view_of(argv[1]), view_of(argv[0]), secrets,
                                              ARRAY_LEN(secrets), now_ms, &expiry_s);
    if (verdict == TOKEN_OK)
        printf("ok: valid for another %lld s\n", (long long)(expiry_s - now_ms / MS_PER_S));
    else
        fprintf(stderr, "%s: %s\n", token_verdict_name(verdict), token_verdict_sentence(verdict));
    config_done(&c);
    return verdict == TOKEN_OK ? 0 : 1;
}

// ---- publish --------------------------------------------------------------------

struct publish {
    struct config config;
    struct loop loop;
    struct link *link;
    const char *stream;
    const char *json; // NULL: lines of standard input
    char *line;
    size_t line_cap;
    int status;
    struct deadline_queue timeouts;
    struct deadline timeout;
};

static void publish_end(struct publish *p, int status)
{
    p->status = status;
    loop_stop(&p->loop);
}

static void publish_send(struct publish *p, struct view event)
{
    struct buffer key = { 0 };
    buffer_add_view(&key, view_of(p->config.stream_prefix));
    buffer_add_view(&key, view_of(p->stream));
    const struct view argv[] = { VIEW("XADD"),
                                 buffer_view(&key),
                                 VIEW("MAXLEN"),
                                 VIEW("~"),
                                 VIEW("1000"),
                                 VIEW("*"),
                                 view_of(p->config.data_field),
                                 event };
    link_command(p->link, ARRAY_LEN(argv), argv);
    buffer_free(&key);
}

static bool is_publishable(struct view event)
{
    if (json_valid(event))
        return true;
    fprintf(stderr, "bond-broker: not JSON: " VIEW_FMT "\n", VIEW_ARG(event));
    return false;
}

static void publish_next_line(struct publish *p)
{
    ssize_t len = getline(&p->line, &p->line_cap, stdin);
    if (len < 0) {
        publish_end(p, 0);
        return;
    }
    struct view event = { p->line, (size_t)len };
    if (event.len && event.at[event.len - 1] == '\n')
        event.len--;
    if (!is_publishable(event))
        publish_end(p, 1);
    else
        publish_send(p, event);
}

static void publish_up(void *ctx)
{
    struct publish *p = ctx;
    if (p->json)
        publish_send(p, view_of(p->json));
    else
        publish_next_line(p);
}

static void publish_down(void *ctx, const char *why)
{
    fprintf(stderr, "bond-broker: %s\n", why);
    publish_end(ctx, 1);
}

static void publish_reply(void *ctx, struct view reply)
{
    struct publish *p = ctx;
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (!resp_next(&r, &node) || node.type == RESP_ERROR) {
        fprintf(stderr, "bond-broker: Redis refused the event: " VIEW_FMT "\n",
                VIEW_ARG(node.text));
        publish_end(p, 1);
        return;
    }
    printf(VIEW_FMT "\n", VIEW_ARG(node.text)); // the event's id
    if (p->json) {
        publish_end(p, 0);
    } else {
        deadline_arm(&p->timeouts, &p->timeout, p->loop.now_ms);
        publish_next_line(p);
    }
}

static void publish_push(void *ctx, struct view push)
{
    (void)ctx;
    (void)push;
}

static void publish_timeout(struct deadline *d)
{
    struct publish *p = CONTAINER_OF(d, struct publish, timeout);
    fprintf(stderr, "bond-broker: Redis did not answer within %d ms\n", PUBLISH_TIMEOUT_MS);
    publish_end(p, 1);
}

static bool publish_before_sleep(void *ctx)
{
    link_flush(((struct publish *)ctx)->link);
    return false;
}

int cli_publish(int argc, char **argv)
{
    if (argc < 1 || argc > 2 || argv[0][0] == '\0')
        return wrong_usage(
            "publish needs a stream id, and an event or - for lines of standard input");
    struct publish p = { .stream = argv[0], .status = 1 };
    if (argc == 2 && strcmp(argv[1], "-") != 0)
        p.json = argv[1];
    if (p.json && !is_publishable(view_of(p.json)))
        return 1;
    if (!load(&p.config))
        return EXIT_USAGE;

    static const struct link_events events = {
        .up = publish_up, .down = publish_down, .reply = publish_reply, .push = publish_push
    };
    const struct link_options options = {
        .connect_timeout_ms = PUBLISH_TIMEOUT_MS,
        .reply_timeout_ms = PUBLISH_TIMEOUT_MS,
        .ping_ms = PUBLISH_TIMEOUT_MS,
        .backoff_min_ms = 100,
        .backoff_max_ms = 100,
        .input_max = MIB,
    };
    const char *why = "no event loop";
    if (!loop_init(&p.loop) ||
        !(p.link = link_new(&p.loop, &p.config.redis_url, &options, &events, &p, &why))) {
        fprintf(stderr, "bond-broker: %s\n", why);
        return 1;
    }
    p.loop.before_sleep = publish_before_sleep;
    p.loop.ctx = &p;
    deadline_queue_init(&p.timeouts, PUBLISH_TIMEOUT_MS, publish_timeout);
    loop_add_queue(&p.loop, &p.timeouts);
    deadline_init(&p.timeout);
    deadline_arm(&p.timeouts, &p.timeout, p.loop.now_ms);
    link_start(p.link);
    loop_run(&p.loop);
    link_free(p.link);
    loop_done(&p.loop);
    free(p.line);
    config_done(&p.config);
    return p.status;
}

// ---- health ---------------------------------------------------------------------

static int connect_to_self(const struct config *c)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    char port[16];
    bool any = strcmp(c->host, "0.0.0.0") == 0 || strcmp(c->host, "::") == 0;
    snprintf(port, sizeof(port), "%lld", (long long)c->port);
    if (getaddrinfo(any ? "127.0.0.1" : c->host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval timeout = { .tv_sec = HEALTH_TIMEOUT_S };
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
                    connect(fd, found->ai_addr, found->ai_addrlen) != 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

int cli_health(int argc, char **argv)
{
    (void)argv;
    if (argc != 0)
        return wrong_usage("health takes no arguments: it reads BOND_HOST and BOND_PORT or PORT");
    struct config c;
    if (!load(&c))
        return EXIT_USAGE;
    static const char request[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char reply[64] = "";
    int fd = connect_to_self(&c);
    bool ok = fd >= 0 && send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
              recv(fd, reply, sizeof(reply) - 1, 0) > 0 && strncmp(reply, "HTTP/1.1 200", 12) == 0;
    if (!ok)
        fprintf(stderr, "bond-broker: no healthy answer from %s port %lld\n", c.host,
                (long long)c.port);
    if (fd >= 0)
        close(fd);
    config_done(&c);
    return ok ? 0 : 1;
}

// ---- version, help --------------------------------------------------------------

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("bond-broker " BOND_VERSION);
    return 0;
}

int cli_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct buffer settings = { 0 };
    config_describe(&settings);
    printf(
        "Bond Broker %s: Redis Streams to WebSocket clients.\n\n%s\n"
        "Settings, from the environment or as flags (BOND_PING_SECONDS is --ping-seconds):\n" VIEW_FMT,
        BOND_VERSION, usage, VIEW_ARG(buffer_view(&settings)));
    buffer_free(&settings);
    return 0;
}
