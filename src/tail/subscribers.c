#include "tail/subscribers.h"

#include <stdio.h>

struct subscription {
    struct list node;
    struct mailbox *to;
    struct stream *stream;
    const struct listening *listening;
    uint64_t told_first_seq, told_end_seq, told_epoch;
    struct eventid told_last;
    bool told_ready;
    enum refresh refresh;
};

static struct subscription *find(const struct list *all, const struct request *request)
{
    LIST_EACH (node, all) {
        struct subscription *s = LIST_ITEM(node, struct subscription, node);
        if (s->stream == request->stream)
            return s;
    }
    return NULL;
}

void subscribers_add(struct list *all, const struct request *request, uint64_t told_end_seq)
{
    struct subscription *s = must_alloc(sizeof(*s));
    *s = (struct subscription){ .to = request->from,
                                .stream = request->stream,
                                .listening = request->listening,
                                .told_end_seq = told_end_seq };
    list_push(all, &s->node);
}

bool subscribers_remove(struct list *all, const struct request *request)
{
    struct subscription *s = find(all, request);
    if (s == NULL)
        return false;
    list_remove(&s->node);
    free(s);
    return true;
}

static void post_failure(struct mailbox *to, struct stream *stream, int close_code,
                         const char *reason)
{
    struct failure *failure = must_alloc(sizeof(*failure));
    *failure = (struct failure){ .letter.kind = LETTER_FAILED,
                                 .stream = stream,
                                 .close_code = close_code };
    snprintf(failure->reason, sizeof(failure->reason), "%s", reason);
    mailbox_post(to, &failure->letter);
}

void subscribers_fail(struct list *all, int close_code, const char *reason)
{
    for (struct list *node; (node = list_pop(all));) {
        struct subscription *s = LIST_ITEM(node, struct subscription, node);
        post_failure(s->to, s->stream, close_code, reason);
        free(s);
    }
}

void subscriber_refuse(const struct request *request, int close_code, const char *reason)
{
    post_failure(request->from, request->stream, close_code, reason);
}

bool subscribers_want_refresh(struct list *all, const struct request *request)
{
    struct subscription *s = find(all, request);
    if (s)
        s->refresh = REFRESH_WANTED;
    return s != NULL;
}

void subscribers_move_refresh(struct list *all, enum refresh from, enum refresh to)
{
    LIST_EACH (node, all) {
        struct subscription *s = LIST_ITEM(node, struct subscription, node);
        if (s->refresh == from)
            s->refresh = to;
    }
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void subscribers_count(const struct list *all, uint64_t *clients, uint64_t *lag_events,
                       uint64_t *lag_ms)
{
    LIST_EACH (node, all) {
        const struct listening *l = LIST_ITEM(node, struct subscription, node)->listening;
        *clients += atomic_load_explicit(&l->clients, memory_order_relaxed);
        *lag_events =
            larger(*lag_events, atomic_load_explicit(&l->lag_events, memory_order_relaxed));
        *lag_ms = larger(*lag_ms, atomic_load_explicit(&l->lag_ms, memory_order_relaxed));
    }
}

// ---- telling --------------------------------------------------------------------

// The extents that a subscriber has not been told of, or not to their end.
static size_t first_untold(const struct log *l, uint64_t told_end_seq)
{
    size_t i = l->len;
    while (i > 0 && log_extent(l, i - 1)->first_seq + log_extent(l, i - 1)->count > told_end_seq)
        i--;
    return i;
}

static bool has_news_for(const struct tidings *t, const struct subscription *s)
{
    return s->told_end_seq != t->log->end_seq || s->told_first_seq != t->log->first_seq ||
           s->told_ready != t->ready || s->told_epoch != t->epoch ||
           eventid_cmp(s->told_last, t->last) != 0 || s->refresh == REFRESH_DONE;
}

static struct news *news_for(const struct tidings *t, const struct subscription *s)
{
    const struct log *l = t->log;
    size_t untold = first_untold(l, s->told_end_seq);
    size_t count = l->len - untold;
    uint64_t runs[LOG_OLDER_RUNS_MAX + 1];
    size_t run_count = log_runs_from(l, s->told_end_seq, runs);
    size_t size = sizeof(struct news) + count * sizeof(struct extent) + run_count * sizeof(runs[0]);
    struct news *news = must_alloc(size);
    *news = (struct news){
        .letter = { .kind = LETTER_NEWS, .weight = size },
        .stream = s->stream,
        .first_seq = l->first_seq,
        .end_seq = l->end_seq,
        .last = t->last,
        .floor = t->floor,
        .epoch = t->epoch,
        .ready = t->ready,
        .refreshed = s->refresh == REFRESH_DONE,
        .run_count = run_count,
        .extent_count = count,
    };
    memcpy(news_runs(news), runs, run_count * sizeof(runs[0]));
    for (size_t i = 0; i < count; i++) {
        struct extent *extent = &news->extents[i];
        *extent = *log_extent(l, untold + i);
        segment_ref(extent->segment);
        if (extent->first_seq >= s->told_end_seq) // else an earlier letter bears its weight
            news->letter.weight += extent->segment->size;
    }
    return news;
}

// False: its worker has enough to read.
static bool tell(const struct tidings *t, struct subscription *s)
{
    if (!has_news_for(t, s))
        return true;
    if (mailbox_weight(s->to) >= LETTERS_BYTES_MAX)
        return false;
    mailbox_post(s->to, &news_for(t, s)->letter);
    s->told_first_seq = t->log->first_seq;
    s->told_end_seq = t->log->end_seq;
    s->told_epoch = t->epoch;
    s->told_last = t->last;
    s->told_ready = t->ready;
    if (s->refresh == REFRESH_DONE)
        s->refresh = REFRESH_NONE;
    return true;
}

bool subscribers_tell(struct list *all, const struct tidings *tidings)
{
    bool told_all = true;
    LIST_EACH (node, all)
        told_all = tell(tidings, LIST_ITEM(node, struct subscription, node)) && told_all;
    return told_all;
}

bool subscribers_know(const struct list *all, uint64_t end_seq)
{
    LIST_EACH (node, all)
        if (LIST_ITEM(node, struct subscription, node)->told_end_seq < end_seq)
            return false;
    return true;
}
