#include "worker/hub_flush.h"

#include <errno.h>

#include "worker/control.h"
#include "worker/seat.h"
#include "worker/tell.h"

#define PIECES_MAX 256
#define SHARE_MIN (4 * KIB)
#define ROUNDS_MAX 4 // writes in a turn: a batch may make the next one due

// The events of one seat in a write.
struct part {
    struct seat *seat;
    uint64_t until; // it stands here when all of them have left
    size_t bytes;
};

struct hub_load {
    struct iovec pieces[PIECES_MAX];
    struct part parts[PIECES_MAX];
    size_t piece_count, part_count;
    size_t bytes, rest, outbox; // of all; of them, the event under way and the outbox
};

// ---- what is to be said ---------------------------------------------------------

void hub_say_endings(struct client *c, size_t most)
{
    struct hub *h = client_hub(c);
    while (!list_empty(&h->endings) && c->extra->outbox.bytes < most) {
        struct ending *e = LIST_ITEM(list_pop(&h->endings), struct ending, node);
        struct buffer *text = tell_empty_text(c);
        struct view ref = { e->has_ref ? e->ref : NULL, e->ref_len };
        struct view name = { e->name, e->name_len }, reason = { e->reason, e->reason_len };
        if (e->is_pattern)
            notice_unsubscribed_pattern(text, name, e->code, reason, ref);
        else
            notice_unsubscribed(text, name, e->code, reason, e->last, ref);
        tell_text(c, h->form, "unsubscribed", text);
        free(e);
    }
}

static void say_due(struct client *c, struct hub *h)
{
    struct extra *x = c->extra;
    if (outbox_is_empty(&x->outbox))
        client_queue_control(c);
    hub_say_endings(c, OUTBOX_MAX);
    LIST_EACH (node, &h->ready) {
        if (x->outbox.bytes >= OUTBOX_MAX || !list_empty(&h->endings))
            break;
        struct seat *seat = LIST_ITEM(node, struct seat, in_ready);
        seat_say(seat);
        if (seat_is_done(seat) && h->current != seat)
            seat_mark_done(seat);
    }
}

// ---- one write ------------------------------------------------------------------

static void load_piece(struct hub_load *load, const void *at, size_t len)
{
    load->pieces[load->piece_count++] = (struct iovec){ (void *)(uintptr_t)at, len };
    load->bytes += len;
}

// False: no more than that fits.
static bool load_rest(struct hub_load *load, const struct hub *h)
{
    if (h->current == NULL)
        return true;
    const struct cursor at = { .seq = h->current->seq, .skip = h->skip };
    struct view rest = log_rest_of_item(&h->current->stream->log, at);
    load->rest = rest.len < FLUSH_BYTES_MAX ? rest.len : FLUSH_BYTES_MAX;
    load_piece(load, rest.at, load->rest);
    return load->rest == rest.len;
}

static bool load_outbox(struct hub_load *load, const struct outbox *out)
{
    size_t room = PIECES_MAX - load->piece_count;
    load->outbox = outbox_gather(out, FLUSH_BYTES_MAX, load->pieces + load->piece_count, &room);
    load->piece_count += room;
    load->bytes += load->outbox;
    return load->outbox == out->bytes;
}

// Whole events of a seat, up to `share` bytes of them and one at least.
static void load_seat(struct hub_load *load, const struct hub *h, struct seat *seat, size_t share)
{
    const struct log *l = &seat->stream->log;
    struct cursor at = { .seq = seat->seq + (h->current == seat) };
    uint64_t until = seat_may_send_to(seat);
    if (at.seq >= until)
        return;
    size_t first = log_rest(l, at).len, room = PIECES_MAX - load->piece_count;
    struct iovec *pieces = load->pieces + load->piece_count;
    size_t bytes = log_gather(l, at, until, share > first ? share : first, pieces, &room);
    struct cursor end = log_advance(l, at, bytes);
    if (end.skip > 0) { // the last of them is not whole: it stays
        CHECK(room > 0 && pieces[room - 1].iov_len >= end.skip);
        pieces[room - 1].iov_len -= end.skip;
        room -= pieces[room - 1].iov_len == 0;
        bytes -= end.skip;
    }
    load->piece_count += room;
    load->bytes += bytes;
    load->parts[load->part_count++] = (struct part){ seat, end.seq, bytes };
}

