#include "tail/telling.h"

static void end_wait(struct feed *f)
{
    if (f->untold.events > 0)
        burst_read(&f->burst, &f->untold);
    else
        burst_read_in_vain(&f->burst);
    f->untold.events = 0;
    telling_forget(f);
}

static void second_read_late(struct deadline *d)
{
    struct feed *f = CONTAINER_OF(d, struct feed, second_read_end);
    end_wait(f);
    feed_mark_changed(f);
}

void telling_init(struct feeds *all)
{
    deadline_queue_init(&all->second_reads, SECOND_READ_MS, second_read_late);
}

void telling_forget(struct feed *f)
{
    f->second_read = SECOND_READ_NONE;
    deadline_cancel(&f->second_read_end);
}

// A read that is under way was sent before this piece came, and says nothing of the rest.
static bool begin_wait(struct feed *f)
{
    if (f->untold.events == 0)
        return false;
    burst_read(&f->burst, &f->untold);
    f->untold.events = 0;
    if (!burst_is_likely(&f->burst) || f->asked)
        return false;
    f->second_read = SECOND_READ_WANTED;
    deadline_arm(&f->all->second_reads, &f->second_read_end, f->all->loop->now_ms);
    feed_mark_dirty(f);
    return true;
}

static bool must_wait(struct feed *f)
{
    switch (f->second_read) {
    case SECOND_READ_NONE: return begin_wait(f);
    case SECOND_READ_WANTED:
    case SECOND_READ_SENT: return true;
    case SECOND_READ_ANSWERED: end_wait(f); return false;
    }
    return false;
}

struct feed *telling_next(struct feeds *all)
{
    for (struct list *node; (node = list_pop(&all->changed));) {
        struct feed *f = LIST_ITEM(node, struct feed, in_changed);
        if (!must_wait(f))
            return f;
    }
    return NULL;
}

void telling_read_sent(struct feed *f)
{
    if (f->second_read == SECOND_READ_WANTED)
        f->second_read = SECOND_READ_SENT;
}

void telling_read_answered(struct feed *f)
{
    if (f->second_read != SECOND_READ_SENT)
        return;
    f->second_read = SECOND_READ_ANSWERED;
    feed_mark_changed(f);
}

bool telling_read_will_show(const struct feed *f)
{
    return f->second_read == SECOND_READ_SENT;
}
