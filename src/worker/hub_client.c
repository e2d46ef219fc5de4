#include "worker/hub_client.h"

#include "base/clock.h"
#include "worker/closing.h"
#include "worker/flush.h"
#include "worker/hub_patterns.h"
#include "worker/seat.h"
#include "worker/tell.h"

// ---- subscribing ----------------------------------------------------------------

static const char *read_options(const struct clients *all, const struct subscribe_options *o,
                                struct wish *wish)
{
    const char *wrong = admission_read_slow(o->slow, &wish->slow);
    if (!wrong)
        wrong = admission_read_every(o->every, &wish->every_ms);
    return wrong ? wrong : start_parse(o->from, o->after, clients_redis_now_ms(all), &wish->start);
}

static void watch_expiry(struct hub *h, struct seat *seat, int64_t expiry_s)
{
    seat->expiry_s = (uint32_t)(expiry_s < UINT32_MAX ? expiry_s : UINT32_MAX);
    seat->told_expiring = false;
    if (expiry_s - EXPIRING_S < h->look_at_s)
        h->look_at_s = expiry_s - EXPIRING_S;
}

static void sit(struct client *c, struct stream *s, const struct wish *wish, int64_t expiry_s,
                const struct answer_to *to)
{
    struct hub *h = client_hub(c);
    struct seat *seat = hub_sit(h, s);
    seat->slow = wish->slow & 3;
    seat->every_ms = wish->every_ms & ((1u << 22) - 1);
    if (wish->every_ms > 0)
        pace_join(&c->all->paces, s, wish->every_ms);
    if (c->all->config->expire_live)
        watch_expiry(h, seat, expiry_s);
    deadline_cancel(&h->empty);
    seat_start(seat, &wish->start, to->ref);
}

static void subscribe(struct client *c, const struct command_item *item, struct view ref)
{
    struct hub *h = client_hub(c);
    const struct answer_to to = { item->name, item->is_pattern, ref };
    struct subscribe_options o = subscribe_options_over(item->options, h->options);
    struct wish wish;
    int64_t expiry_s = 0;
    const char *wrong = item->wrong ? item->wrong : read_options(c->all, &o, &wish);
    if (wrong) {
        hub_refuse(c, &to, "bad_request", wrong);
        return;
    }
    if (c->all->draining) {
        hub_refuse(c, &to, "unavailable", "the broker is shutting down");
        return;
    }
    if (item->is_pattern) {
        hub_subscribe_pattern(c, &to, &o, &wish);
        return;
    }
    if (!hub_check_token(c, &to, &o, &expiry_s))
        return;
    struct stream *known = streams_known(c->all->streams, h->form, item->name);
    if (known && hub_find(h, known))
        hub_refuse(c, &to, "already_subscribed", "this connection has the stream already");
    else if (h->count >= (size_t)c->all->config->max_streams_per_client)
        hub_refuse(c, &to, "too_many_streams",
                   "this connection has as many streams as it may have "
                   "(BOND_MAX_STREAMS_PER_CLIENT)");
    else
        sit(c, known ? known : streams_find(c->all->streams, h->form, item->name), &wish, expiry_s,
            &to);
}

static void unsubscribe(struct client *c, const struct command_item *item, struct view ref)
{
    struct hub *h = client_hub(c);
    const struct answer_to to = { item->name, item->is_pattern, ref };
    struct stream *known = streams_known(c->all->streams, h->form, item->name);
    struct seat *seat = known ? hub_find(h, known) : NULL;
    if (item->wrong)
        hub_refuse(c, &to, "bad_request", item->wrong);
    else if (item->is_pattern)
        hub_unsubscribe_pattern(c, &to);
    else if (seat == NULL)
        hub_refuse(c, &to, "not_subscribed", "this connection does not have that");
    else
        seat_end(seat, WS_CLOSE_NORMAL, VIEW("unsubscribed"), ref);
    hub_mind_empty(c);
}

void hub_fail_seat(struct seat *seat, int code, struct view reason)
{
    struct client *c = seat->hub->client;
    struct hub *h = seat->hub;
    seat_end(seat, code, reason, (struct view){ 0 });
    hub_mind_empty(c);
    hub_call(h);
}

// ---- one command ----------------------------------------------------------------

static void take_auth(struct client *c, const struct command *command)
{
    struct hub *h = client_hub(c);
    struct answer_to to = { .ref = command->ref };
    int64_t expiry_s = 0;
    size_t renewed = 0;
    for (size_t i = 0; i < h->slot_count && c->all->config->expire_live; i++) {
        struct seat *seat = h->slots[i];
        bool counts = seat && !seat->by_pattern; // else its pattern's token does
        if (!counts ||
            hub_verify(c->all, &command->options, stream_id(seat->stream), &expiry_s) != TOKEN_OK)
            continue;
        watch_expiry(h, seat, expiry_s);
        seat_need_more(seat)->says_expiring = true;
        seat_look(seat);
        renewed++;
    }
    if (c->all->config->expire_live)
        renewed += hub_patterns_renew(c, &command->options);
    if (renewed == 0) {
        hub_refuse(c, &to, "token_invalid", "the token renews none of this connection's streams");
        hub_bad_token(c);
    }
}

static void take_ping(struct client *c, const struct command *command)
{
    struct buffer *text = tell_empty_text(c);
    notice_pong(text, command->ref, clients_redis_now_ms(c->all));
    tell_text(c, client_hub(c)->form, "pong", text);
}

