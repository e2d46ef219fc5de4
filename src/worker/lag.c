#include "worker/lag.h"

#define LAG_EVERY_MS 1000 // from the beginning of a survey to that of the next, at least

struct lag_figures {
    uint64_t clients;           // that lag
    uint64_t events, bytes, ms; // of whoever lags most
};

struct lag_survey {
    uint32_t number;
    bool running;
    int64_t begun_ms;
    struct list todo;               // streams, by in_lagging
    struct lag_figures all, stream; // of all so far; of the stream that it is at
    const struct stream *at;
};

struct lag_survey *lag_new(void)
{
    struct lag_survey *survey = must_alloc(sizeof(*survey));
    *survey = (struct lag_survey){ .number = 0 };
    list_init(&survey->todo);
    return survey;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add(struct lag_figures *to, const struct lag_figures *one)
{
    to->clients += one->clients;
    to->events = larger(to->events, one->events);
    to->bytes = larger(to->bytes, one->bytes);
    to->ms = larger(to->ms, one->ms);
}

// When the event happened that it waits for. Where that is not known (its id is no time, and
// it was there before us) the lag has no age.
static uint64_t age_ms(const struct client *c, int64_t redis_now_ms)
{
    int64_t time_ms = log_item(&c->sub.stream->log, c->sub.cursor.seq)->time_ms;
    return time_ms > 0 && time_ms < redis_now_ms ? (uint64_t)(redis_now_ms - time_ms) : 0;
}

static void sample(struct clients *all, const struct client *c, int64_t redis_now_ms)
{
    if (!client_has_log(c) || client_has_caught_up(c) || c->sub.every_ms > 0)
        return; // with a pace it is not owed each event
    const struct log *l = &c->sub.stream->log;
    const struct lag_figures lag = {
        .clients = 1,
        .events = l->end_seq - c->sub.cursor.seq,
        .bytes = (uint64_t)log_count_bytes(l, c->sub.cursor),
        .ms = age_ms(c, redis_now_ms),
    };
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_EVENTS, lag.events, 1);
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_BYTES, lag.bytes, 1);
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_SECONDS, lag.ms * 1000, 1);
    add(&all->lag->stream, &lag);
}

// Whom it has seen goes to the end of the list, so the first that it has seen ends it.
// False: the work of this look is done, and some are left.
static bool survey_list(struct clients *all, struct list *list, int64_t redis_now_ms, size_t *work)
{
    while (!list_empty(list) && client_of(list->next)->sub.surveyed != all->lag->number) {
        struct client *c = client_of(list->next);
        if (*work == 0)
            return false;
        --*work;
        c->sub.surveyed = all->lag->number;
        list_move(list, &c->sub.node);
        sample(all, c, redis_now_ms);
    }
    return true;
}

static void finish_stream(struct clients *all, struct stream *s)
{
    struct lag_survey *survey = all->lag;
    atomic_store_explicit(&s->listening.lag_events, survey->stream.events, memory_order_relaxed);
    atomic_store_explicit(&s->listening.lag_ms, survey->stream.ms, memory_order_relaxed);
    add(&survey->all, &survey->stream);
    survey->at = NULL;
    list_remove(&s->in_lagging);
    if (!list_empty(&s->blocked) || !list_empty(&s->ready))
        stream_mark_lagging(s);
}

// Histories are in a stream's lists too, but follow nothing.
static uint64_t clients_let_in(const struct clients *all)
{
    uint64_t count = 0;
    for (size_t kind = 0; kind < CLIENT_KIND_HISTORY; kind++)
        count += metrics_get(all->metrics, METRIC_CLIENTS + kind);
    return count;
}

static void finish(struct clients *all)
{
    const struct lag_figures *found = &all->lag->all;
    uint64_t let_in = clients_let_in(all);
    uint64_t keep_up = let_in > found->clients ? let_in - found->clients : 0;
    metrics_set(all->metrics, METRIC_CLIENTS_LAGGING, found->clients);
    metrics_set(all->metrics, METRIC_CLIENT_LAG_MAX_EVENTS, found->events);
    metrics_set(all->metrics, METRIC_CLIENT_LAG_MAX_BYTES, found->bytes);
    metrics_set(all->metrics, METRIC_CLIENT_LAG_MAX_SECONDS, found->ms);
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_EVENTS, 0, keep_up);
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_BYTES, 0, keep_up);
    metrics_observe(all->metrics, HISTOGRAM_CLIENT_LAG_SECONDS, 0, keep_up);
    all->lag->running = false;
}

static void begin(struct clients *all)
{
    struct lag_survey *survey = all->lag;
    survey->number++;
    survey->running = true;
    survey->begun_ms = all->loop->now_ms;
    survey->all = (struct lag_figures){ 0 };
    list_take_all(&survey->todo, &all->streams->lagging);
}

void lag_look(struct clients *all)
{
    struct lag_survey *survey = all->lag;
    int64_t redis_now_ms = clients_redis_now_ms(all);
    size_t work = LAG_CLIENTS_PER_LOOK;
    if (!survey->running && all->loop->now_ms - survey->begun_ms < LAG_EVERY_MS)
        return;
    if (!survey->running)
        begin(all);
    for (; !list_empty(&survey->todo); work--) {
        struct stream *s = LIST_ITEM(survey->todo.next, struct stream, in_lagging);
        if (survey->at != s) // it may have ended since the last look
            survey->stream = (struct lag_figures){ 0 };
        survey->at = s;
        if (work == 0 || !survey_list(all, &s->blocked, redis_now_ms, &work) ||
            !survey_list(all, &s->ready, redis_now_ms, &work) || work == 0)
            return;
        finish_stream(all, s);
    }
    finish(all);
}
