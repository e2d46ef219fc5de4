#include "tail/answers.h"

#include <stdio.h>

#include "base/clock.h"
#include "tail/asks.h"
#include "tail/following.h"
#include "tail/hot.h"
#include "tail/telling.h"
#include "tail/trouble.h"

#define SAY_EVERY_MS 10000

static void has_data(struct feed *f)
{
    trouble_none(f);
    asks_learn_size(source_of(f), f->paging.entry_bytes);
}

static void answer_range(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (node.type == RESP_ERROR) {
        trouble_error(f, node.text);
    } else if (node.type != RESP_ARRAY) {
        link_cut(source_of(f)->link, "Redis answered XRANGE with something else");
    } else {
        feed_take_range(f, &r, &node);
        has_data(f);
    }
}

// ---- checks: a transaction of XINFO and XRANGE --------------------------------------

// What the commands of a transaction are answered with before EXEC is: QUEUED, or why they
// are refused. (Entries, where MULTI itself was refused.)
static void answer_queued(struct source *s, enum ask_kind kind, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (!resp_next(&r, &node) || node.type != RESP_ERROR || s->check_refused)
        return;
    s->check_refused = true;
    s->refused_range = kind == ASK_QUEUED_RANGE;
    snprintf(s->refused_why, sizeof(s->refused_why), VIEW_FMT, VIEW_ARG(node.text));
}

// A command of a check, but XRANGE, is answered with this error. Is it about the command,
// and not about this key (an ACL's sentence says so) or the whole server (a code of its
// own)? Then all is read without checks. If that was wrong, a plain XRANGE will tell.
static bool is_about_command(struct view error)
{
    if (view_starts(error, VIEW("NOPERM")))
        return memmem(error.at, error.len, " key", 4) == NULL;
    return view_starts(error, VIEW("ERR"));
}

// Go on without them: losses are found, but not counted.
static void switch_checks_off(struct feed *f, struct view error)
{
    struct source *s = source_of(f);
    uint64_t not_said;
    if (say_limited(&s->checks_off, s->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_WARN, "checks_off", SAY_V("error", error), SAY_NOT_SAID(not_said),
            SAY_S("hint",
                  "let the broker use MULTI, EXEC and XINFO, so that it finds lost events"));
    s->feeds.cannot_check = true;
    feed_mark_dirty(f);
}

// Why EXEC brought no results: what the first refused command was answered with, for EXEC
// says only that one was; or, where EXEC itself is refused, what stands in its answer.
static struct view why_no_results(const struct source *s, struct view exec_error)
{
    static const char discarded[] = "EXECABORT Transaction discarded because of: ";
    if (s->check_refused)
        return view_of(s->refused_why);
    if (!view_starts(exec_error, view_of(discarded)))
        return exec_error;
    return (struct view){ exec_error.at + strlen(discarded), exec_error.len - strlen(discarded) };
}

static void no_results(struct feed *f, struct view exec_error)
{
    struct source *s = source_of(f);
    struct view why = why_no_results(s, exec_error);
    if ((s->check_refused && s->refused_range) || !is_about_command(why)) {
        trouble_error(f, why);
        return;
    }
    switch_checks_off(f, why);
    if (s->check_refused || view_starts(exec_error, VIEW("EXECABORT")))
        return;
    s->exec_refused = true; // the transaction is open still, and all that comes is queued
    link_cut(s->link, "Redis refuses EXEC: a new connection goes on without it");
}

static bool is_error_of_info(const struct resp_node *info)
{
    return info->type == RESP_ERROR && !resp_is_error(info, VIEW("ERR no such key"));
}

// The results of XINFO, of XREVRANGE if it was asked, and of XRANGE.
static void take_results(struct feed *f, struct resp_reader *r, bool has_older)
{
    struct resp_node info_node, node;
    if (!resp_next(r, &info_node))
        return;
    struct resp_reader info_reader = *r;
    struct stream_info info = stream_info_read(&info_reader, &info_node);
    resp_skip(r, &info_node);
    if (has_older && resp_next(r, &node))
        feed_take_older(f, r, &node);
    if (!resp_next(r, &node))
        return;
    if (node.type == RESP_ERROR) {
        trouble_error(f, node.text);
    } else if (is_error_of_info(&info_node) && is_about_command(info_node.text)) {
        switch_checks_off(f, info_node.text);
    } else if (is_error_of_info(&info_node)) {
        trouble_error(f, info_node.text);
    } else {
        feed_take_check(f, r, &info, &node);
        has_data(f);
    }
}

static void answer_check(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&r, &node));
    if (node.type == RESP_ERROR)
        no_results(f, node.text);
    else if (node.type != RESP_ARRAY || node.count < 2)
        link_cut(source_of(f)->link, "Redis answered EXEC with something else");
    else
        take_results(f, &r, node.count == 3);
}

// ---- replies ----------------------------------------------------------------------

static void answer_older(struct feed *f, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    if (resp_next(&r, &node))
        feed_take_older(f, &r, &node);
}