static void load_seats(struct hub_load *load, const struct hub *h)
{
    size_t share = FLUSH_BYTES_MAX / (h->ready_count ? h->ready_count : 1);
    if (share < SHARE_MIN)
        share = SHARE_MIN;
    LIST_EACH (node, &h->ready) {
        if (load->piece_count == PIECES_MAX || load->bytes >= FLUSH_BYTES_MAX)
            break;
        load_seat(load, h, LIST_ITEM(node, struct seat, in_ready), share);
    }
}

static void load_up(struct hub_load *load, const struct client *c, const struct hub *h)
{
    load->piece_count = load->part_count = load->bytes = load->rest = load->outbox = 0;
    if (load_rest(load, h) && load_outbox(load, &c->extra->outbox))
        load_seats(load, h);
}

// ---- what has left --------------------------------------------------------------

static void advance(struct client *c, struct seat *seat, uint64_t seq)
{
    metrics_add(c->all->metrics, METRIC_EVENTS_DELIVERED, seq - seat->seq);
    seat->seq = seq;
}

// Its turn is over: behind the others, or out of the ready ones.
static void end_turn(struct hub *h, struct seat *seat)
{
    if (seat_is_done(seat))
        seat_mark_done(seat);
    else
        list_move(&h->ready, &seat->in_ready);
}

static size_t account_rest(struct client *c, struct hub *h, const struct hub_load *load,
                           size_t sent)
{
    size_t rest = sent < load->rest ? sent : load->rest;
    struct seat *seat = h->current;
    if (seat == NULL || rest == 0)
        return sent;
    const struct cursor at = { .seq = seat->seq, .skip = h->skip };
    h->skip += (uint32_t)rest;
    if (rest == log_rest(&seat->stream->log, at).len) {
        advance(c, seat, seat->seq + 1);
        h->current = NULL;
        h->skip = 0;
        if (seat_is_done(seat))
            seat_mark_done(seat);
    }
    return sent - rest;
}

static void account_parts(struct client *c, struct hub *h, const struct hub_load *load, size_t sent)
{
    for (size_t i = 0; i < load->part_count && sent > 0; i++) {
        const struct part *part = &load->parts[i];
        struct seat *seat = part->seat;
        if (sent >= part->bytes) {
            sent -= part->bytes;
            advance(c, seat, part->until);
            end_turn(h, seat);
            continue;
        }
        struct cursor end =
            log_advance(&seat->stream->log, (struct cursor){ .seq = seat->seq }, sent);
        sent = 0;
        advance(c, seat, end.seq);
        if (end.skip > 0) {
            h->current = seat;
            h->skip = end.skip;
        }
    }
}

static void account(struct client *c, struct hub *h, const struct hub_load *load, size_t sent)
{
    metrics_add(c->all->metrics, METRIC_WRITES, 1);
    metrics_add(c->all->metrics, METRIC_SENT_BYTES, sent);
    c->progressed = true;
    sent = account_rest(c, h, load, sent);
    size_t out = sent < load->outbox ? sent : load->outbox;
    if (out > 0) {
        outbox_sent(&c->extra->outbox, &c->all->budget, out);
        client_recount(c, true);
    }
    account_parts(c, h, load, sent - out);
}

enum written { WROTE_ALL, WROTE_SOME, WROTE_AND_DIED };

static enum written write_once(struct client *c, struct hub *h)
{
    struct hub_load load;
    say_due(c, h);
    load_up(&load, c, h);
    if (load.bytes == 0)
        return WROTE_ALL;
    ssize_t n = client_write(c->fd, load.pieces, load.piece_count);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        client_die(c, strerror(errno));
        return WROTE_AND_DIED;
    }
    if (n > 0)
        account(c, h, &load, (size_t)n);
    return n < (ssize_t)load.bytes ? WROTE_SOME : WROTE_ALL;
}

static bool has_more(const struct client *c, const struct hub *h)
{
    return client_has_outbox(c) || h->current || !list_empty(&h->ready) ||
           !list_empty(&h->endings) || client_has_control(c);
}

void hub_flush(struct client *c)
{
    struct hub *h = client_hub(c);
    enum written written = WROTE_ALL;
    for (int round = 0; round < ROUNDS_MAX && written == WROTE_ALL && has_more(c, h); round++)
        written = write_once(c, h);
    if (written == WROTE_AND_DIED)
        return;
    bool blocked = written == WROTE_SOME || client_has_outbox(c);
    if (blocked)
        list_remove(&h->in_crowd); // the socket will say when it takes more
    else if (has_more(c, h))
        list_move(&c->all->crowd, &h->in_crowd);
    client_watch(c, blocked);
}
