#include "worker/flush.h"

#include <errno.h>
#include <sys/socket.h>

#include "worker/control.h"
#include "worker/hub_flush.h"
#include "worker/seek.h"
#include "worker/tell.h"

#define FLUSH_PIECES 16

void client_tell_source(struct client *c)
{
    tell_source(c, c->sub.stream, false);
    c->sub.told_stale = stream_is_stale(c->sub.stream);
}

// slow=latest: the gap that it owes covers all but the newest event.
static void go_to_latest(struct client *c)
{
    struct extra *x = c->extra;
    const struct stream *s = c->sub.stream;
    uint64_t newest = seek_newest_event(&s->log, s->log.end_seq);
    x->to_latest = false;
    if (newest <= c->sub.cursor.seq)
        return;
    if (x->gap_owed) {
        struct gap more =
            seek_passed_over(&s->log, c->sub.cursor.seq, newest, (struct eventid){ 0 });
        gap_extend(&x->gap, &more);
    }
    c->sub.cursor = (struct cursor){ .seq = newest };
}

// With every=: the newest event goes into the outbox; of a replay, before `live`. It has had
// its event for this time then, unless the tick itself has brought it.
static void choose_newest(struct client *c)
{
    struct clients *all = c->all;
    struct stream *s = c->sub.stream;
    struct pace *p = pace_find(s, c->sub.every_ms);
    struct extra *x = client_extra(c);
    uint64_t until = x->replaying ? x->live_seq : s->log.end_seq;
    unsigned sent = pace_choose(p, &c->sub.cursor.seq, until, &x->outbox, &all->budget);
    metrics_add(all->metrics, METRIC_EVENTS_DELIVERED, sent);
    c->sub.due = false;
    if (sent > 0 && !p->is_ticking && !c->sub.fresh) {
        c->sub.fresh = true;
        pace_note_fresh(p);
    }
}

// Puts into an empty outbox what is due, one of each kind.
static void queue_due(struct client *c)
{
    struct extra *x = c->extra;
    if (c->state != CLIENT_OPEN || (x && !outbox_is_empty(&x->outbox)))
        return;
    if (x && x->to_latest)
        go_to_latest(c);
    if (x && x->gap_owed) {
        tell_gap(c, c->sub.stream, &x->gap);
        x->gap_owed = false;
    }
    if (tell_source_is_due(c))
        client_tell_source(c);
    if (client_has_log(c) && c->sub.due)
        choose_newest(c);
    x = c->extra;
    if (tell_live_is_due(c)) {
        tell_live(c, c->sub.stream, c->sub.cursor.seq, x->live_id);
        x->replaying = false;
    }
    if (x && x->says_expiring) {
        tell_expiring(c, c->sub.stream, false, c->expiry_s);
        x->says_expiring = false;
    }
    client_queue_control(c);
}

// ---- one write ------------------------------------------------------------------

struct load {
    struct iovec pieces[FLUSH_PIECES];
    size_t count, bytes;
    size_t rest; // of the bytes, those that end a frame under way, before the outbox
};

static void load_outbox(struct load *load, const struct client *c)
{
    size_t room = FLUSH_PIECES;
    if (client_has_log(c) && c->sub.cursor.skip > 0) {
        struct view rest = log_rest_of_item(&c->sub.stream->log, c->sub.cursor);
        load->rest = rest.len < FLUSH_BYTES_MAX ? rest.len : FLUSH_BYTES_MAX;
        load->pieces[load->count++] = (struct iovec){ (char *)(uintptr_t)rest.at, load->rest };
        load->bytes = load->rest;
        if (load->rest < rest.len)
            return;
        room--;
    }
    load->bytes +=
        outbox_gather(&c->extra->outbox, FLUSH_BYTES_MAX, load->pieces + load->count, &room);
    load->count += room;
}

// Up to where the replay ends, for `live` comes there; nothing while a gap is owed.
static void load_log(struct load *load, struct client *c, bool behind_outbox)
{
    const struct extra *x = c->extra;
    const struct log *l = &c->sub.stream->log;
    struct cursor at = c->sub.cursor;
    if (load->rest > 0)
        at = (struct cursor){ .seq = at.seq + 1 };
    size_t room = FLUSH_PIECES - load->count;
    uint64_t until = x && x->replaying ? x->live_seq : l->end_seq;
    size_t bytes = log_gather(l, at, until, FLUSH_BYTES_MAX, load->pieces + load->count, &room);
    if (bytes == 0 && !behind_outbox) // what cannot be told in this format
        c->sub.cursor = log_advance(l, at, 0);
    load->bytes += bytes;
    load->count += room;
}

