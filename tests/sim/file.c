#include "file.h"

#include <errno.h>

#include "process.h"

// ---- numbers ------------------------------------------------------------------------

static struct file *make(struct process *p, enum file_kind kind)
{
    struct owner *was = memory_use(&world->memory);
    struct file *f = calloc(1, sizeof(*f));
    memory_use(was);
    CHECK(f != NULL);
    f->kind = kind;
    f->process = p;
    f->fd = -1;
    list_init(&f->in_ready);
    list_init(&f->ready);
    list_init(&f->accepted);
    list_init(&f->in_accepted);
    list_init(&f->acceptor.node);
    return f;
}

static bool give_number(struct file *f)
{
    struct process *p = f->process;
    for (int fd = 3; fd < p->fd_limit && fd < PROCESS_FILES_MAX; fd++) {
        if (p->files[fd] == NULL) {
            p->files[fd] = f;
            f->fd = fd;
            return true;
        }
    }
    errno = EMFILE;
    return false;
}

struct file *file_new(struct process *p, enum file_kind kind)
{
    struct file *f = make(p, kind);
    if (give_number(f))
        return f;
    free(f);
    return NULL;
}

struct file *file_of(int fd)
{
    struct file *f = fd >= 0 && fd < PROCESS_FILES_MAX ? process_now()->files[fd] : NULL;
    if (f == NULL)
        errno = EBADF;
    return f;
}

void file_close(struct file *f)
{
    if (f->kind == FILE_LISTENER) {
        acceptor_close(&f->acceptor);
        LIST_EACH (node, &f->accepted)
            file_close(LIST_ITEM(node, struct file, in_accepted));
    }
    if (f->kind == FILE_EPOLL)
        for (int fd = 3; fd < PROCESS_FILES_MAX; fd++)
            if (f->process->files[fd] && f->process->files[fd]->epoll == f)
                f->process->files[fd]->epoll = NULL;
    if (f->end && f->fd < 0) // in a backlog: the kernel resets it
        end_reset(f->end);
    else if (f->end)
        end_close(f->end);
    list_remove(&f->in_ready);
    list_remove(&f->in_accepted);
    if (f->fd >= 0)
        f->process->files[f->fd] = NULL;
    LIST_EACH (node, &f->ready)
        list_remove(node);
    free(f);
}

// ---- epoll --------------------------------------------------------------------------

static uint32_t socket_events(const struct file *f)
{
    const struct end *e = f->end;
    if (e == NULL)
        return EPOLLOUT | EPOLLHUP;
    if (e->connecting)
        return 0;
    uint32_t events = 0;
    const struct pipe *out = &end_other(e)->in;
    if (e->broken)
        return EPOLLIN | EPOLLOUT | EPOLLHUP | (e->error ? EPOLLERR : 0u);
    if (end_waiting(e) > 0 || end_at_end(e))
        events |= EPOLLIN;
    if (out->written - out->arrived < out->send_room / 3 * 2 || out->ends)
        events |= EPOLLOUT;
    if (end_at_end(e) && out->ends)
        events |= EPOLLHUP;
    return events;
}

uint32_t file_events(const struct file *f)
{
    switch (f->kind) {
    case FILE_EVENT: return EPOLLOUT | (f->count ? EPOLLIN : 0u);
    case FILE_LISTENER: return list_empty(&f->accepted) ? 0 : EPOLLIN;
    case FILE_SOCKET: return socket_events(f);
    default: return 0;
    }
}

static uint32_t events_of_interest(const struct file *f)
{
    return file_events(f) & (f->interest | EPOLLERR | EPOLLHUP);
}

void file_changed(struct file *f)
{
    if (f->epoll && list_empty(&f->in_ready) && events_of_interest(f))
        list_push(&f->epoll->ready, &f->in_ready);
}

bool epoll_has_events(struct file *epoll)
{
    LIST_EACH (node, &epoll->ready) {
        if (events_of_interest(LIST_ITEM(node, struct file, in_ready)))
            return true;
        list_remove(node);
    }
    return false;
}

// In an order of chance's: which of two descriptors was ready first is nobody's to say.
static void shuffle(struct epoll_event *events, int count)
{
    for (int i = count - 1; i > 0; i--) {
        int j = (int)rng_below(&world->rng, (uint64_t)i + 1);
        struct epoll_event other = events[i];
        events[i] = events[j];
        events[j] = other;
    }
}

int epoll_collect(struct file *epoll, struct epoll_event *events, int most)
{
    int count = 0;
    LIST_EACH (node, &epoll->ready) {
        struct file *f = LIST_ITEM(node, struct file, in_ready);
        uint32_t ready = events_of_interest(f);
        if (!ready)
            list_remove(node);
        else if (count < most)
            events[count++] = (struct epoll_event){ .events = ready, .data.ptr = f->data };
    }
    shuffle(events, count);
    if (count > 1 && rng_chance(&world->rng, world->small_batch)) // the rest came a bit later
        count = 1 + (int)rng_below(&world->rng, (uint64_t)count);
    return count;
}

// ---- sockets ------------------------------------------------------------------------

static void end_changed(struct end *e)
{
    file_changed(e->owner);
}

void file_attach(struct file *f, struct end *e)
{
    f->end = e;
    e->owner = f;
    e->changed = end_changed;
    e->user_timeout_us = f->user_timeout_us;
}

static bool take_connection(struct acceptor *a, struct end *e)
{
    struct file *listener = CONTAINER_OF(a, struct file, acceptor);
    struct file *f = make(listener->process, FILE_SOCKET);
    f->user_timeout_us = listener->user_timeout_us;
    f->port = listener->port;
    file_attach(f, e);
    list_push(&listener->accepted, &f->in_accepted);
    file_changed(listener);
    return true;
}

bool file_listen(struct file *f)
{
    f->kind = FILE_LISTENER;
    f->acceptor.port = f->port;
    f->acceptor.accept = take_connection;
    acceptor_open(&f->acceptor);
    return true;
}

int file_accept(struct file *listener)
{
    if (list_empty(&listener->accepted)) {
        errno = EAGAIN;
        return -1;
    }
    struct file *f = LIST_ITEM(listener->accepted.next, struct file, in_accepted);
    if (!give_number(f))
        return -1;
    list_remove(&f->in_accepted);
    return f->fd;
}
