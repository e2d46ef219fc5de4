#include "base/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wake(struct mailbox *m)
{
    uint64_t one = 1;
    ssize_t n = write(m->event_fd, &one, sizeof(one));
    CHECK(n == sizeof(one));
}

static void take_posted(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    list_take_all(&m->taken, &m->letters);
    pthread_mutex_unlock(&m->lock);
}

static void deliver_some(struct mailbox *m, size_t count)
{
    for (struct list *node; count > 0 && (node = list_pop(&m->taken)); count--) {
        struct letter *letter = LIST_ITEM(node, struct letter, node);
        atomic_fetch_sub_explicit(&m->weight, letter->weight, memory_order_relaxed);
        m->deliver(m->ctx, letter);
    }
}

// The eventfd is emptied before the list is: a letter that comes between the two
// leaves a wake-up, never the other way round.
static void mailbox_ready(struct watch *w, uint32_t events)
{
    (void)events;
    struct mailbox *m = CONTAINER_OF(w, struct mailbox, watch);
    uint64_t wakeups;
    ssize_t n = read(m->event_fd, &wakeups, sizeof(wakeups));
    CHECK(n == sizeof(wakeups) || errno == EAGAIN || errno == EINTR);
    take_posted(m);
    deliver_some(m, LETTERS_PER_TURN);
    if (!list_empty(&m->taken))
        wake(m); // for the next turn
}

bool mailbox_init(struct mailbox *m, void (*deliver)(void *, struct letter *), void *ctx)
{
    *m = (struct mailbox){ .watch.ready = mailbox_ready, .deliver = deliver, .ctx = ctx };
    list_init(&m->letters);
    list_init(&m->taken);
    m->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->event_fd < 0)
        return false;
    CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
    return true;
}

void mailbox_done(struct mailbox *m)
{
    take_posted(m);
    deliver_some(m, SIZE_MAX);
    pthread_mutex_destroy(&m->lock);
    close(m->event_fd);
}

bool mailbox_open(struct mailbox *m, struct loop *l)
{
    return loop_watch(l, m->event_fd, &m->watch, EPOLLIN);
}

// Where letters wait already, the wake-up for them is still to be read.
void mailbox_post(struct mailbox *m, struct letter *letter)
{
    atomic_fetch_add_explicit(&m->weight, letter->weight, memory_order_relaxed);
    pthread_mutex_lock(&m->lock);
    bool was_empty = list_empty(&m->letters);
    list_push(&m->letters, &letter->node);
    pthread_mutex_unlock(&m->lock);
    if (was_empty)
        wake(m);
}

size_t mailbox_weight(struct mailbox *m)
{
    return atomic_load_explicit(&m->weight, memory_order_relaxed);
}
