#include "inside.h"

// Who has read a key and not heard since that it changed. As in Redis it goes by the key's
// name, whatever the database, and a connection that stops tracking, or goes, stays in
// here: its number is asked when the time comes.
struct tracked {
    struct name name;
    size_t count, cap;
    uint64_t *conns; // their ids
    char text[];
};

static struct tracked *find(struct model *m, struct view name)
{
    struct name *n = names_find(&m->tracked, 0, name);
    return n ? CONTAINER_OF(n, struct tracked, name) : NULL;
}

static struct tracked *find_or_add(struct model *m, struct view name)
{
    struct tracked *t = find(m, name);
    if (t)
        return t;
    t = must_alloc(sizeof(*t) + name.len);
    *t = (struct tracked){ 0 };
    memcpy(t->text, name.at, name.len);
    names_add(&m->tracked, &t->name, 0, (struct view){ t->text, name.len });
    return t;
}

void tracking_remember(struct model_conn *c, struct view name)
{
    struct tracked *t = find_or_add(c->model, name);
    for (size_t i = 0; i < t->count; i++)
        if (t->conns[i] == c->id)
            return;
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4;
        t->conns = realloc(t->conns, t->cap * sizeof(t->conns[0]));
        CHECK(t->conns != NULL);
    }
    t->conns[t->count++] = c->id;
}

static void forget(struct model *m, struct tracked *t)
{
    names_remove(&m->tracked, &t->name);
    free(t->conns);
    free(t);
}

static struct model_conn *conn_of(const struct model *m, uint64_t id)
{
    LIST_EACH (node, &m->conns)
        if (LIST_ITEM(node, struct model_conn, of_model)->id == id)
            return LIST_ITEM(node, struct model_conn, of_model);
    return NULL;
}

// What the connection whose command runs must hear itself waits until its answer is whole, and
// goes out if it then speaks RESP3.
static void write_push(struct model_conn *c, const struct tracked *t)
{
    if (c == NULL || !c->tracks)
        return;
    bool waits = c == c->model->current;
    if (!waits && c->resp < 3)
        return;
    struct buffer *out = waits ? &c->model->pushes : &c->output;
    buffer_add_view(out, VIEW(">2\r\n$10\r\ninvalidate\r\n"));
    if (t == NULL) {
        buffer_add_view(out, VIEW("_\r\n"));
        return;
    }
    reply_header(out, '*', 1);
    reply_bulk(out, t->name.text);
}

void tracking_invalidate(struct model *m, struct view name)
{
    struct tracked *t = m->tracked.len ? find(m, name) : NULL;
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        write_push(conn_of(m, t->conns[i]), t);
    forget(m, t);
}

void tracking_free(struct model *m)
{
    for (struct name *n = names_next(&m->tracked, NULL), *next; n; n = next) {
        next = names_next(&m->tracked, n);
        forget(m, CONTAINER_OF(n, struct tracked, name));
    }
}

void tracking_invalidate_all(struct model *m)
{
    LIST_EACH (node, &m->conns)
        write_push(LIST_ITEM(node, struct model_conn, of_model), NULL);
    tracking_free(m);
}

void tracking_flush(struct model *m)
{
    if (m->current->resp > 2)
        buffer_add_view(&m->current->output, buffer_view(&m->pushes));
    m->pushes.len = 0;
}
