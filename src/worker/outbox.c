#include "worker/outbox.h"

static struct outbox_piece *last_piece(struct outbox *o)
{
    return o->count ? &o->pieces[o->head + o->count - 1] : NULL;
}

static void drop_first(struct outbox *o, struct budget *b)
{
    struct segment *s = o->pieces[o->head].segment;
    if (s) {
        budget_let_go(b, s);
        segment_unref(s);
    }
    o->head++;
    o->count--;
}

void outbox_done(struct outbox *o, struct budget *b)
{
    while (o->count > 0)
        drop_first(o, b);
    free(o->pieces);
    buffer_free(&o->own);
    *o = (struct outbox){ 0 };
}

// Makes room behind the pieces; `first`: and one place before them.
static void make_room(struct outbox *o, bool first)
{
    size_t head = first ? 1 : 0;
    if (o->count + 1 > o->cap) {
        o->cap = o->cap ? o->cap * 2 : 2;
        o->pieces = realloc(o->pieces, o->cap * sizeof(*o->pieces));
        CHECK(o->pieces != NULL);
    }
    if (o->count > 0 && (first ? o->head == 0 : o->head + o->count == o->cap)) {
        memmove(o->pieces + head, o->pieces + o->head, o->count * sizeof(*o->pieces));
        o->head = head;
    } else if (o->count == 0) {
        o->head = head;
    }
}

static struct outbox_piece hold(struct budget *b, struct segment *s, uint32_t at, size_t len)
{
    budget_hold(b, s);
    return (struct outbox_piece){ segment_ref(s), at, len };
}

static void add_piece(struct outbox *o, struct outbox_piece piece)
{
    make_room(o, false);
    o->pieces[o->head + o->count++] = piece;
    o->bytes += piece.len;
}

void outbox_add_part(struct outbox *o, struct budget *b, struct segment *s, uint32_t at, size_t len)
{
    if (len > 0)
        add_piece(o, hold(b, s, at, len));
}

void outbox_put_first(struct outbox *o, struct budget *b, struct segment *s, uint32_t at,
                      size_t len)
{
    if (len == 0)
        return;
    make_room(o, true);
    o->pieces[--o->head] = hold(b, s, at, len);
    o->count++;
    o->bytes += len;
}

// What has been appended to the own bytes since joins the last piece, if that is of
// own bytes too.
void outbox_written(struct outbox *o)
{
    size_t more = o->own.len - o->own_end;
    struct outbox_piece *last = last_piece(o);
    o->own_end = o->own.len;
    if (more > 0 && last && last->segment == NULL) {
        last->len += more;
        o->bytes += more;
    } else if (more > 0) {
        add_piece(o, (struct outbox_piece){ .len = more });
    }
}

void outbox_add(struct outbox *o, struct view bytes)
{
    buffer_add_view(outbox_write(o), bytes);
    outbox_written(o);
}

size_t outbox_gather(const struct outbox *o, size_t max, struct iovec *pieces, size_t *count)
{
    size_t room = *count, total = 0, own_at = o->own_sent;
    *count = 0;
    for (size_t i = 0; i < o->count && *count < room && total < max; i++) {
        const struct outbox_piece *piece = &o->pieces[o->head + i];
        char *at = piece->segment ? piece->segment->data + piece->at : o->own.at + own_at;
        size_t len = piece->len < max - total ? piece->len : max - total;
        own_at += piece->segment ? 0 : piece->len;
        pieces[(*count)++] = (struct iovec){ at, len };
        total += len;
    }
    return total;
}

// Own bytes that have left are dropped when they are more than those that wait: a queue
// that never runs empty must not keep them.
static void drop_sent(struct outbox *o)
{
    if (o->own_sent <= o->own.len - o->own_sent)
        return;
    buffer_drop(&o->own, o->own_sent);
    o->own_end -= o->own_sent;
    o->own_sent = 0;
}

void outbox_sent(struct outbox *o, struct budget *b, size_t bytes)
{
    CHECK(bytes <= o->bytes);
    o->bytes -= bytes;
    while (bytes > 0) {
        struct outbox_piece *first = &o->pieces[o->head];
        size_t n = bytes < first->len ? bytes : first->len;
        if (first->segment)
            first->at += (uint32_t)n;
        else
            o->own_sent += n;
        first->len -= n;
        bytes -= n;
        if (first->len == 0)
            drop_first(o, b);
    }
    if (o->bytes == 0)
        outbox_done(o, b);
    else
        drop_sent(o);
}
