// Deadlines of equal duration need no heap: they fall due in the order in which
// they were armed, so each duration is a FIFO, and re-arming is a move to its
// tail. One whose duration differs goes where it belongs (deadline_arm_at).
//
// A queue and its deadlines belong to one thread.
#pragma once

#include "base/base.h"
#include "base/list.h"

struct deadline {
    struct list node;
    int64_t due_ms; // monotonic
};

struct deadline_queue {
    struct list waiting; // oldest first
    struct list of_loop; // the loop's list of queues
    int64_t after_ms;
    void (*due)(struct deadline *d); // it has left the queue; it may be armed again or freed
};

void deadline_queue_init(struct deadline_queue *q, int64_t after_ms,
                         void (*due)(struct deadline *));
void deadline_init(struct deadline *d); // armed nowhere

// Due after_ms from now. Armed already, in this queue or another: it moves here.
void deadline_arm(struct deadline_queue *q, struct deadline *d, int64_t now_ms);
// Due then, whatever the queue's duration is. Its place is looked for from the end of the
// queue, one step for each deadline that is due later: for a few, or for many in order.
void deadline_arm_at(struct deadline_queue *q, struct deadline *d, int64_t due_ms);
void deadline_cancel(struct deadline *d); // nothing, if not armed
bool deadline_armed(const struct deadline *d);

// When the first is due; INT64_MAX when none is waiting.
int64_t deadline_queue_next(const struct deadline_queue *q);
void deadline_queue_run(struct deadline_queue *q, int64_t now_ms);