static struct load load_up(struct client *c)
{
    struct load load;
    load.count = load.bytes = load.rest = 0;
    bool outbox = client_has_outbox(c);
    if (outbox)
        load_outbox(&load, c);
    bool all_of_it = !outbox || load.bytes == load.rest + c->extra->outbox.bytes;
    bool may_go_on = client_has_log(c) && c->sub.every_ms == 0 &&
                     !(c->extra && (c->extra->gap_owed || c->extra->to_latest));
    if (may_go_on && all_of_it && load.count < FLUSH_PIECES)
        load_log(&load, c, outbox);
    return load;
}

static void advance(struct client *c, size_t bytes)
{
    uint64_t before = c->sub.cursor.seq;
    c->sub.cursor = log_advance(&c->sub.stream->log, c->sub.cursor, bytes);
    metrics_add(c->all->metrics, METRIC_EVENTS_DELIVERED, c->sub.cursor.seq - before);
}

static void account(struct client *c, const struct load *load, size_t sent)
{
    struct metrics *metrics = c->all->metrics;
    metrics_add(metrics, METRIC_WRITES, 1);
    metrics_add(metrics, METRIC_SENT_BYTES, sent);
    c->progressed = true;
    if (client_has_outbox(c)) {
        size_t rest = sent < load->rest ? sent : load->rest;
        if (rest > 0)
            advance(c, rest);
        sent -= rest;
        size_t waits = c->extra->outbox.bytes;
        size_t control = sent < waits ? sent : waits;
        outbox_sent(&c->extra->outbox, &c->all->budget, control);
        sent -= control;
        client_recount(c, true);
    }
    if (sent > 0)
        advance(c, sent);
}

enum written { WROTE_ALL, WROTE_SOME, WROTE_AND_DIED };

static enum written write_once(struct client *c)
{
    queue_due(c);
    struct load load = load_up(c);
    if (load.bytes == 0)
        return WROTE_ALL;
    ssize_t n = client_write(c->fd, load.pieces, load.count);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        client_die(c, strerror(errno));
        return WROTE_AND_DIED;
    }
    if (n > 0)
        account(c, &load, (size_t)n);
    return n < (ssize_t)load.bytes ? WROTE_SOME : WROTE_ALL;
}

// ---- what follows from it -------------------------------------------------------

// All has left, and there is something for the next batch.
static bool has_more_to_say(const struct client *c)
{
    const struct extra *x = c->extra;
    if (c->state != CLIENT_OPEN || client_has_outbox(c))
        return false;
    return tell_live_is_due(c) || tell_source_is_due(c) ||
           (x && (x->gap_owed || x->to_latest || x->ping || x->pong_waits || x->says_expiring));
}

static void choose_list(struct client *c, bool blocked)
{
    struct stream *s = c->sub.stream;
    bool is_done = client_has_log(c) && client_has_caught_up(c);
    struct pace *p = c->sub.every_ms > 0 ? pace_find(s, c->sub.every_ms) : NULL;
    struct list *idle = p ? &p->idle : &s->idle;
    list_move(blocked ? &s->blocked : is_done ? idle : &s->ready, &c->sub.node);
    if (p && !blocked && is_done)
        pace_owe(p, c->sub.cursor.seq);
    if (!blocked && !is_done)
        stream_mark_changed(s);
    if (blocked || !is_done)
        stream_mark_lagging(s);
}

// Who reads a reply, a history or a goodbye has time as long as it gets on; who has read
// a reply has time for the next request.
static void mind_deadline(struct client *c, bool blocked)
{
    struct clients *all = c->all;
    bool is_reply = c->state == CLIENT_HEAD && blocked;
    bool counts = is_reply || c->state == CLIENT_HISTORY || c->state == CLIENT_REPORT ||
                  c->state == CLIENT_CLOSING;
    bool was_reply = c->extra && c->extra->replying;
    if (counts && (c->progressed || (is_reply && !was_reply)))
        deadline_arm(&all->stalls, &c->deadline, all->loop->now_ms);
    else if (c->state == CLIENT_HEAD && was_reply && !is_reply)
        deadline_arm(&all->heads, &c->deadline, all->loop->now_ms);
    if (counts)
        c->progressed = false;
    if (c->extra)
        c->extra->replying = is_reply;
}

static void flush_one(struct client *c)
{
    enum written written = write_once(c);
    while (written == WROTE_ALL && has_more_to_say(c))
        written = write_once(c);
    if (written == WROTE_AND_DIED)
        return;

    bool blocked = written == WROTE_SOME || client_has_outbox(c);
    if (client_has_log(c) || c->state == CLIENT_HISTORY)
        choose_list(c, blocked);
    client_watch(c, blocked);
    if (c->state != CLIENT_OPEN)
        mind_deadline(c, blocked);
    if (c->state == CLIENT_CLOSING && !blocked) {
        client_leave_door(c);
        shutdown(c->fd, SHUT_WR); // the peer reads to the end, then closes
    }
}

void client_flush(struct client *c)
{
    if (c->state == CLIENT_OPEN && client_hub(c))
        hub_flush(c);
    else
        flush_one(c);
}
