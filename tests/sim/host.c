#include "host.h"

#include <stdio.h>

#define READ_BYTES (64 * KIB)
#define OUTPUT_WORK_US_MAX 200

struct visitor {
    struct list node, in_dirty;
    struct host *host;
    struct end *end;
    struct model_conn *conn;
};

static int64_t host_unix_us(const struct host *h)
{
    return world_wall_us() + h->clock_offset_us;
}

// ---- connections ----------------------------------------------------------------------

static void drop_visitor(struct visitor *v, bool reset)
{
    list_remove(&v->node);
    list_remove(&v->in_dirty);
    model_disconnect(v->conn);
    if (reset)
        end_reset(v->end);
    else
        end_close(v->end);
    free(v);
}

static void work(struct event *event);

static void plan_work(struct host *h)
{
    if (!event_is_set(&h->work) && !h->hangs && !h->is_down)
        event_set(&h->work, world->now_us + rng_between(&world->rng, 5, OUTPUT_WORK_US_MAX), work);
}

static void visitor_changed(struct end *e)
{
    struct visitor *v = e->owner;
    if (list_empty(&v->in_dirty))
        list_push(&v->host->dirty, &v->in_dirty);
    plan_work(v->host);
}

static bool accept_visitor(struct acceptor *a, struct end *e)
{
    struct host *h = CONTAINER_OF(a, struct host, acceptor);
    struct owner *was = memory_use(&world->memory);
    struct visitor *v = calloc(1, sizeof(*v));
    CHECK(v != NULL);
    v->host = h;
    v->end = e;
    v->conn = model_connect(h->model);
    memory_use(was);
    e->owner = v;
    e->changed = visitor_changed;
    list_push(&h->visitors, &v->node);
    list_init(&v->in_dirty);
    return true;
}

// ---- a turn ---------------------------------------------------------------------------

static void send_output(struct visitor *v)
{
    struct view out;
    while ((out = model_output(v->conn)).len > 0) {
        size_t n = end_write(v->end, out.at, out.len);
        if (n == 0)
            return;
        model_output_taken(v->conn, n);
    }
}

static void plan_due(struct host *h);

static void due(struct event *event)
{
    struct host *h = CONTAINER_OF(event, struct host, due);
    plan_work(h);
}

static void plan_due(struct host *h)
{
    int64_t at_us = model_next_due_us(h->model);
    event_cancel(&h->due);
    if (at_us != INT64_MAX)
        event_set(&h->due, world->now_us + (at_us - host_unix_us(h)), due);
}

static void send_all_output(struct host *h)
{
    LIST_EACH (node, &h->visitors) {
        struct visitor *v = LIST_ITEM(node, struct visitor, node);
        send_output(v);
        bool is_over = model_hangs_up(v->conn) && model_output(v->conn).len == 0;
        if (v->end->broken || end_at_end(v->end) || is_over)
            drop_visitor(v, false);
    }
    plan_due(h);
}

static void feed(struct visitor *v)
{
    static char bytes[READ_BYTES];
    size_t n = end_read(v->end, bytes, sizeof(bytes));
    if (n > 0)
        model_feed_within_turn(v->conn, bytes, n);
}

// Of the connections that have sent something some are read in this turn; of the rest Redis
// hears in the next.
static void work(struct event *event)
{
    struct host *h = CONTAINER_OF(event, struct host, work);
    if (h->hangs || h->is_down)
        return;
    struct owner *was = memory_use(&world->memory);
    model_set_time_us(h->model, host_unix_us(h));
    for (struct list *node; (node = list_pop(&h->dirty));) {
        struct visitor *v = LIST_ITEM(node, struct visitor, in_dirty);
        feed(v);
        if (end_waiting(v->end) > 0)
            list_push(&h->dirty, &v->in_dirty);
        if (rng_chance(&world->rng, 250))
            break;
    }
    model_end_turn(h->model);
    send_all_output(h);
    if (!list_empty(&h->dirty))
        plan_work(h);
    memory_use(was);
}

