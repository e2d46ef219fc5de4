#include "worker/client.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/report.h"

int64_t clients_redis_now_ms(const struct clients *all)
{
    return pulse_redis_now_ms(all->pulse, clock_mono_ms());
}

// ---- what only some need --------------------------------------------------------

struct extra *client_extra(struct client *c)
{
    if (c->extra == NULL) {
        c->extra = must_alloc(sizeof(*c->extra));
        *c->extra = (struct extra){ .of = c };
        holder_init(&c->extra->holder);
        deadline_init(&c->extra->resume);
    }
    return c->extra;
}

void client_recount(struct client *c, bool progress)
{
    struct extra *x = c->extra;
    if (x == NULL)
        return;
    size_t bytes = x->in.cap + x->handshake.cap + x->message.cap + outbox_memory(&x->outbox);
    if (x->hub)
        bytes += hub_kept_bytes(x->hub);
    if (bytes != x->holder.bytes || (bytes > 0 && progress))
        budget_count(&c->all->budget, &x->holder, bytes, progress);
}

void client_forget_ending(struct client *c)
{
    struct clients *all = c->all;
    if (c->extra == NULL || !c->extra->ending)
        return;
    struct client *last = all->ending[--all->ending_len];
    all->ending[c->extra->ending_at] = last;
    last->extra->ending_at = c->extra->ending_at;
    c->extra->ending = false;
}

static void free_extra(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL)
        return;
    client_forget_ending(c);
    report_free(x->report);
    buffer_free(&x->in);
    outbox_done(&x->outbox, &c->all->budget);
    buffer_free(&x->handshake);
    buffer_free(&x->message);
    budget_release(&c->all->budget, &x->holder);
    deadline_cancel(&x->resume);
    free(x);
    c->extra = NULL;
}

// Who owes something, for what it made us do, is remembered until that is paid.
static bool owes(const struct client *c)
{
    const struct extra *x = c->extra;
    int64_t now_ms = c->all->loop->now_ms;
    return x->inflate_from_us > now_ms * 1000 || x->auth_from_ms > now_ms;
}

void client_drop_extra_if_idle(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL)
        return;
    bool holds = x->in.len || !outbox_is_empty(&x->outbox) || x->handshake.len || x->message.len;
    bool is_to_say = x->ping || x->pong_waits || x->gap_owed || x->replaying || x->says_expiring;
    if (!holds && !x->hub && !is_to_say && !x->starting && !x->ending && !owes(c) &&
        ws_reader_idle(&x->reader))
        free_extra(c);
    else
        client_recount(c, false);
}

// ---- states ---------------------------------------------------------------------

static void hold_rest_of_seat(struct client *c, struct hub *h)
{
    struct seat *seat = h->current;
    if (seat == NULL)
        return;
    struct log_part rest =
        log_rest(&seat->stream->log, (struct cursor){ .seq = seat->seq, .skip = h->skip });
    outbox_put_first(&c->extra->outbox, &c->all->budget, rest.segment, rest.at, rest.len);
    seat->seq++;
    h->current = NULL;
    h->skip = 0;
    client_recount(c, false);
}

void client_hold_rest(struct client *c)
{
    if (client_hub(c)) {
        hold_rest_of_seat(c, client_hub(c));
        return;
    }
    struct subscription *sub = &c->sub;
    if (sub->cursor.skip == 0)
        return;
    struct log_part rest = log_rest(&sub->stream->log, sub->cursor);
    outbox_put_first(&client_extra(c)->outbox, &c->all->budget, rest.segment, rest.at, rest.len);
    sub->cursor = (struct cursor){ .seq = sub->cursor.seq + 1 };
    client_recount(c, false);
}

void client_leave_door(struct client *c)
{
    if (c->visitor)
        door_leave(c->all->door, c->visitor);
    c->visitor = NULL;
}

static size_t kind_cell(const struct client *c)
{
    static const enum client_kind kinds[FORM_COUNT] = {
        [FORM_RAW] = CLIENT_KIND_RAW,
        [FORM_RAW_DEFLATED] = CLIENT_KIND_RAW_DEFLATED,
        [FORM_ENVELOPE] = CLIENT_KIND_ENVELOPE,
        [FORM_ENVELOPE_DEFLATED] = CLIENT_KIND_ENVELOPE_DEFLATED,
        [FORM_SSE] = CLIENT_KIND_SSE,
    };
    if (client_hub(c))
        return METRIC_CLIENTS + kinds[client_hub(c)->form];
    bool history = c->extra && c->extra->wants_history;
    return METRIC_CLIENTS + (history ? CLIENT_KIND_HISTORY : kinds[c->sub.stream->form]);
}

static void count_in(struct client *c)
{
    metrics_add(c->all->metrics, kind_cell(c), 1);
    c->counted_in = true;
}

static void count_out(struct client *c)
{
    if (c->counted_in)
        metrics_subtract(c->all->metrics, kind_cell(c), 1);
    c->counted_in = false;
}

