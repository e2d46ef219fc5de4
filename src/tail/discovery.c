#include "tail/discovery.h"

#include "base/say.h"
#include "base/utf8.h"
#include "tail/subscribers.h"
#include "wire/glob.h"
#include "wire/resp.h"

#define SAY_EVERY_MS 10000

// A stream that matches somebody's pattern.
struct known {
    struct table_node by_id;
    struct list in_order, by_seen;
    uint64_t seen; // the round in which it was seen last
    struct name *name;
};

// A pattern of a worker.
struct watcher {
    struct list node;      // of discovery->watchers
    struct list in_untold; // of discovery->untold
    struct mailbox *to;
    struct pattern *pattern;
    struct known *next; // the first known stream that it has not been told of; NULL: all were
    bool is_heard;      // it has been told that streams are looked for
    size_t len;
    char text[];
};

static void due(struct deadline *d)
{
    (void)d; // it ends the loop's sleep, and discovery_is_due looks
}

void discovery_init(struct discovery *d, const struct config *config, struct loop *loop)
{
    *d = (struct discovery){ .config = config, .loop = loop, .next_seq = 1 };
    list_init(&d->watchers);
    list_init(&d->untold);
    list_init(&d->in_order);
    list_init(&d->by_seen);
    table_init(&d->known);
    deadline_init(&d->next_round);
    deadline_init(&d->pause);
    deadline_queue_init(&d->rounds, config->discover_seconds * MS_PER_S, due);
    deadline_queue_init(&d->pauses, SCAN_PAUSE_MS, due);
    loop_add_queue(loop, &d->rounds);
    loop_add_queue(loop, &d->pauses);
}

// ---- known streams ----------------------------------------------------------------

static struct known *known_of(struct list *in_order)
{
    return LIST_ITEM(in_order, struct known, in_order);
}

static struct known *known_after(struct discovery *d, struct known *k)
{
    return k->in_order.next == &d->in_order ? NULL : known_of(k->in_order.next);
}

static void forget(struct discovery *d, struct known *k)
{
    LIST_EACH (node, &d->untold) {
        struct watcher *w = LIST_ITEM(node, struct watcher, in_untold);
        if (w->next == k)
            w->next = known_after(d, k);
    }
    atomic_store_explicit(&k->name->gone, true, memory_order_relaxed);
    table_remove(&d->known, &k->by_id);
    list_remove(&k->in_order);
    list_remove(&k->by_seen);
    name_unref(k->name);
    free(k);
}

static bool somebody_wants(const struct discovery *d, struct view id)
{
    LIST_EACH (node, &d->watchers) {
        const struct watcher *w = LIST_ITEM(node, struct watcher, node);
        if (glob_match((struct view){ w->text, w->len }, id))
            return true;
    }
    return false;
}