struct view host_command(struct host *h, size_t argc, const struct view *argv)
{
    static struct buffer text; // of the program's, and reused
    struct owner *was = memory_use(NULL);
    text.len = 0;
    buffer_printf(&text, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        buffer_printf(&text, "$%zu\r\n", argv[i].len);
        buffer_add_view(&text, argv[i]);
        buffer_add(&text, "\r\n", 2);
    }
    memory_use(&world->memory);
    model_output_taken(h->hand, model_output(h->hand).len);
    model_set_time_us(h->model, host_unix_us(h));
    model_feed(h->hand, text.at, text.len);
    send_all_output(h);
    memory_use(was);
    return model_output(h->hand);
}

// ---- its fate -------------------------------------------------------------------------

void host_init(struct host *h, int port, const char *version)
{
    *h = (struct host){ .life = world->seed + 1 };
    const struct model_options options = { .version = version,
                                           .life = h->life,
                                           .unix_us = host_unix_us(h) };
    h->model = model_new(&options);
    h->hand = model_connect(h->model);
    h->acceptor.port = port;
    h->acceptor.accept = accept_visitor;
    list_init(&h->visitors);
    list_init(&h->dirty);
    acceptor_open(&h->acceptor);
}

static void drop_visitors(struct host *h)
{
    LIST_EACH (node, &h->visitors)
        drop_visitor(LIST_ITEM(node, struct visitor, node), rng_chance(&world->rng, 500));
}

void host_done(struct host *h)
{
    drop_visitors(h);
    acceptor_close(&h->acceptor);
    event_cancel(&h->work);
    event_cancel(&h->due);
    if (h->saved)
        model_image_free(h->saved);
    model_free(h->model);
}

bool host_answers(const struct host *h)
{
    const struct model_switches *s = model_switches(h->model);
    return !h->hangs && !h->is_down && !s->loading && !s->master_down && !s->busy;
}

void host_hang(struct host *h, bool hangs)
{
    trace("redis: %s", hangs ? "hangs" : "goes on");
    h->hangs = hangs;
    if (!hangs)
        plan_work(h);
}

void host_kill(struct host *h)
{
    trace("redis: is killed");
    drop_visitors(h);
    model_disconnect(h->hand);
    h->hand = NULL;
    acceptor_close(&h->acceptor);
    event_cancel(&h->due);
    h->is_down = true;
}

void host_save(struct host *h)
{
    trace("redis: saves");
    if (h->saved)
        model_image_free(h->saved);
    h->saved = model_save(h->model);
}

void host_restart(struct host *h, enum host_data data)
{
    struct model_image *kept = data == HOST_KEEPS ? model_save(h->model) : NULL;
    const struct model_image *loads = data == HOST_KEEPS         ? kept
                                      : data == HOST_LOADS_SAVED ? h->saved
                                                                 : NULL;
    trace("redis: is up again, with %s", data == HOST_KEEPS         ? "all it had"
                                         : data == HOST_LOADS_SAVED ? "what it had saved"
                                                                    : "nothing");
    model_restart(h->model, ++h->life);
    model_set_time_us(h->model, host_unix_us(h));
    if (loads)
        model_load(h->model, loads);
    if (kept)
        model_image_free(kept);
    h->hand = model_connect(h->model);
    h->is_down = false;
    acceptor_open(&h->acceptor);
}

void host_step_clock(struct host *h, int64_t by_us)
{
    trace("redis: its clock steps by %lld us", (long long)by_us);
    h->clock_offset_us += by_us;
    plan_work(h);
}

void host_break_connections(struct host *h, bool silently)
{
    trace("redis: its connections %s", silently ? "go silent" : "are reset");
    LIST_EACH (node, &h->visitors) {
        struct visitor *v = LIST_ITEM(node, struct visitor, node);
        if (silently)
            connection_silence(v->end->connection);
        else
            drop_visitor(v, true);
    }
}
