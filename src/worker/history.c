#include "worker/history.h"

#include "worker/flush.h"
#include "worker/seek.h"

// HTTP/1.1 knows where a reply ends by its last chunk; HTTP/1.0 by the connection's end.
static void add_head(struct extra *x)
{
    struct buffer *out = outbox_write(&x->outbox);
    x->keep_alive = x->keep_alive && x->chunked;
    http_reply_head(out, 200, VIEW("application/json"), buffer_view(&x->handshake), x->chunked,
                    x->keep_alive);
    outbox_written(&x->outbox);
    buffer_free(&x->handshake);
}

void history_start(struct client *c)
{
    struct extra *x = c->extra;
    const struct stream *s = c->sub.stream;
    struct seek_place place =
        seek_start(&s->log, &s->floor, s->last, &x->start, clients_window_start_ms(c->all));
    if (place.has_gap)
        metrics_add(c->all->metrics, METRIC_GAPS + place.gap.reason, 1);
    x->history = excerpt_of(place.seq, x->limit, !place.has_gap);
    x->starting = false;
    c->sub.waiting = false;
    add_head(x);
    client_enter(c, CLIENT_HISTORY, "history");
    history_continue(c);
}

static void add_piece(struct extra *x, struct budget *budget, struct view text,
                      const struct log_part *part)
{
    struct outbox *out = &x->outbox;
    if (x->chunked) {
        buffer_printf(outbox_write(out), "%zx\r\n", text.len + part->len);
        outbox_written(out);
    }
    outbox_add(out, text);
    if (part->len > 0)
        outbox_add_part(out, budget, part->segment, part->at, part->len);
    if (x->chunked)
        outbox_add(out, VIEW("\r\n"));
}

static void add_next(struct client *c)
{
    struct extra *x = c->extra;
    const struct stream *s = c->sub.stream;
    struct buffer *text = &c->all->text;
    struct log_part part;
    text->len = 0;
    x->history_ends = !excerpt_next(&x->history, &s->log, stream_id(s), text, &part);
    add_piece(x, &c->all->budget, buffer_view(text), &part);
    if (x->history_ends && x->chunked)
        outbox_add(&x->outbox, VIEW("0\r\n\r\n"));
    if (text->cap > MIB) // an event that had to be quoted
        buffer_free(text);
    client_recount(c, false);
}

static void finish(struct client *c)
{
    client_leave_stream(c);
    client_leave_door(c);
    client_enter(c, c->extra->keep_alive ? CLIENT_HEAD : CLIENT_CLOSING, "history sent");
    client_flush(c);
}

void history_continue(struct client *c)
{
    if (!c->extra->history_ends && c->extra->outbox.bytes < OUTBOX_MAX)
        add_next(c);
    client_flush(c);
    if (c->state == CLIENT_HISTORY && c->extra->history_ends && !client_has_outbox(c))
        finish(c);
}

void history_skip_to(struct client *c, uint64_t first_seq)
{
    excerpt_skip_to(&c->extra->history, first_seq);
}