static void say_full(struct discovery *d)
{
    uint64_t not_said;
    if (say_limited(&d->full, d->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_WARN, "discovery_full", SAY_I("streams", (int64_t)d->known.len),
            SAY_I("not_said", (int64_t)not_said),
            SAY_S("hint", "more streams match patterns than BOND_MAX_FOLLOWED: those found "
                          "after it was reached are not announced"));
}

static void add_known(struct discovery *d, struct view id)
{
    if (d->known.len >= (size_t)d->config->max_followed) {
        say_full(d);
        return;
    }
    struct known *k = must_alloc(sizeof(*k));
    *k = (struct known){ .seen = d->round, .name = name_new(id, d->next_seq++) };
    table_add(&d->known, &k->by_id, name_view(k->name));
    list_push(&d->in_order, &k->in_order);
    list_push(&d->by_seen, &k->by_seen);
    LIST_EACH (node, &d->watchers) {
        struct watcher *w = LIST_ITEM(node, struct watcher, node);
        if (w->next == NULL)
            w->next = k;
        list_move(&d->untold, &w->in_untold);
    }
}

// A round has seen this stream.
static void see(struct discovery *d, struct view id)
{
    struct table_node *found = table_find(&d->known, id);
    bool is_wanted = (found && !d->must_match) || somebody_wants(d, id);
    if (!is_wanted)
        return;
    if (found == NULL) {
        add_known(d, id);
        return;
    }
    struct known *k = TABLE_ITEM(found, struct known, by_id);
    k->seen = d->round;
    list_move(&d->by_seen, &k->by_seen);
}

// ---- watchers -----------------------------------------------------------------------

static struct watcher *find_watcher(const struct discovery *d, const struct pattern *pattern)
{
    LIST_EACH (node, &d->watchers) {
        struct watcher *w = LIST_ITEM(node, struct watcher, node);
        if (w->pattern == pattern)
            return w;
    }
    return NULL;
}

static void post_failure(struct mailbox *to, struct pattern *pattern, const char *reason)
{
    struct watch_failure *failure = must_alloc(sizeof(*failure));
    *failure = (struct watch_failure){ .letter.kind = LETTER_UNWATCHABLE,
                                       .pattern = pattern,
                                       .reason = reason };
    mailbox_post(to, &failure->letter);
}

static void remove_watcher(struct discovery *d, struct watcher *w)
{
    list_remove(&w->node);
    list_remove(&w->in_untold);
    free(w);
    d->watcher_count--;
    d->has_left = true;
}

// When nobody is left, all is forgotten, and nothing is asked any more.
static void rest_if_alone(struct discovery *d)
{
    if (d->watcher_count > 0)
        return;
    d->is_under_way = false;
    d->due_since_ms = 0;
    deadline_cancel(&d->next_round);
}

static void watch(struct discovery *d, const struct watch_request *request)
{
    if (d->watcher_count >= WATCHERS_MAX) {
        post_failure(request->from, request->pattern,
                     "the broker looks for as many patterns as it may");
        return;
    }
    struct watcher *w = must_alloc(sizeof(*w) + request->len);
    *w = (struct watcher){ .to = request->from, .pattern = request->pattern, .len = request->len };
    memcpy(w->text, request->text, request->len);
    w->next = list_empty(&d->in_order) ? NULL : known_of(d->in_order.next);
    list_push(&d->watchers, &w->node);
    list_init(&w->in_untold);
    if (w->next)
        list_push(&d->untold, &w->in_untold);
    d->watcher_count++;
    d->has_newcomer = true;
}

static void unwatch(struct discovery *d, const struct watch_request *request)
{
    struct watcher *w = find_watcher(d, request->pattern);
    if (w) // else it could not be watched, and the worker did not know yet
        remove_watcher(d, w);
    rest_if_alone(d);
    struct watch_end *end = must_alloc(sizeof(*end));
    *end = (struct watch_end){ .letter.kind = LETTER_UNWATCHED, .pattern = request->pattern };
    mailbox_post(request->from, &end->letter);
}

void discovery_take_letter(struct discovery *d, const struct watch_request *request)
{
    if (request->letter.kind == LETTER_WATCH)
        watch(d, request);
    else
        unwatch(d, request);
}

static void fail_all(struct discovery *d, const char *reason)
{
    LIST_EACH (node, &d->watchers) {
        struct watcher *w = LIST_ITEM(node, struct watcher, node);
        post_failure(w->to, w->pattern, reason);
        remove_watcher(d, w);
    }
    rest_if_alone(d);
}

// ---- what is asked ------------------------------------------------------------------

static bool is_forgetting(const struct discovery *d)
{
    struct list *oldest = d->by_seen.next;
    return oldest != &d->by_seen &&
           (d->watcher_count == 0 ||
            LIST_ITEM(oldest, struct known, by_seen)->seen < d->last_full_round);
}

bool discovery_is_due(struct discovery *d, bool reads_wait)
{
    bool is_time = d->is_under_way || d->has_newcomer || !deadline_armed(&d->next_round);
    if (d->watcher_count == 0 || d->is_asked || deadline_armed(&d->pause) || !is_time ||
        is_forgetting(d)) {
        d->due_since_ms = 0;
        return false;
    }
    if (d->due_since_ms == 0)
        d->due_since_ms = d->loop->now_ms;
    return !reads_wait || d->loop->now_ms - d->due_since_ms >= SCAN_POSTPONED_MS_MAX;
}

// What all patterns have in common at their beginning.
static struct view common_start(const struct discovery *d)
{
    struct view common = { 0 };
    bool is_first = true;
    LIST_EACH (node, &d->watchers) {
        const struct watcher *w = LIST_ITEM(node, struct watcher, node);
        struct view literal = glob_literal((struct view){ w->text, w->len });
        size_t same = 0;
        while (!is_first && same < common.len && same < literal.len &&
               common.at[same] == literal.at[same])
            same++;
        common = is_first ? literal : (struct view){ common.at, same };
        is_first = false;
    }
    return common;
}

// In Redis's own patterns more signs than the star mean something.
static void add_escaped(struct buffer *out, struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*?[]\\^-", text.at[i]) && text.at[i])
            buffer_add(out, "\\", 1);
        buffer_add(out, &text.at[i], 1);
    }
}

