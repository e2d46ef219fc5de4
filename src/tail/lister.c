#include "tail/lister.h"

#include "wire/glob.h"

#define RATE_SECONDS 10 // events of so long make a stream's rate

void lister_init(struct lister *l)
{
    *l = (struct lister){ .making = NULL };
    list_init(&l->requests);
}

void lister_done(struct lister *l)
{
    if (l->making)
        listing_free(l->making);
    for (struct list *node; (node = list_pop(&l->requests));)
        free(LIST_ITEM(node, struct listing_request, letter.node));
}

void lister_take(struct lister *l, struct listing_request *request)
{
    list_push(&l->requests, &request->letter.node);
}

static bool matches(const struct listing_request *request, const struct feed *f)
{
    struct view pattern = { request->match, request->match_len };
    return pattern.len == 0 || glob_match(pattern, feed_id(f));
}

static struct listed describe(const struct feed *f, int64_t redis_now_ms, const char *source)
{
    struct ring_facts facts = ring_describe(&f->ring, redis_now_ms - RATE_SECONDS * MS_PER_S);
    bool known = facts.newest_ms > 0;
    int64_t age_ms = redis_now_ms - facts.newest_ms;
    return (struct listed){
        .listeners = facts.listeners,
        .rate_milli = facts.recent_events * 1000 / RATE_SECONDS,
        .first = facts.first,
        .last = f->ring.last,
        .age_ms = !known       ? -1
                  : age_ms > 0 ? age_ms
                               : 0,
        .ring_span_ms = known && facts.oldest_ms > 0 ? facts.newest_ms - facts.oldest_ms : -1,
        .ring_bytes = facts.bytes,
        .slowest_lag_events = facts.lag_events,
        .slowest_lag_ms = facts.lag_ms,
        .source = source,
        .id = feed_id(f),
    };
}

static void finish(struct lister *l)
{
    struct listing_request *request =
        LIST_ITEM(list_pop(&l->requests), struct listing_request, letter.node);
    listing_finish(l->making);
    l->making->letter.kind = LETTER_LISTED;
    mailbox_post(request->from, &l->making->letter);
    l->making = NULL;
    free(request);
}

// A feed that has been looked at goes to the end of the list, so the first such one ends
// the walk; one that is new is behind them.
bool lister_run(struct lister *l, struct feeds *feeds, const char *source)
{
    if (list_empty(&l->requests))
        return false;
    const struct listing_request *request =
        LIST_ITEM(l->requests.next, struct listing_request, letter.node);
    if (l->making == NULL) {
        l->making = listing_new(request);
        l->number++;
    }
    int64_t redis_now_ms = feeds_redis_now_ms(feeds);
    for (size_t i = 0; i < LISTER_FEEDS_PER_TURN && !list_empty(&feeds->all); i++) {
        struct feed *f = LIST_ITEM(feeds->all.next, struct feed, in_all);
        if (f->listed == l->number)
            break;
        f->listed = l->number;
        list_move(&feeds->all, &f->in_all);
        if (!matches(request, f))
            continue;
        const struct listed stream = describe(f, redis_now_ms, source);
        listing_add(l->making, &stream);
    }
    bool is_over = list_empty(&feeds->all) ||
                   LIST_ITEM(feeds->all.next, struct feed, in_all)->listed == l->number;
    if (is_over)
        finish(l);
    return !list_empty(&l->requests);
}
