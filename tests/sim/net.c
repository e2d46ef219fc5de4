#include "net.h"

#include <errno.h>

#define UNREACHABLE_MAX 8

static struct list connections, acceptors;
static int hanging_ports[UNREACHABLE_MAX];

void net_init(void)
{
    list_init(&connections);
    list_init(&acceptors);
    memset(hanging_ports, 0, sizeof(hanging_ports));
}

struct end *end_other(const struct end *e)
{
    return &e->connection->ends[e == &e->connection->ends[0]];
}

static void tell(struct end *e)
{
    if (!e->closed && e->changed)
        e->changed(e);
}

// ---- a connection's life ------------------------------------------------------------

static void drop(struct connection *c)
{
    for (int i = 0; i < 2; i++) {
        event_cancel(&c->ends[i].in.arrival);
        free(c->ends[i].in.bytes);
    }
    event_cancel(&c->opening);
    event_cancel(&c->silence);
    list_remove(&c->node);
    free(c);
}

// Both ends are closed, and nothing is under way.
static void drop_if_over(struct connection *c)
{
    for (int i = 0; i < 2; i++)
        if (!c->ends[i].closed || (!c->silent && event_is_set(&c->ends[i].in.arrival)))
            return;
    drop(c);
}

void net_done(void)
{
    LIST_EACH (node, &connections)
        drop(LIST_ITEM(node, struct connection, node));
}

size_t net_open_ends(void)
{
    size_t count = 0;
    LIST_EACH (node, &connections) {
        struct connection *c = LIST_ITEM(node, struct connection, node);
        count += !c->ends[0].closed + !c->ends[1].closed;
    }
    return count;
}

static void break_end(struct end *e, int error)
{
    if (e->closed || e->broken)
        return;
    e->broken = true;
    e->error = error;
    tell(e);
}

// ---- bytes arrive -------------------------------------------------------------------

static void arrive(struct event *event);

static struct end *end_of_arrival(struct event *event)
{
    return CONTAINER_OF(CONTAINER_OF(event, struct pipe, arrival), struct end, in);
}

static int64_t delay_us(struct connection *c)
{
    return c->latency_us + (int64_t)rng_below(&world->rng, (uint64_t)c->latency_us / 2 + 1);
}

static void schedule(struct end *to)
{
    struct pipe *p = &to->in;
    struct connection *c = to->connection;
    bool bytes = p->written > p->arrived && p->arrived - p->read < p->receive_room;
    bool end = p->ends && !p->has_ended && p->arrived == p->written;
    if (event_is_set(&p->arrival) || c->silent || (!bytes && !end))
        return;
    int64_t at_us = world->now_us + delay_us(c);
    event_set(&p->arrival, at_us, arrive);
}

// Who closed with bytes unread, or altogether, answers what comes with a reset.
static void arrive_at_nobody(struct end *to)
{
    struct end *from = end_other(to);
    to->in.arrived = to->in.read = to->in.written;
    to->in.base = to->in.written;
    if (!from->closed)
        break_end(from, ECONNRESET);
}

static void arrive(struct event *event)
{
    struct end *to = end_of_arrival(event), *from = end_other(to);
    struct pipe *p = &to->in;
    struct connection *c = to->connection;
    size_t n = p->written - p->arrived, room = p->receive_room - (p->arrived - p->read);
    if (to->closed) {
        if (n > 0)
            arrive_at_nobody(to);
        drop_if_over(c);
        return;
    }
    n = n < room ? n : room;
    if (n > 1 && (c->slow_start || rng_chance(&world->rng, world->short_io)))
        n = 1 + rng_below(&world->rng, n);
    p->arrived += n;
    if (p->ends && p->arrived == p->written)
        p->has_ended = true;
    schedule(to);
    tell(to);
    if (n > 0 && !from->closed)
        tell(from);
    if (from->closed || to->closed)
        drop_if_over(c);
}

// ---- writing and reading ------------------------------------------------------------

static void keep(struct pipe *p, const void *at, size_t len)
{
    size_t kept = p->written - p->read;
    if (p->base < p->read && (kept == 0 || p->written - p->base + len > p->cap)) {
        if (kept > 0)
            memmove(p->bytes, p->bytes + (p->read - p->base), kept);
        p->base = p->read;
    }
    if (kept + len > p->cap) {
        p->cap = p->cap ? p->cap : 1024;
        while (p->cap < kept + len)
            p->cap *= 2;
        struct owner *was = memory_use(&world->memory);
        p->bytes = realloc(p->bytes, p->cap);
        memory_use(was);
    }
    memcpy(p->bytes + (p->written - p->base), at, len);
    p->written += len;
}

size_t end_room(const struct end *e)
{
    const struct pipe *p = &end_other(e)->in;
    size_t used = p->written - p->arrived;
    return p->ends || used >= p->send_room ? 0 : p->send_room - used;
}

size_t end_unsent(const struct end *e)
{
    const struct pipe *p = &end_other(e)->in;
    return p->written - p->arrived;
}

static void silence_is_noticed(struct event *event)
{
    struct connection *c = CONTAINER_OF(event, struct connection, silence);
    for (int i = 0; i < 2; i++)
        if (c->ends[i].user_timeout_us && end_unsent(&c->ends[i]) > 0)
            break_end(&c->ends[i], ETIMEDOUT);
}

