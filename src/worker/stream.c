#include "worker/stream.h"

void streams_init(struct streams *s, struct mailbox *self, struct mailbox *tail)
{
    *s = (struct streams){ .self = self, .tail = tail };
    table_init(&s->by_id);
    list_init(&s->failed);
    list_init(&s->changed);
    list_init(&s->lagging);
}

static void post_request(const struct stream *s, enum letter_kind kind)
{
    struct request *r = must_alloc(sizeof(*r) + s->id_len);
    *r = (struct request){
        .letter.kind = kind,
        .from = s->all->self,
        .stream = (struct stream *)(uintptr_t)s,
        .listening = &s->listening,
        .form = s->form,
        .id_len = s->id_len,
    };
    memcpy(r->id, stream_id(s).at, s->id_len);
    mailbox_post(s->all->tail, &r->letter);
}

static struct stream *stream_new(struct streams *all, struct view key)
{
    struct stream *s = must_alloc(sizeof(*s) + key.len);
    *s = (struct stream){ .all = all, .id_len = key.len - 1, .epoch_due = all->epoch_due };
    memcpy(s->key, key.at, key.len);
    s->form = (enum form)key.at[0];
    list_init(&s->in_failed);
    list_init(&s->in_changed);
    list_init(&s->in_lagging);
    list_init(&s->waiting);
    list_init(&s->idle);
    list_init(&s->ready);
    list_init(&s->blocked);
    list_init(&s->paces);
    list_init(&s->seats_waiting);
    list_init(&s->seats_idle);
    list_init(&s->seats_ready);
    deadline_init(&s->pause);
    log_init(&s->log);
    table_add(&all->by_id, &s->by_id, (struct view){ s->key, key.len });
    post_request(s, LETTER_FOLLOW);
    return s;
}

void stream_free(struct stream *s)
{
    CHECK(s->clients == 0);
    list_remove(&s->in_changed);
    list_remove(&s->in_lagging);
    deadline_cancel(&s->pause);
    log_done(&s->log);
    free(s);
}

void streams_done(struct streams *s)
{
    for (struct table_node *node; (node = table_any(&s->by_id));) {
        table_remove(&s->by_id, node);
        stream_free(TABLE_ITEM(node, struct stream, by_id));
    }
    table_done(&s->by_id);
}

static struct stream *find(struct streams *s, enum form form, struct view id, bool make)
{
    struct buffer key = { 0 };
    buffer_add(&key, &(char){ (char)form }, 1);
    buffer_add_view(&key, id);
    struct table_node *found = table_find(&s->by_id, buffer_view(&key));
    struct stream *stream = found  ? TABLE_ITEM(found, struct stream, by_id)
                            : make ? stream_new(s, buffer_view(&key))
                                   : NULL;
    buffer_free(&key);
    return stream;
}

struct stream *streams_find(struct streams *s, enum form form, struct view id)
{
    return find(s, form, id, true);
}

struct stream *streams_known(struct streams *s, enum form form, struct view id)
{
    return find(s, form, id, false);
}

// Out of the table, so that the next client begins anew; in memory until the tail
// has said farewell, for letters that name it may be under way.
static void unfollow(struct stream *s)
{
    if (!s->failed)
        table_remove(&s->all->by_id, &s->by_id);
    list_remove(&s->in_failed);
    list_remove(&s->in_changed);
    list_remove(&s->in_lagging);
    deadline_cancel(&s->pause);
    log_done(&s->log);
    post_request(s, LETTER_UNFOLLOW);
}

void stream_join(struct stream *s)
{
    s->clients++;
}

void stream_leave(struct stream *s)
{
    CHECK(s->clients > 0);
    if (--s->clients == 0)
        unfollow(s);
}

void stream_count_listener(struct stream *s, int change)
{
    unsigned now = atomic_load_explicit(&s->listening.clients, memory_order_relaxed);
    atomic_store_explicit(&s->listening.clients, now + (unsigned)change, memory_order_relaxed);
    s->all->listeners += (size_t)change;
}

void stream_fail(struct stream *s)
{
    if (s->failed)
        return;
    s->failed = true;
    table_remove(&s->all->by_id, &s->by_id);
    list_push(&s->all->failed, &s->in_failed);
}

struct stream *streams_any(const struct streams *s)
{
    struct table_node *node = table_any(&s->by_id);
    if (node)
        return TABLE_ITEM(node, struct stream, by_id);
    return list_empty(&s->failed) ? NULL : LIST_ITEM(s->failed.next, struct stream, in_failed);
}

struct list *stream_list(struct stream *s, size_t i)
{
    struct list *const lists[] = { &s->waiting, &s->idle, &s->ready, &s->blocked };
    return i < ARRAY_LEN(lists) ? lists[i] : NULL;
}

struct list *stream_seats(struct stream *s, size_t i)
{
    struct list *const lists[] = { &s->seats_waiting, &s->seats_idle, &s->seats_ready };
    return i < ARRAY_LEN(lists) ? lists[i] : NULL;
}

void stream_mark_changed(struct stream *s)
{
    if (list_empty(&s->in_changed))
        list_push(&s->all->changed, &s->in_changed);
}

void stream_mark_lagging(struct stream *s)
{
    if (list_empty(&s->in_lagging))
        list_push(&s->all->lagging, &s->in_lagging);
}

void stream_refresh(struct stream *s)
{
    post_request(s, LETTER_REFRESH);
}

void stream_trim(struct stream *s, uint64_t first_seq)
{
    log_trim(&s->log, first_seq);
}

void stream_learn(struct stream *s, struct news *news)
{
    news_take(news, &s->log);
    s->last = news->last;
    s->floor = news->floor;
    s->epoch = news->epoch;
    s->primed = s->primed || news->ready;
    stream_mark_changed(s);
}

void streams_mark_stale(struct streams *s, uint64_t epoch)
{
    if (s->epoch_due == epoch + 1)
        return;
    s->epoch_due = epoch + 1;
    TABLE_EACH (node, &s->by_id) {
        struct stream *stream = TABLE_ITEM(node, struct stream, by_id);
        stream->epoch_due = epoch + 1;
        stream_mark_changed(stream);
    }
}
