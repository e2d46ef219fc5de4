#include "tail/answers.h"

#include "base/clock.h"
#include "tail/asks.h"
#include "tail/following.h"
#include "tail/hot.h"
#include "wire/ws.h"

#define RETRY_MS 250 // a stream whose read failed for now is read again
#define SAY_EVERY_MS 10000

// ---- errors -----------------------------------------------------------------------

static void refuse_key(struct feed *f)
{
    following_fail(f, WS_CLOSE_FAILURE, "Redis does not let the broker read this stream (NOPERM)");
}

// A command of a transaction is queued, or refused: by an ACL for its key, or for
// what it is. NOPERM says which in its sentence alone.
static void answer_queued(struct source *s, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node) && resp_is_error(&node, VIEW("NOPERM")) &&
        memmem(node.text.at, node.text.len, " key", 4) != NULL)
        s->key_refused = true;
}

// Errors about the whole server that pass by themselves: loading, busy, failing over.
static bool is_trouble(const struct resp_node *error)
{
    static const char *const codes[] = { "LOADING", "MASTERDOWN", "BUSY", "CLUSTERDOWN",
                                         "TRYAGAIN" };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (resp_is_error(error, view_of(codes[i])))
            return true;
    return false;
}

static void read_failed(struct feed *f, const struct resp_node *error)
{
    struct source *s = source_of(f);
    uint64_t missed;
    if (say_limited(&s->read_failed, s->loop->now_ms, SAY_EVERY_MS, &missed))
        say(SAY_WARN, "read_failed", SAY_V("stream", feed_id(f)), SAY_V("error", error->text),
            SAY_I("not_said", (int64_t)missed));

    if (resp_is_error(error, VIEW("WRONGTYPE"))) {
        following_fail(f, WS_CLOSE_FAILURE,
                       "the stream's key in Redis holds no stream (WRONGTYPE)");
    } else if (resp_is_error(error, VIEW("NOPERM"))) {
        refuse_key(f);
    } else if (is_trouble(error)) {
        s->troubled = true;
        feed_mark_dirty(f);
        if (!deadline_armed(&s->retry))
            deadline_arm(&s->retries, &s->retry, s->loop->now_ms);
    } // anything else is this key's: the sweep reads it again
}

static void retry_due(struct deadline *d)
{
    struct source *s = CONTAINER_OF(d, struct source, retry);
    // Else no feed is left to find out.
    s->troubled = s->troubled && !list_empty(&s->feeds.sweep);
}

// ---- replies ----------------------------------------------------------------------

static void answer_range(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    source_of(f)->troubled = false;
    feed_take_range(f, &r, &node);
    asks_learn_size(source_of(f), f->paging.entry_bytes);
}

static void answer_check(struct feed *f, struct view reply)
{
    struct source *s = source_of(f);
    struct resp_reader r = resp_open(reply);
    struct resp_node node, info_node;
    CHECK(resp_next(&r, &node));
    bool key_refused = s->key_refused;
    s->key_refused = false;
    if (resp_is_error(&node, VIEW("EXECABORT")) && key_refused) {
        refuse_key(f);
        return;
    }
    if (resp_is_error(&node, VIEW("EXECABORT")) || resp_is_error(&node, VIEW("ERR"))) {
        // A command of the four was refused when it was queued. Go on without.
        say(SAY_WARN, "checks_off", SAY_V("error", node.text),
            SAY_S("hint",
                  "let the broker use MULTI, EXEC and XINFO, so that it finds lost events"));
        s->feeds.cannot_check = true;
        feed_mark_dirty(f);
        return;
    }
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    if (node.type != RESP_ARRAY || node.count < 2 || !resp_next(&r, &info_node)) {
        link_cut(s->link, "Redis answered EXEC with something else");
        return;
    }
    bool has_older = node.count == 3;
    struct resp_reader info_reader = r;
    struct stream_info info = stream_info_read(&info_reader, &info_node);
    resp_skip(&r, &info_node);
    if (has_older && resp_next(&r, &node))
        feed_take_older(f, &r, &node);
    if (!resp_next(&r, &node))
        return;
    if (node.type == RESP_ERROR) {
        read_failed(f, &node);
        return;
    }
    s->troubled = false;
    feed_take_check(f, &r, &info, &node);
    asks_learn_size(s, f->paging.entry_bytes);
}

