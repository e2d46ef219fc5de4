#include "inside.h"

static bool waits_for(const struct model_conn *c, const struct key *k)
{
    for (size_t i = 0; i < c->wait_count; i++)
        if (c->waits[i].key == k)
            return true;
    return false;
}

void block_on(struct model_conn *c, const struct view *names, const struct eventid *after,
              size_t count, size_t read_max, int64_t until_ms)
{
    CHECK(c->waits == NULL && count > 0);
    c->waits = must_alloc(count * sizeof(*c->waits));
    c->wait_count = 0;
    c->read_max = read_max;
    c->until_ms = until_ms;
    for (size_t i = 0; i < count; i++) {
        struct key *k = key_of(c->model, c->db, names[i]);
        if (waits_for(c, k))
            continue; // named twice: the first one counts
        struct wait *w = &c->waits[c->wait_count++];
        *w = (struct wait){ .conn = c, .key = k, .after = after[i] };
        list_push(&k->waits, &w->of_key);
    }
}

static void stop_waiting(struct model_conn *c)
{
    for (size_t i = 0; i < c->wait_count; i++) {
        list_remove(&c->waits[i].of_key);
        key_settle(c->model, c->waits[i].key);
    }
    free(c->waits);
    c->waits = NULL;
    c->wait_count = 0;
}

static void unblock(struct model_conn *c)
{
    stop_waiting(c);
    if (list_empty(&c->in_unblocked))
        list_push(&c->model->unblocked, &c->in_unblocked);
}

void block_forget(struct model_conn *c)
{
    if (c->waits)
        stop_waiting(c);
    list_remove(&c->in_unblocked);
}

void block_signal(struct model *m, struct key *k)
{
    if (!list_empty(&k->waits) && list_empty(&k->in_ready))
        list_push(&m->ready, &k->in_ready);
}

// The last id counts, not what is there: an entry that was added and deleted in one
// transaction ends the wait with an empty array.
static void serve(struct wait *w)
{
    struct model_conn *c = w->conn;
    const struct xstream *s = w->key->stream;
    if (eventid_cmp(s->last_id, w->after) <= 0)
        return;
    if (c->resp == 2)
        buffer_add_view(&c->output, VIEW("*1\r\n*2\r\n"));
    else
        buffer_add_view(&c->output, VIEW("%1\r\n"));
    reply_bulk(&c->output, w->key->name.text);
    xstream_write_range(s, eventid_behind(w->after), (struct eventid){ UINT64_MAX, UINT64_MAX },
                        c->read_max, false, &c->output);
    unblock(c);
}

void block_serve(struct model *m)
{
    for (struct list *node; (node = list_pop(&m->ready));) {
        struct key *k = LIST_ITEM(node, struct key, in_ready);
        list_push(&m->ready, &k->in_ready); // so that it stays while its waits go
        if (k->type == KEY_STREAM)
            LIST_EACH (at, &k->waits)
                serve(LIST_ITEM(at, struct wait, of_key));
        list_remove(&k->in_ready);
        key_settle(m, k);
    }
}

static struct model_conn *first_due(const struct model *m)
{
    struct model_conn *first = NULL;
    LIST_EACH (node, &m->conns) {
        struct model_conn *c = LIST_ITEM(node, struct model_conn, of_model);
        if (c->waits && c->until_ms && (first == NULL || c->until_ms < first->until_ms))
            first = c;
    }
    return first;
}

// Redis ends it when the millisecond has passed.
void block_end_due(struct model *m)
{
    for (struct model_conn *c; (c = first_due(m)) && c->until_ms < m->now_us / US_PER_MS;) {
        reply_null_array(&c->output, c->resp);
        unblock(c);
    }
}

int64_t model_next_due_us(const struct model *m)
{
    const struct model_conn *c = first_due(m);
    return c && c->until_ms < INT64_MAX / US_PER_MS ? (c->until_ms + 1) * US_PER_MS : INT64_MAX;
}

void block_end_all(struct model *m, const char *error)
{
    LIST_EACH (node, &m->conns) {
        struct model_conn *c = LIST_ITEM(node, struct model_conn, of_model);
        if (c->waits == NULL)
            continue;
        reply_error(&c->output, error);
        unblock(c);
        c->hangs_up = true;
    }
}

bool model_is_blocked(const struct model_conn *c)
{
    return c->waits != NULL;
}
