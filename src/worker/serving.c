#include "worker/serving.h"

#include <errno.h>
#include <sys/socket.h>

#include "worker/closing.h"
#include "worker/flush.h"
#include "worker/frames.h"
#include "worker/history.h"
#include "worker/hub_client.h"
#include "worker/hub_patterns.h"
#include "worker/reporting.h"
#include "worker/requests.h"

// ---- what epoll says ------------------------------------------------------------

static void keep_input(struct client *c, const char *at, size_t len)
{
    buffer_add(&client_extra(c)->in, at, len);
    client_recount(c, false);
}

static void take_input(struct client *c, char *at, size_t len)
{
    switch ((enum client_state)c->state) {
    case CLIENT_HEAD:
        keep_input(c, at, len);
        requests_take(c);
        break;
    case CLIENT_JOINING: // it may not send yet; what it sends is kept within a bound
        if (client_is_sse(c))
            break;
        keep_input(c, at, len);
        if (c->extra->wants_history)
            client_watch(c, c->interest & EPOLLOUT);
        else if (c->extra->in.len > INPUT_MAX)
            client_die(c, "sent too much before the handshake was over");
        break;
    case CLIENT_OPEN:
        if (!client_is_sse(c)) // whose clients have nothing more to say
            frames_take(c, at, len);
        break;
    case CLIENT_HISTORY:
    case CLIENT_REPORT: keep_input(c, at, len); break; // its next requests
    case CLIENT_HELD:
    case CLIENT_CLOSING: // too late
    case CLIENT_DEAD: break;
    }
}

// What came before it could be looked at: early bytes, once the client is let in; the next
// requests, once a history has been sent; the rest, once the client has waited enough.
static void take_kept_input(struct client *c)
{
    if (c->state == CLIENT_HEAD && c->extra && c->extra->in.len > 0)
        requests_take(c);
    if (c->state != CLIENT_OPEN || c->extra == NULL || c->extra->in.len == 0 ||
        (c->extra->hub && hub_is_busy(c)))
        return;
    struct buffer kept = c->extra->in;
    c->extra->in = (struct buffer){ 0 };
    take_input(c, kept.at, kept.len);
    buffer_free(&kept);
    if (c->state != CLIENT_DEAD)
        client_drop_extra_if_idle(c);
}

static bool is_owed_a_reply(const struct client *c)
{
    if (c->state == CLIENT_HEAD && c->extra && deadline_armed(&c->extra->resume))
        return true; // to requests that wait for their turn
    return client_is_for_history(c) || c->state == CLIENT_REPORT ||
           ((c->state == CLIENT_HEAD || c->state == CLIENT_CLOSING) && client_has_outbox(c));
}

// The peer sends nothing more. Who is owed a reply may still read it (half-closed); a
// stream's client has gone.
static void peer_ended(struct client *c)
{
    c->peer_ended = true;
    if (is_owed_a_reply(c))
        client_watch(c, client_has_outbox(c));
    else
        client_die(c, "the peer closed the connection");
}

static void readable(struct client *c)
{
    char input[INPUT_MAX];
    ssize_t n = recv(c->fd, input, sizeof(input), 0);
    if (n > 0 && c->extra && c->extra->in.len > 0 && c->state == CLIENT_OPEN) {
        keep_input(c, input, (size_t)n);
        take_kept_input(c);
    } else if (n > 0) {
        take_input(c, input, (size_t)n);
    } else if (n == 0) {
        peer_ended(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        client_die(c, strerror(errno));
    }
}

static bool has_had_all(const struct client *c)
{
    if (client_hub(c))
        return hub_has_caught_up(c);
    return client_has_log(c) && !client_has_outbox(c) && client_has_caught_up(c);
}

// What follows when a client has been served, in whatever way.
void serving_follow_up(struct client *c)
{
    hub_patterns_wake(c);
    if (client_hub(c) && hub_is_busy(c)) {
        hub_go_on(c);
        client_watch(c, c->interest & EPOLLOUT);
    }
    take_kept_input(c);
    if (c->state != CLIENT_DEAD && c->peer_ended && !is_owed_a_reply(c))
        client_die(c, "the peer closed the connection");
    if (c->going_away && c->state == CLIENT_OPEN && has_had_all(c))
        close_for_drain(c);
    if (c->state == CLIENT_OPEN) // who was just let in may be idle from now on
        client_drop_extra_if_idle(c);
}

static void writable(struct client *c)
{
    if (c->state == CLIENT_HISTORY)
        history_continue(c);
    else if (c->state == CLIENT_REPORT)
        reporting_continue(c);
    else
        client_flush(c);
}

void serving_ready(struct watch *w, uint32_t events)
{
    struct client *c = CONTAINER_OF(w, struct client, watch);
    if (c->state != CLIENT_DEAD && c->peer_ended && (events & (EPOLLHUP | EPOLLERR)))
        client_die(c, "the peer closed the connection");
    if (c->state != CLIENT_DEAD && !c->peer_ended && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        readable(c);
    if (c->state != CLIENT_DEAD && (events & EPOLLOUT))
        writable(c);
    serving_follow_up(c);
}

// ---- sending --------------------------------------------------------------------

void serving_flush(struct client *c)
{
    if (c->state == CLIENT_HISTORY)
        history_continue(c);
    else
        client_flush(c);
    if (c->extra || c->going_away)
        serving_follow_up(c);
}

// Those with something to send on any of their streams: once, for all of them.
void serving_flush_hubs(struct clients *all)
{
    struct list crowd;
    list_init(&crowd);
    list_take_all(&crowd, &all->crowd);
    for (struct list *node; (node = list_pop(&crowd));) {
        struct client *c = LIST_ITEM(node, struct hub, in_crowd)->client;
        client_flush(c);
        serving_follow_up(c);
    }
}