static void answer_older(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node))
        feed_take_older(f, &r, &node);
}

static void answer_time(struct source *s, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, seconds, micros;
    uint64_t sec, us;
    s->clock_known = true; // or never will be: then ours has to do
    if (!resp_next(&r, &node) || node.type != RESP_ARRAY || node.count != 2 ||
        !resp_next(&r, &seconds) || !resp_next(&r, &micros) || !view_u64(seconds.text, &sec) ||
        !view_u64(micros.text, &us))
        return;
    // Redis read its clock somewhere between the question and the answer.
    int64_t now_ms = clock_wall_ms();
    int64_t middle_ms = s->time_asked_ms + (now_ms - s->time_asked_ms) / 2;
    atomic_store(&s->pulse->skew_ms, (int64_t)(sec * 1000 + us / 1000) - middle_ms);
}

static void answer_read(struct ask a, struct view reply)
{
    a.feed->asked = false;
    if (a.feed->dead)
        following_drop(a.feed);
    else if (a.kind == ASK_RANGE)
        answer_range(a.feed, reply);
    else
        answer_check(a.feed, reply);
}

void answers_take(struct source *s, struct view reply)
{
    struct ask a = asks_take(s);
    switch (a.kind) {
    case ASK_TIME: answer_time(s, reply); break;
    case ASK_SERVER: s->server_id_len = hotline_server_id(reply, s->server_id); break;
    case ASK_NOTHING: answer_queued(s, reply); break;
    case ASK_OLDER: // the range is still to come
        if (!a.feed->dead)
            answer_older(a.feed, reply);
        break;
    case ASK_RANGE:
    case ASK_CHECK: answer_read(a, reply); break;
    }
    source_cut_for_nonsense(s);
}

// Feeds that were dropped meanwhile go now. The others ask for less: what broke the
// connection may have been that too much was asked (our patience ended, or Redis's or a
// proxy's limit of what it keeps for one client).
void answers_lost(struct source *s)
{
    while (s->ask_len > 0) {
        struct ask a = asks_take(s);
        if (a.feed == NULL || a.kind == ASK_OLDER)
            continue;
        a.feed->asked = false;
        paging_ask_less(&a.feed->paging);
        if (a.feed->dead)
            following_drop(a.feed);
    }
}

// ---- pushes -----------------------------------------------------------------------

// ["invalidate", [key, …]], or null instead of the keys when all of them went
// (FLUSHALL, FLUSHDB).
void answers_take_push(struct source *s, struct view push)
{
    struct resp_reader r = resp_open(push);
    struct resp_node node, key;
    struct view prefix = view_of(s->config->stream_prefix);
    if (!resp_next(&r, &node) || !resp_next(&r, &node) || !view_eq(node.text, VIEW("invalidate")) ||
        !resp_next(&r, &node))
        return;
    if (node.type == RESP_NULL)
        source_mark_all_dirty(s);
    for (size_t i = 0; node.type == RESP_ARRAY && i < node.count && resp_next(&r, &key); i++) {
        if (!view_starts(key.text, prefix))
            continue;
        struct view id = { key.text.at + prefix.len, key.text.len - prefix.len };
        struct feed *f = following_find(s->following, id);
        if (f && f->hot)
            hot_changed(f);
        else if (f)
            feed_mark_dirty(f);
    }
}

void answers_init(struct source *s)
{
    source_add_queue(s, &s->retries, RETRY_MS, retry_due);
}