static void begin_round(struct discovery *d)
{
    d->round++;
    d->is_under_way = true;
    d->has_newcomer = false;
    d->must_match = d->has_left;
    d->has_left = false;
    d->cursor.len = d->match.len = 0;
    buffer_add_view(&d->cursor, VIEW("0"));
    add_escaped(&d->match, view_of(d->config->stream_prefix));
    add_escaped(&d->match, common_start(d));
    buffer_add_view(&d->match, VIEW("*"));
    deadline_arm(&d->rounds, &d->next_round, d->loop->now_ms);
}

struct scan discovery_ask(struct discovery *d)
{
    CHECK(!d->is_asked && d->watcher_count > 0);
    if (!d->is_under_way)
        begin_round(d);
    d->is_asked = true;
    d->due_since_ms = 0;
    deadline_arm(&d->pauses, &d->pause, d->loop->now_ms);
    return (struct scan){ .cursor = buffer_view(&d->cursor),
                          .match = buffer_view(&d->match),
                          .with_type = !d->cannot_type };
}

void discovery_lost(struct discovery *d)
{
    d->is_asked = d->is_under_way = d->cannot_type = false;
    d->due_since_ms = 0;
    deadline_cancel(&d->next_round); // as soon as the link is up again
}

// ---- what is answered ---------------------------------------------------------------

static void take_key(struct discovery *d, struct view key)
{
    struct view prefix = view_of(d->config->stream_prefix);
    if (!view_starts(key, prefix))
        return;
    struct view id = { key.at + prefix.len, key.len - prefix.len };
    if (id.len > 0 && id.len <= DISCOVERY_ID_BYTES_MAX && utf8_valid(id))
        see(d, id);
}

// The watchers hear that they are heard, with the first answer after their letter.
static void hear_all(struct discovery *d)
{
    LIST_EACH (node, &d->watchers) {
        struct watcher *w = LIST_ITEM(node, struct watcher, node);
        if (!w->is_heard)
            list_move(&d->untold, &w->in_untold);
    }
}