static bool may_go_on(const struct client *c)
{
    return hub_may_answer(c) && client_hub(c)->awaited == NULL;
}

// True: it has been carried out, or the client has been closed.
static bool carry_out(struct client *c)
{
    struct hub *h = client_hub(c);
    struct command *command = &h->command;
    const struct answer_to to = { .ref = command->ref };
    struct command_item item;
    switch (command->kind) {
    case COMMAND_BAD: hub_refuse(c, &to, "bad_request", command->why); return true;
    case COMMAND_AUTH: take_auth(c, command); return true;
    case COMMAND_PING: take_ping(c, command); return true;
    case COMMAND_SUBSCRIBE:
    case COMMAND_UNSUBSCRIBE: break;
    }
    while (may_go_on(c)) {
        if (!command_next(command, &item))
            return true;
        if (command->kind == COMMAND_SUBSCRIBE)
            subscribe(c, &item, command->ref);
        else
            unsubscribe(c, &item, command->ref);
    }
    return c->state != CLIENT_OPEN;
}

void hub_go_on(struct client *c)
{
    struct hub *h = client_hub(c);
    if (c->state != CLIENT_OPEN || !h->has_command || !may_go_on(c))
        return;
    bool is_done = carry_out(c);
    h = client_hub(c); // it may have been closed
    if (h && is_done) {
        command_done(&h->command);
        h->has_command = false;
    }
    if (h)
        hub_call(h);
}

bool hub_is_busy(const struct client *c)
{
    return client_hub(c)->has_command;
}

void hub_take_message(struct client *c, bool is_text, struct view message)
{
    struct hub *h = client_hub(c);
    CHECK(!h->has_command);
    if (is_text)
        command_read(&h->command, message);
    else
        h->command =
            (struct command){ .kind = COMMAND_BAD, .why = "messages are texts, not binary" };
    h->has_command = true;
    hub_go_on(c);
}

// ---- coming in ------------------------------------------------------------------

static void keep(struct buffer *own, struct view *v)
{
    buffer_add_view(own, *v);
    *v = buffer_view(own);
}

void hub_open(struct client *c, const struct admission *a, struct view handshake,
              struct visitor *visitor)
{
    struct clients *all = c->all;
    struct hub *h = hub_new(c, a->form);
    struct extra *x = client_extra(c);
    h->options = a->options;
    keep(&h->defaults[0], &h->options.token);
    keep(&h->defaults[1], &h->options.scope);
    keep(&h->defaults[2], &h->options.from);
    keep(&h->defaults[3], &h->options.after);
    keep(&h->defaults[4], &h->options.slow);
    keep(&h->defaults[5], &h->options.every);
    x->hub = h;
    c->visitor = visitor;
    outbox_add(&x->outbox, handshake);
    list_move(&all->hubs, &c->sub.node);
    client_enter(c, CLIENT_OPEN, "let in");
    deadline_arm(&all->first_seats, &h->empty, all->loop->now_ms);
    for (size_t i = 0; i < a->stream_count && c->state == CLIENT_OPEN; i++) {
        const struct command_item item = { .name = buffer_view(&a->streams[i]) };
        subscribe(c, &item, (struct view){ 0 });
    }
    if (client_hub(c))
        hub_call(client_hub(c));
}

void hub_empty_due(struct deadline *d)
{
    struct hub *h = CONTAINER_OF(d, struct hub, empty);
    close_with(h->client, WS_CLOSE_NOTHING, VIEW("no stream has been subscribed to"),
               "subscribes to nothing");
}

// ---- live expiry ----------------------------------------------------------------

static void look_at_seat(struct seat *seat, int64_t now_ms)
{
    int64_t left_ms = (int64_t)seat->expiry_s * MS_PER_S - now_ms;
    if (left_ms < 0) {
        hub_fail_seat(seat, WS_CLOSE_EXPIRED, VIEW("the token has expired"));
        return;
    }
    if (left_ms <= EXPIRING_S * MS_PER_S && !seat->told_expiring) {
        seat->told_expiring = true;
        seat_need_more(seat)->says_expiring = true;
        seat_look(seat);
    }
    struct hub *h = seat->hub;
    int64_t next_s =
        seat->told_expiring ? (int64_t)seat->expiry_s : (int64_t)seat->expiry_s - EXPIRING_S;
    if (next_s < h->look_at_s)
        h->look_at_s = next_s;
}

void hub_look_at_expiry(struct client *c, int64_t now_ms)
{
    struct hub *h = client_hub(c);
    if (now_ms < h->look_at_s * MS_PER_S)
        return;
    h->look_at_s = INT64_MAX;
    hub_patterns_look_at_expiry(c, now_ms);
    for (size_t i = 0; i < h->slot_count;) {
        struct seat *seat = h->slots[i];
        if (seat && !seat->by_pattern && seat->expiry_s)
            look_at_seat(seat, now_ms);
        i += h->slots[i] == seat; // who ends gives its place to another
    }
}

// ---- the end --------------------------------------------------------------------

bool hub_has_caught_up(const struct client *c)
{
    const struct hub *h = client_hub(c);
    return !client_has_outbox(c) && h->current == NULL && list_empty(&h->ready) &&
           list_empty(&h->endings);
}
