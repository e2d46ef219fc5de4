#include "worker/requests.h"

#include "base/clock.h"
#include "worker/closing.h"
#include "worker/date.h"
#include "worker/flush.h"

#define REQUESTS_AT_ONCE 16 // of one client; then the others' turn comes

struct buffer *client_reply(struct client *c)
{
    return outbox_write(&client_extra(c)->outbox);
}

void client_hold(struct client *c, struct in6_addr address)
{
    client_extra(c)->address = address;
    client_enter(c, CLIENT_HELD, "too many bad tokens");
    client_watch(c, false);
}

void client_shut(struct client *c, const char *why)
{
    client_die(c, why);
}

void requests_hold_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    door_slow_done(c->all->door, c->extra->address);
    close_reply(c, "held long enough");
}

static void refuse_head(struct client *c, int status, const char *why)
{
    const char *code = status == 431 ? "head_too_large" : status == 408 ? "timeout" : "bad_request";
    clients_count_refusal(c->all, code);
    http_refuse(client_reply(c), status, code, why, date_line(clock_wall_ms()), false);
    outbox_written(&c->extra->outbox);
    close_reply(c, why);
}

void requests_head_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    if (c->extra && c->extra->in.len)
        refuse_head(c, 408, "the request did not come in time");
    else
        client_die(c, "sent no request");
}

// Takes one request off the front of x->in and answers it. Its views point into the bytes,
// which are put aside until then.
static void take_request(struct client *c, struct http_request *req, size_t used)
{
    struct extra *x = c->extra;
    struct buffer in = x->in;
    x->in = (struct buffer){ 0 };
    buffer_add(&x->in, in.at + used, in.len - used);
    req->keep_alive = req->keep_alive && !req->has_body; // we would read it as a request
    x->keep_alive = req->keep_alive;
    x->chunked = req->minor >= 1;
    if (!x->replying)
        deadline_arm(&c->all->heads, &c->deadline, c->all->loop->now_ms);
    c->all->answer(c, req);
    buffer_free(&in);
    if (c->extra)
        outbox_written(&c->extra->outbox);
    if (c->state == CLIENT_HEAD && !req->keep_alive)
        close_reply(c, "replied");
    else if (c->state == CLIENT_HEAD)
        client_flush(c);
}

static bool has_input(const struct client *c)
{
    return c->state == CLIENT_HEAD && c->extra && c->extra->in.len > 0;
}

static void wait_for_turn(struct client *c)
{
    deadline_arm(&c->all->turns, &c->extra->resume, c->all->loop->now_ms);
    client_watch(c, client_has_outbox(c));
}

void requests_take(struct client *c)
{
    struct http_request req;
    size_t used = 0;
    int left = REQUESTS_AT_ONCE;
    while (has_input(c) && c->extra->outbox.bytes < OUTBOX_MAX &&
           !deadline_armed(&c->extra->resume)) {
        if (left-- == 0) {
            wait_for_turn(c);
            return;
        }
        switch (http_parse(&req, buffer_view(&c->extra->in), &used)) {
        case HTTP_MORE: client_recount(c, false); return;
        case HTTP_BAD: refuse_head(c, req.status, req.why); return;
        case HTTP_DONE: take_request(c, &req, used); break;
        }
    }
    if (c->state == CLIENT_HEAD)
        client_drop_extra_if_idle(c);
}
