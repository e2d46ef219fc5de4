#include "worker/control.h"

#include <sys/socket.h>

void client_pong(struct client *c, struct view payload)
{
    struct extra *x = client_extra(c);
    memcpy(x->pong, payload.at, payload.len);
    x->pong_len = (uint8_t)payload.len;
    x->pong_waits = true;
}

static void add_control(struct client *c, enum ws_opcode opcode, struct view payload)
{
    uint8_t frame[2 + WS_CONTROL_MAX];
    size_t len = ws_control(frame, opcode, payload);
    outbox_add(&c->extra->outbox, (struct view){ (const char *)frame, len });
}

static void add_ping(struct client *c)
{
    c->extra->ping = false;
    c->progressed = false;
    if (client_is_sse(c)) { // a comment, and no empty line: that would end a block
        outbox_add(&c->extra->outbox, VIEW(":\n"));
        if (!c->all->draining)
            deadline_arm(&c->all->comments, &c->deadline, c->all->loop->now_ms);
        return;
    }
    add_control(c, WS_PING, VIEW(""));
    c->pinged = true;
    if (!c->all->draining) // else its deadline says when it is sent away
        deadline_arm(&c->all->pongs, &c->deadline, c->all->loop->now_ms);
}

bool client_has_control(const struct client *c)
{
    return c->extra && (c->extra->ping || c->extra->pong_waits);
}

void client_queue_control(struct client *c)
{
    struct extra *x = c->extra;
    if (x == NULL || c->state != CLIENT_OPEN)
        return;
    if (x->ping)
        add_ping(c);
    if (x->pong_waits)
        add_control(c, WS_PONG, (struct view){ x->pong, x->pong_len });
    x->pong_waits = false;
}

ssize_t client_write(int fd, struct iovec *pieces, size_t count)
{
    if (count == 1)
        return send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL);
    const struct msghdr message = { .msg_iov = pieces, .msg_iovlen = count };
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}