void client_leave_stream(struct client *c)
{
    struct subscription *sub = &c->sub;
    struct hub *h = client_hub(c);
    count_out(c);
    if (h) {
        if (c->state != CLIENT_DEAD)
            client_hold_rest(c);
        h->skip = 0;
        hub_free(h);
        c->extra->hub = NULL;
        client_recount(c, false);
    }
    if (sub->stream == NULL)
        return;
    stream_count_listener(sub->stream, -1);
    if (c->state != CLIENT_DEAD && !sub->waiting)
        client_hold_rest(c);
    list_remove(&sub->node);
    if (sub->every_ms > 0) {
        pace_find(sub->stream, sub->every_ms)->fresh -= sub->fresh;
        pace_leave(sub->stream, sub->every_ms);
    }
    stream_leave(sub->stream);
    *sub = (struct subscription){ .stream = NULL };
    list_init(&sub->node);
}

void client_enter(struct client *c, enum client_state state, const char *why)
{
    static const char *const names[] = { "head",    "held",   "joining", "open",
                                         "history", "report", "closing", "dead" };
    struct clients *all = c->all;
    int64_t now_ms = all->loop->now_ms;
    if (say_enabled(SAY_DEBUG))
        say(SAY_DEBUG, "client", SAY_I("fd", c->fd), SAY_S("state", names[state]),
            SAY_S("why", why));
    c->state = (uint8_t)state;
    c->progressed = false;
    switch (state) {
    case CLIENT_HEAD:
        list_move(&all->lobby, &c->sub.node);
        deadline_arm(&all->heads, &c->deadline, now_ms);
        break;
    case CLIENT_HELD: deadline_arm(&all->holds, &c->deadline, now_ms); break;
    case CLIENT_JOINING: deadline_arm(&all->joins, &c->deadline, now_ms); break;
    case CLIENT_OPEN:
        count_in(c);
        deadline_arm(client_is_sse(c) ? &all->comments : &all->pings, &c->deadline, now_ms);
        break;
    case CLIENT_HISTORY:
        count_in(c);
        deadline_arm(&all->stalls, &c->deadline, now_ms);
        break;
    case CLIENT_REPORT: deadline_arm(&all->stalls, &c->deadline, now_ms); break;
    case CLIENT_CLOSING:
        client_leave_stream(c);
        client_forget_ending(c);
        list_move(&all->leaving, &c->sub.node);
        deadline_arm(&all->stalls, &c->deadline, now_ms);
        break;
    case CLIENT_DEAD:
        client_leave_stream(c);
        client_leave_door(c);
        deadline_cancel(&c->deadline);
        list_move(&all->dead, &c->sub.node);
        break;
    }
}

void client_die(struct client *c, const char *why)
{
    if (c->state == CLIENT_DEAD)
        return;
    if (c->state == CLIENT_HELD)
        door_slow_done(c->all->door, c->extra->address);
    client_enter(c, CLIENT_DEAD, why);
    close(c->fd); // leaves epoll by itself
    c->fd = -1;
    free_extra(c);
    c->all->count--;
    atomic_fetch_sub_explicit(c->all->total, 1, memory_order_relaxed);
    metrics_set(c->all->metrics, METRIC_CONNECTIONS, c->all->count);
    if (!c->counted_closed)
        metrics_add(c->all->metrics, METRIC_CONNECTIONS_CLOSED + CLOSED_NONE, 1);
}

// The socket says that it takes more only when a third of its buffer is free, which takes
// a slow reader longer than it may take: so what is in it counts too.
bool client_got_on(struct client *c)
{
    struct extra *x = client_extra(c);
    int queued = 0, before = x->queued;
    if (ioctl(c->fd, SIOCOUTQ, &queued) != 0)
        queued = 0;
    bool progressed = c->progressed || (queued > 0 && (before == 0 || queued < before));
    c->progressed = false;
    x->queued = queued;
    return progressed;
}

void clients_reap(struct clients *all)
{
    for (struct list *node; (node = list_pop(&all->dead));)
        free(client_of(node));
}

// While too much waits for it, and while it is to wait itself, nothing is read from it.
static bool may_be_read(const struct client *c, bool blocked)
{
    const struct extra *x = c->extra;
    if (c->peer_ended || c->state == CLIENT_HELD || c->state == CLIENT_REPORT)
        return false;
    if (blocked && (c->state == CLIENT_HEAD || c->state == CLIENT_HISTORY))
        return false; // no more requests before the replies have left
    if (x && x->in.len >= INPUT_MAX && client_is_for_history(c))
        return false; // they wait until it has been sent
    return x == NULL || (x->outbox.bytes < OUTBOX_MAX && !deadline_armed(&x->resume) &&
                         !(x->hub && x->hub->has_command));
}

void client_watch(struct client *c, bool blocked)
{
    uint32_t events = (may_be_read(c, blocked) ? EPOLLIN : 0) | (blocked ? EPOLLOUT : 0);
    if (c->interest == events || c->state == CLIENT_DEAD)
        return;
    c->interest = (uint8_t)events;
    if (!loop_rewatch(c->all->loop, c->fd, &c->watch, events))
        client_die(c, "epoll refused");
}
