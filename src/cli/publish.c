// bond-broker publish: XADD as Bond's API does it, one event after another.
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"
#include "redis/link.h"
#include "wire/resp.h"

#define PUBLISH_TIMEOUT_MS 5000

struct publish {
    const struct config *config;
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
    buffer_add_view(&key, view_of(p->config->stream_prefix));
    buffer_add_view(&key, view_of(p->stream));
    const struct view argv[] = { VIEW("XADD"),
                                 buffer_view(&key),
                                 VIEW("MAXLEN"),
                                 VIEW("~"),
                                 VIEW("1000"),
                                 VIEW("*"),
                                 view_of(p->config->data_field),
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

static void publish_run(struct publish *p)
{
    p->loop.before_sleep = publish_before_sleep;
    p->loop.ctx = p;
    deadline_queue_init(&p->timeouts, PUBLISH_TIMEOUT_MS, publish_timeout);
    loop_add_queue(&p->loop, &p->timeouts);
    deadline_init(&p->timeout);
    deadline_arm(&p->timeouts, &p->timeout, p->loop.now_ms);
    link_start(p->link);
    loop_run(&p->loop);
}

static int publish(struct cli *c)
{
    struct publish p = { .config = &c->config, .stream = c->argv[0], .status = 1 };
    if (c->argv[0][0] == '\0')
        return cli_wrong_usage(c, "the stream's id is empty");
    if (c->argc == 2 && strcmp(c->argv[1], "-") != 0)
        p.json = c->argv[1];
    if (p.json && !is_publishable(view_of(p.json)))
        return 1;

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
        !(p.link = link_new(&p.loop, &c->config.redis_url, &options, &events, &p, &why))) {
        fprintf(stderr, "bond-broker: %s\n", why);
        return 1;
    }
    publish_run(&p);
    link_free(p.link);
    loop_done(&p.loop);
    free(p.line);
    return p.status;
}

const struct cli_command cli_publish = {
    .name = "publish",
    .synopsis = "STREAM [EVENT|-]",
    .about = "write an event to a stream, or one for each line of standard input, as the API does",
    .more =
        "An event is JSON. Each one's id is printed. Streams are trimmed to about 1000 entries.",
    .examples = "bond-broker publish btc-usdt '{\"price\": 64000}'\n"
                "jq -c '.[]' events.json | bond-broker publish btc-usdt    # a line, an event\n",
    .exits = "0, 1 if an event could not be written, 2 if it was used wrongly",
    .least = 1,
    .most = 2,
    .run = publish,
};