static void watch_silence(struct connection *c)
{
    int64_t patience_us = c->ends[0].user_timeout_us + c->ends[1].user_timeout_us;
    bool waits = end_unsent(&c->ends[0]) > 0 || end_unsent(&c->ends[1]) > 0;
    if (c->silent && waits && patience_us > 0 && !event_is_set(&c->silence))
        event_set(&c->silence, world->now_us + patience_us, silence_is_noticed);
}

size_t end_write(struct end *e, const void *at, size_t len)
{
    struct end *to = end_other(e);
    size_t room = end_room(e);
    len = len < room ? len : room;
    if (len == 0 || e->broken)
        return 0;
    keep(&to->in, at, len);
    schedule(to);
    watch_silence(e->connection);
    return len;
}

size_t end_waiting(const struct end *e)
{
    return e->in.arrived - e->in.read;
}

bool end_at_end(const struct end *e)
{
    return e->in.has_ended && e->in.read == e->in.written;
}

size_t end_read(struct end *e, void *at, size_t len)
{
    struct pipe *p = &e->in;
    size_t waiting = end_waiting(e);
    len = len < waiting ? len : waiting;
    if (len == 0)
        return 0;
    memcpy(at, p->bytes + (p->read - p->base), len);
    p->read += len;
    schedule(e); // there is room again
    return len;
}

void end_shut(struct end *e)
{
    struct end *to = end_other(e);
    if (to->in.ends)
        return;
    to->in.ends = true;
    schedule(to);
}

static void reset_arrives(struct event *event)
{
    struct connection *c = CONTAINER_OF(event, struct connection, silence);
    for (int i = 0; i < 2; i++) {
        break_end(&c->ends[i], ECONNRESET);
        event_cancel(&c->ends[i].in.arrival);
    }
    drop_if_over(c);
}

void end_reset(struct end *e)
{
    struct connection *c = e->connection;
    e->closed = true;
    if (c->ends[0].closed && c->ends[1].closed) {
        drop(c);
        return;
    }
    if (c->silent)
        return;
    for (int i = 0; i < 2; i++) // what was under way is lost
        c->ends[i].in.ends = true;
    event_cancel(&c->ends[0].in.arrival);
    event_cancel(&c->ends[1].in.arrival);
    event_set(&c->silence, world->now_us + delay_us(c), reset_arrives);
}

void end_close(struct end *e)
{
    struct connection *c = e->connection;
    bool unread = e->in.written > e->in.read;
    if (e->closed)
        return;
    if (event_is_set(&c->opening)) { // it never came to be one
        drop(c);
        return;
    }
    if (unread || e->connecting) {
        end_reset(e);
        return;
    }
    e->closed = true;
    end_shut(e);
    drop_if_over(c);
}

void connection_silence(struct connection *c)
{
    c->silent = true;
    event_cancel(&c->ends[0].in.arrival);
    event_cancel(&c->ends[1].in.arrival);
    watch_silence(c);
}

void end_limit_input(struct end *e, size_t send_room, size_t receive_room)
{
    e->in.send_room = send_room;
    e->in.receive_room = receive_room;
}

// ---- connecting ---------------------------------------------------------------------

void acceptor_open(struct acceptor *a)
{
    list_init(&a->node);
    list_push(&acceptors, &a->node);
}

void acceptor_close(struct acceptor *a)
{
    list_remove(&a->node);
}

void net_set_unreachable(int port, bool hangs)
{
    for (int i = 0; i < UNREACHABLE_MAX; i++) {
        if (hanging_ports[i] == port)
            hanging_ports[i] = 0;
        if (hangs && hanging_ports[i] == 0) {
            hanging_ports[i] = port;
            return;
        }
    }
}

static bool hangs(int port)
{
    for (int i = 0; i < UNREACHABLE_MAX; i++)
        if (hanging_ports[i] == port)
            return true;
    return false;
}

// SO_REUSEPORT: of several that listen on a port, chance takes one.
static struct acceptor *find_acceptor(int port)
{
    struct acceptor *found = NULL;
    size_t count = 0;
    LIST_EACH (node, &acceptors) {
        struct acceptor *a = LIST_ITEM(node, struct acceptor, node);
        if (a->port == port && rng_below(&world->rng, ++count) == 0)
            found = a;
    }
    return found;
}

static void open_connection(struct event *event)
{
    struct connection *c = CONTAINER_OF(event, struct connection, opening);
    struct end *near = &c->ends[0], *far = &c->ends[1];
    if (hangs(near->port))
        return; // a SYN that nobody answers: who connects gives up some day
    struct acceptor *a = find_acceptor(near->port);
    near->connecting = false;
    far->closed = false;
    if (a == NULL || !a->accept(a, far)) {
        far->closed = true;
        break_end(near, ECONNREFUSED);
        return;
    }
    tell(near);
}

struct end *net_connect(int port, void (*changed)(struct end *e), void *owner)
{
    struct owner *was = memory_use(&world->memory);
    struct connection *c = calloc(1, sizeof(*c));
    memory_use(was);
    CHECK(c != NULL);
    list_push(&connections, &c->node);
    c->latency_us = RNG_PICK(&world->rng, 20, 50, 200, 1000, 5000);
    c->slow_start = rng_chance(&world->rng, world->short_io / 4);
    for (int i = 0; i < 2; i++) {
        c->ends[i].connection = c;
        c->ends[i].in.send_room = c->ends[i].in.receive_room = 64 * KIB;
    }
    struct end *near = &c->ends[0];
    near->changed = changed;
    near->owner = owner;
    near->connecting = true;
    near->port = port;
    c->ends[1].closed = true; // until it is accepted
    event_set(&c->opening, world->now_us + 2 * delay_us(c), open_connection);
    return near;
}