static void answer_time(struct source *s, int64_t sent_us, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, seconds, micros;
    uint64_t sec, us;
    s->clock_known = true; // or never will be: then ours has to do
    if (!resp_next(&r, &node) || node.type != RESP_ARRAY || node.count != 2 ||
        !resp_next(&r, &seconds) || !resp_next(&r, &micros) || !view_u64(seconds.text, &sec) ||
        !view_u64(micros.text, &us)) {
        atomic_store(&s->pulse->redis_ahead_ms, 0);
        return;
    }
    int64_t redis_ms = (int64_t)(sec * MS_PER_S + us / 1000);
    atomic_store(&s->pulse->redis_ahead_ms,
                 skew_learn(&s->skew, sent_us / 1000, clock_mono_ms(), redis_ms));
}

// All that Redis pushed before it answered has been taken: a stream that is not dirty now
// has not changed since it was read. But an error is no sign that Redis can be read (BUSY: a
// script runs, and may be changing streams): then all are read.
static void answer_fence(struct source *s, uint64_t epoch, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node answer;
    if (!resp_next(&r, &answer) || answer.type == RESP_ERROR) {
        source_mark_all_dirty(s);
        return;
    }
    LIST_EACH (node, &s->feeds.sweep) {
        struct feed *f = LIST_ITEM(node, struct feed, in_sweep);
        bool is_up_to_date = f->ring.ready && list_empty(&f->in_dirty) && !f->asked && !f->check &&
                             !f->unsure && f->healthy && !deadline_armed(&f->recheck);
        if (is_up_to_date) {
            f->ring.epoch = epoch;
            feed_mark_changed(f);
        } else {
            feed_mark_dirty(f);
        }
    }
}

static void answer_read(struct ask a, struct view reply)
{
    struct source *s = source_of(a.feed);
    a.feed->asked = false;
    telling_read_answered(a.feed);
    if (a.feed->dead)
        following_drop(a.feed);
    else if (a.kind == ASK_RANGE)
        answer_range(a.feed, reply);
    else
        answer_check(a.feed, reply);
    s->check_refused = false;
}

void answers_take(struct source *s, struct view reply)
{
    struct ask a = asks_take(s);
    if (a.sent_us > 0)
        metrics_observe(s->metrics, HISTOGRAM_REDIS_ROUND_TRIP,
                        (uint64_t)(clock_mono_us() - a.sent_us), 1);
    switch (a.kind) {
    case ASK_TIME: answer_time(s, a.sent_us, reply); break;
    case ASK_FENCE: answer_fence(s, a.epoch, reply); break;
    case ASK_SCAN: discovery_take(s->discovery, reply); break;
    case ASK_SERVER: s->server_id_len = hotline_server_id(reply, s->server_id); break;
    case ASK_QUEUED:
    case ASK_QUEUED_RANGE: answer_queued(s, a.kind, reply); break;
    case ASK_OLDER: // the range is still to come
        if (!a.feed->dead)
            answer_older(a.feed, reply);
        break;
    case ASK_RANGE:
    case ASK_CHECK: answer_read(a, reply); break;
    }
    source_cut_for_bad_reply(s);
}

// Feeds that were dropped meanwhile go now. The others ask for less: what broke the
// connection may have been that too much was asked (our patience ended, or Redis's or a
// proxy's limit of what it keeps for one client).
void answers_lost(struct source *s)
{
    while (s->ask_len > 0) {
        struct ask a = asks_take(s);
        if (a.kind != ASK_RANGE && a.kind != ASK_CHECK)
            continue;
        a.feed->asked = false;
        telling_read_answered(a.feed);
        paging_ask_less(&a.feed->paging);
        if (a.feed->dead)
            following_drop(a.feed);
    }
    s->check_refused = false;
    discovery_lost(s->discovery);
}

// ---- pushes -----------------------------------------------------------------------

// All keys went at once. Others may stand in their place when they are read: a replica that
// takes over all that its primary has goes this way too, and what that one lacks, or has as
// we had it, is the same stream's.
static void all_went(struct source *s)
{
    LIST_EACH (node, &s->feeds.sweep)
        feed_doubt(LIST_ITEM(node, struct feed, in_sweep));
    source_mark_all_dirty(s);
}

// ["invalidate", [key, …]], or null instead of the keys when all of them went
// (FLUSHALL, FLUSHDB, a replica that is filled anew).
void answers_take_push(struct source *s, struct view push)
{
    struct resp_reader r = resp_open(push);
    struct resp_node node, key;
    struct view prefix = view_of(s->config->stream_prefix);
    if (!resp_next(&r, &node) || !resp_next(&r, &node) || !view_eq(node.text, VIEW("invalidate")) ||
        !resp_next(&r, &node))
        return;
    if (node.type == RESP_NULL)
        all_went(s);
    for (size_t i = 0; node.type == RESP_ARRAY && i < node.count && resp_next(&r, &key); i++) {
        if (!view_starts(key.text, prefix))
            continue;
        struct view id = { key.text.at + prefix.len, key.text.len - prefix.len };
        struct feed *f = following_find(s->following, id);
        if (f && f->hot)
            hot_changed(f);
        else if (f && !telling_read_will_show(f))
            feed_mark_dirty(f);
    }
}
