#include "worker/frames.h"

#include "wire/deflate.h"
#include "worker/closing.h"
#include "worker/control.h"
#include "worker/expiry.h"
#include "worker/flush.h"
#include "worker/hub_client.h"

#define MESSAGE_MAX (64 * KIB) // of a client's message, as sent and as inflated

// What a client makes us unfold, and of a shared socket all messages, is paid for at this rate;
// who is a second ahead of it waits. A message counts as what it is when it is unfolded, or when
// it is not, whichever is more: to find that a message says nothing takes work, too.
#define INFLATE_BYTES_PER_S INT64_C(262144)
#define INFLATE_AHEAD_US INT64_C(1000000)
#define INFLATE_MESSAGE_BYTES 64 // that each message counts for beside its own

// ---- pings and pongs ------------------------------------------------------------

static void take_pong(struct client *c)
{
    if (!c->pinged)
        return;
    c->pinged = false;
    if (!c->all->draining) // its deadline says when it is sent away
        deadline_arm(&c->all->pings, &c->deadline, c->all->loop->now_ms);
}

// A ping that is still to be sent says that its socket has taken nothing since: an event
// stream has no pongs, so that is how a reader that is gone is found.
void frames_ping_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    expiry_watch(c);
    struct extra *x = client_extra(c);
    if (x->ping && !client_got_on(c)) {
        client_die(c, "takes nothing");
        return;
    }
    x->ping = true;
    client_flush(c);
    if (c->state == CLIENT_OPEN && x->ping) // it waits behind a backlog
        deadline_arm(client_is_sse(c) ? &c->all->comments : &c->all->pongs, &c->deadline,
                     c->all->loop->now_ms);
    if (c->state == CLIENT_OPEN)
        client_drop_extra_if_idle(c);
}

// A client that is behind answers when it has come to the ping; as long as it gets on, it
// is there.
void frames_pong_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    bool is_behind = c->interest & EPOLLOUT;
    if (is_behind && client_got_on(c)) {
        deadline_arm(&c->all->pongs, &c->deadline, c->all->loop->now_ms);
        return;
    }
    metrics_add(c->all->metrics, METRIC_PING_TIMEOUTS, 1);
    close_with(c, WS_CLOSE_FAILURE, VIEW("keepalive ping timeout"), "ping timeout");
}

// ---- messages -------------------------------------------------------------------

static bool owes_too_much(const struct client *c)
{
    int64_t now_us = c->all->loop->now_ms * 1000;
    return c->extra->inflate_from_us - now_us > INFLATE_AHEAD_US;
}

bool frames_have_to_wait(const struct client *c)
{
    return c->extra && (owes_too_much(c) || (c->extra->hub && hub_is_busy(c)));
}

static void pay(struct client *c, size_t packed, size_t plain)
{
    struct extra *x = c->extra;
    size_t bytes = INFLATE_MESSAGE_BYTES + (packed > plain ? packed : plain);
    int64_t now_us = c->all->loop->now_ms * 1000;
    if (x->inflate_from_us < now_us)
        x->inflate_from_us = now_us;
    x->inflate_from_us += (int64_t)bytes * 1000000 / INFLATE_BYTES_PER_S;
    if (owes_too_much(c))
        deadline_arm(&c->all->resumes, &x->resume, c->all->loop->now_ms);
}

// A deflated message has no meaning either, but must be one: it is unfolded within a
// bound and looked at. False: the client was closed.
static bool inflate_message(struct client *c, bool is_text, struct buffer *plain)
{
    struct clients *all = c->all;
    if (all->inflater == NULL)
        all->inflater = inflater_new();
    switch (inflater_run(all->inflater, buffer_view(&c->extra->message), MESSAGE_MAX, plain)) {
    case INFLATE_OK: break;
    case INFLATE_BAD:
        close_with(c, WS_CLOSE_BAD_DATA, VIEW("the message is no deflate data"), "bad deflate");
        return false;
    case INFLATE_TOO_BIG:
        close_with(c, WS_CLOSE_TOO_BIG, VIEW("the message unfolds to more than 64 KiB"),
                   "deflate bomb");
        return false;
    }
    pay(c, c->extra->message.len, plain->len);
    if (is_text && !utf8_valid(buffer_view(plain))) {
        close_with(c, WS_CLOSE_BAD_DATA, VIEW("the message is not UTF-8"), "bad UTF-8");
        return false;
    }
    return true;
}

static void take_message(struct client *c, const struct ws_item *item)
{
    struct buffer plain = { 0 };
    bool is_text = item->opcode == WS_TEXT;
    bool is_good = !item->deflated || inflate_message(c, is_text, &plain);
    struct view message = buffer_view(item->deflated ? &plain : &c->extra->message);
    if (is_good && client_hub(c)) {
        if (!item->deflated) // else it has been paid for
            pay(c, message.len, message.len);
        hub_take_message(c, is_text, message);
    } else if (is_good && is_text && expiry_may_renew(c)) {
        expiry_take_message(c, message);
    }
    buffer_free(&plain);
    if (c->extra)
        buffer_free(&c->extra->message);
}

// What we do not look into is not kept.
static void take_data(struct client *c, const struct ws_item *item)
{
    bool may_renew = expiry_may_renew(c) && item->opcode == WS_TEXT;
    bool is_whole = item->deflated || client_hub(c);
    if (!is_whole && !may_renew)
        return;
    struct buffer *message = &client_extra(c)->message;
    size_t most = is_whole ? MESSAGE_MAX : AUTH_MAX + 1;
    size_t room = most - message->len;
    buffer_add(message, item->at, item->len < room ? item->len : room);
    if (item->message_end)
        take_message(c, item);
}

static void take_item(struct client *c, enum ws_got got, const struct ws_item *item)
{
    struct view payload = { item->at, item->len };
    switch (got) {
    case WS_GOT_PING: client_pong(c, payload); break;
    case WS_GOT_PONG: take_pong(c); break;
    case WS_GOT_CLOSE: close_open(c, item->code, VIEW(""), -1, "the peer closed"); break;
    case WS_GOT_BAD: close_with(c, item->code, view_of(item->why), item->why); break;
    case WS_GOT_DATA: take_data(c, item); break;
    case WS_GOT_MORE: break;
    }
}

void frames_take(struct client *c, char *at, size_t len)
{
    const struct ws_limits limits = {
        .message_max = MESSAGE_MAX,
        .allow_deflate = form_is_deflated(client_form(c)),
    };
    struct ws_reader reader = { 0 };
    if (c->extra)
        reader = c->extra->reader;

    enum ws_got got = WS_GOT_DATA;
    while (got != WS_GOT_MORE && c->state == CLIENT_OPEN && !frames_have_to_wait(c)) {
        struct ws_item item;
        size_t used = 0;
        got = ws_read(&reader, &limits, at, len, &used, &item);
        at += used;
        len -= used;
        take_item(c, got, &item);
    }
    if (c->state != CLIENT_OPEN)
        return;
    if (!ws_reader_idle(&reader))
        client_extra(c)->reader = reader;
    else if (c->extra)
        c->extra->reader = (struct ws_reader){ 0 };
    if (frames_have_to_wait(c))
        buffer_add(&c->extra->in, at, len);
    if (c->extra && (c->extra->pong_waits || frames_have_to_wait(c)))
        client_flush(c); // which stops reading from who has to wait
    if (c->state == CLIENT_OPEN)
        client_drop_extra_if_idle(c);
}