static void take_error(struct discovery *d, struct view error)
{
    uint64_t not_said;
    d->is_under_way = false; // what passes by itself is tried again with the next round
    if (!d->cannot_type && view_starts(error, VIEW("ERR syntax error"))) {
        d->cannot_type = true;
        deadline_cancel(&d->next_round);
        return;
    }
    if (say_limited(&d->refused, d->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_WARN, "discovery_refused", SAY_V("error", error),
            SAY_I("not_said", (int64_t)not_said),
            SAY_S("hint", "patterns need the right to SCAN in Redis"));
    if (view_starts(error, VIEW("NOPERM")))
        fail_all(d, "Redis does not let the broker look for streams: its user needs +scan");
    else if (view_starts(error, VIEW("ERR")))
        fail_all(d, "this Redis cannot be searched for streams: it refuses SCAN");
}

void discovery_take(struct discovery *d, struct view reply)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, cursor, keys, key;
    d->is_asked = false;
    if (!resp_next(&r, &node))
        return;
    if (node.type == RESP_ERROR) {
        take_error(d, node.text);
        return;
    }
    if (node.type != RESP_ARRAY || !resp_next(&r, &cursor) || cursor.text.len == 0 ||
        !resp_next(&r, &keys) || keys.type != RESP_ARRAY) {
        take_error(d, VIEW("ERR the answer to SCAN makes no sense"));
        return;
    }
    if (d->watcher_count == 0 || !d->is_under_way)
        return; // nobody waits for it any more
    hear_all(d);
    for (size_t i = 0; i < keys.count && resp_next(&r, &key); i++)
        take_key(d, key.text);
    d->cursor.len = 0;
    buffer_add_view(&d->cursor, cursor.text);
    if (view_eq(cursor.text, VIEW("0"))) {
        d->is_under_way = false;
        d->last_full_round = d->round; // what it has not seen is gone
    }
}

// ---- a turn -------------------------------------------------------------------------

// The next names that it has not been told and that match, at most `*steps` comparisons.
static size_t gather(struct discovery *d, struct watcher *w, struct name **names, size_t *steps)
{
    size_t count = 0;
    for (; w->next && count<FOUND_LETTER_MAX && * steps> 0; --*steps) {
        struct name *name = w->next->name;
        if (glob_match((struct view){ w->text, w->len }, name_view(name)))
            names[count++] = name;
        w->next = known_after(d, w->next);
    }
    return count;
}

static void tell(struct discovery *d, struct watcher *w, size_t *steps)
{
    struct name *names[FOUND_LETTER_MAX];
    size_t count = gather(d, w, names, steps);
    if (w->next == NULL)
        list_remove(&w->in_untold);
    if (count == 0 && w->is_heard)
        return;
    w->is_heard = true;
    size_t size = sizeof(struct finding) + count * sizeof(names[0]);
    struct finding *finding = must_alloc(size);
    *finding = (struct finding){ .letter = { .kind = LETTER_FOUND, .weight = size },
                                 .pattern = w->pattern,
                                 .count = count };
    for (size_t i = 0; i < count; i++) {
        finding->names[i] = name_ref(names[i]);
        finding->letter.weight += sizeof(*names[i]) + names[i]->len;
    }
    mailbox_post(w->to, &finding->letter);
}

// What a whole round did not see.
static void forget_some(struct discovery *d, size_t *steps)
{
    for (; is_forgetting(d) && *steps > 0; --*steps)
        forget(d, LIST_ITEM(d->by_seen.next, struct known, by_seen));
}

// A worker whose mailbox is full is told later.
bool discovery_turn(struct discovery *d)
{
    size_t steps = NAMES_PER_TURN;
    struct list untold;
    list_init(&untold);
    list_take_all(&untold, &d->untold);
    bool is_full = false;
    for (struct list *node; steps > 0 && (node = list_pop(&untold));) {
        struct watcher *w = LIST_ITEM(node, struct watcher, in_untold);
        list_push(&d->untold, &w->in_untold);
        bool has_room = mailbox_weight(w->to) < LETTERS_BYTES_MAX;
        is_full = is_full || !has_room;
        if (has_room)
            tell(d, w, &steps);
    }
    list_take_all(&untold, &d->untold); // those whose turn did not come are first
    list_take_all(&d->untold, &untold);
    forget_some(d, &steps);
    return is_forgetting(d) || (!list_empty(&d->untold) && !is_full);
}

void discovery_done(struct discovery *d)
{
    LIST_EACH (node, &d->watchers)
        remove_watcher(d, LIST_ITEM(node, struct watcher, node));
    while (!list_empty(&d->by_seen))
        forget(d, LIST_ITEM(d->by_seen.next, struct known, by_seen));
    table_done(&d->known);
    buffer_free(&d->cursor);
    buffer_free(&d->match);
}
