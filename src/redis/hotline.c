#include "redis/hotline.h"

#include <stdio.h>

#include "base/say.h"
#include "wire/resp.h"

#define BLOCK_MS_MAX 1000 // then the streams are chosen anew
#define LATE_MS_MAX 1000  // an answer that is later than this will not come
#define REST_MS 10000

struct hotline {
    struct link *link;
    struct loop *loop;
    struct hotline_events events;
    void *ctx;
    int64_t block_ms;
    int64_t rests_until_ms;
    bool started;
    bool is_blocked; // XREAD is unanswered
    bool asks_who;   // INFO is
    size_t asked, answered;
    size_t server_id_len;
    char server_id[SERVER_ID_MAX];
};

size_t hotline_server_id(struct view reply, char out[SERVER_ID_MAX])
{
    static const char name[] = "run_id:";
    const char *end = reply.at + reply.len;
    const char *from = memmem(reply.at, reply.len, name, sizeof(name) - 1);
    size_t len = 0;
    if (from == NULL)
        return 0;
    from += sizeof(name) - 1;
    while (from + len < end && len < SERVER_ID_MAX && from[len] > ' ') {
        out[len] = from[len];
        len++;
    }
    return len;
}

static void rest(struct hotline *h, struct view why)
{
    h->rests_until_ms = h->loop->now_ms + REST_MS;
    say(SAY_DEBUG, "hotline_rests", SAY_V("why", why));
}

// ---- the link's events ----------------------------------------------------------

static void came_up(void *ctx)
{
    struct hotline *h = ctx;
    link_command(h->link, 2, (const struct view[]){ VIEW("INFO"), VIEW("server") });
    h->asks_who = true;
}

static void went_down(void *ctx, const char *why)
{
    struct hotline *h = ctx;
    bool waits = hotline_is_waiting(h);
    h->is_blocked = h->asks_who = false;
    h->asked = h->answered = h->server_id_len = 0;
    say(SAY_DEBUG, "hotline_down", SAY_S("why", why)); // the other connection says it aloud
    if (waits)
        h->events.lost(h->ctx);
}

static void replied(void *ctx, struct view reply)
{
    struct hotline *h = ctx;
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (h->asks_who) {
        h->asks_who = false;
        h->server_id_len = hotline_server_id(reply, h->server_id);
    } else if (h->is_blocked) {
        h->is_blocked = false;
        // The ranges come all the same; of a key that holds no stream they say so too.
        if (node.type == RESP_ERROR && !view_starts(node.text, VIEW("WRONGTYPE")))
            rest(h, node.text);
    } else {
        h->events.answered(h->ctx, h->answered++, reply);
    }
}

static void pushed(void *ctx, struct view push) // nothing was asked for that pushes
{
    (void)ctx;
    (void)push;
}

// ---- for the owner --------------------------------------------------------------

struct hotline *hotline_new(struct loop *loop, const struct redis_url *url,
                            const struct link *beside, int64_t reply_timeout_ms,
                            const struct hotline_events *events, void *ctx, const char **why)
{
    const struct link_events link_events = {
        .up = came_up, .down = went_down, .reply = replied, .push = pushed
    };
    int64_t block_ms = reply_timeout_ms / 2 < BLOCK_MS_MAX ? reply_timeout_ms / 2 : BLOCK_MS_MAX;
    int64_t late_ms = reply_timeout_ms / 2 < LATE_MS_MAX ? reply_timeout_ms / 2 : LATE_MS_MAX;
    const struct link_options options = {
        .connect_timeout_ms = reply_timeout_ms,
        .reply_timeout_ms = block_ms + late_ms,
        .ping_ms = reply_timeout_ms, // XREAD ends by itself
        .backoff_min_ms = 200,
        .backoff_max_ms = 10000,
        .input_max = 1024 * MIB,
        .beside = beside,
    };
    struct hotline *h = must_alloc(sizeof(*h));
    *h = (struct hotline){ .loop = loop, .events = *events, .ctx = ctx, .block_ms = block_ms };
    h->link = link_new(loop, url, &options, &link_events, h, why);
    if (h->link)
        return h;
    free(h);
    return NULL;
}

void hotline_free(struct hotline *h)
{
    link_free(h->link);
    free(h);
}

bool hotline_is_waiting(const struct hotline *h)
{
    return h->is_blocked || h->answered < h->asked;
}

bool hotline_is_free(struct hotline *h, struct view server_id)
{
    if (!h->started)
        link_start(h->link);
    h->started = true;
    if (h->rests_until_ms > h->loop->now_ms || !link_is_up(h->link) || h->asks_who ||
        hotline_is_waiting(h))
        return false;
    if (view_eq(server_id, (struct view){ h->server_id, h->server_id_len }))
        return true;
    rest(h, VIEW("it leads to another server"));
    link_cut(h->link, "it leads to another server");
    return false;
}

static void send_xread(struct hotline *h, const struct hotline_wait *waits, size_t count)
{
    char block[24], ids[HOTLINE_WAITS_MAX][EVENTID_MAX + 1];
    size_t block_len = (size_t)snprintf(block, sizeof(block), "%lld", (long long)h->block_ms);
    struct view argv[6 + 2 * HOTLINE_WAITS_MAX] = {
        VIEW("XREAD"), VIEW("BLOCK"), { block, block_len },
        VIEW("COUNT"), VIEW("1"),     VIEW("STREAMS")
    };
    for (size_t i = 0; i < count; i++) {
        argv[6 + i] = waits[i].key;
        argv[6 + count + i] = (struct view){ ids[i], eventid_format(waits[i].from, ids[i]) };
    }
    link_command(h->link, 6 + 2 * count, argv);
}

void hotline_wait(struct hotline *h, const struct hotline_wait *waits, size_t count)
{
    CHECK(count > 0 && count <= HOTLINE_WAITS_MAX && !hotline_is_waiting(h));
    send_xread(h, waits, count);
    for (size_t i = 0; i < count; i++)
        link_xrange(h->link, waits[i].key, waits[i].from, waits[i].count);
    h->is_blocked = true;
    h->asked = count;
    h->answered = 0;
}

void hotline_flush(struct hotline *h)
{
    link_flush(h->link);
}

void hotline_cut(struct hotline *h)
{
    link_cut(h->link, "the other connection broke");
}
