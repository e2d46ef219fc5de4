// Who listens to one edition of a ring, and what each of them has been told: one for each
// worker. Everything here belongs to the tail's thread.
#pragma once

#include "shared/letter.h"

// What waits unread in a worker's mailbox may keep so much memory (besides what one
// letter brings, a ring at most); then it is told no more until it has read. What leaves
// the rings meanwhile is an ordinary trim to it.
#define LETTERS_BYTES_MAX (32 * MIB)

// What there is to tell.
struct tidings {
    const struct log *log;
    struct floor floor;
    struct eventid last;
    uint64_t epoch;
    bool ready;
};

// A refresh is wanted by a subscriber, then sent with a read, then done.
enum refresh { REFRESH_NONE, REFRESH_WANTED, REFRESH_SENT, REFRESH_DONE };

// Lists of subscriptions. Who is added is to be told all from seq `told_end_seq` on.
void subscribers_add(struct list *all, const struct request *request, uint64_t told_end_seq);
bool subscribers_remove(struct list *all, const struct request *request); // false: was none
// To everyone, and nobody is left.
void subscribers_fail(struct list *all, int close_code, const char *reason);
// To one that could not be added.
void subscriber_refuse(const struct request *request, int close_code, const char *reason);

bool subscribers_want_refresh(struct list *all, const struct request *request); // false: was none
void subscribers_move_refresh(struct list *all, enum refresh from, enum refresh to);

// Adds up those of them, and finds the slowest: *clients, *lag_events, *lag_ms are gone on with.
void subscribers_count(const struct list *all, uint64_t *clients, uint64_t *lag_events,
                       uint64_t *lag_ms);

// Posts to each what it does not know yet. False: somebody's mailbox is full, and it is to
// be told later.
bool subscribers_tell(struct list *all, const struct tidings *tidings);
bool subscribers_know(const struct list *all, uint64_t end_seq); // all were told up to there
