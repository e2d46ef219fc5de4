// Letters between threads. Anyone may post; the owner's loop wakes and is handed
// each letter in order. Handing over a letter hands over all that it owns.
//
//   tail ──post──▶ [lock · list · eventfd] ──ready──▶ worker's turn
//
// Letters that come before the owner wakes cost one wake-up, however many they are. In
// one turn of its loop it is handed at most LETTERS_PER_TURN; then everything else that
// the turn has to do is done, and the rest come in the next turns, still in order.
//
// A letter has a weight: the memory that it keeps. Who posts can ask how much waits, and
// tell an owner that does not read (it hangs, or is slow) no more for now.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/loop.h"

#define LETTERS_PER_TURN 256

struct letter { // embedded first in what is posted
    struct list node;
    int kind;
    size_t weight; // bytes; 0 where it keeps nothing but itself
};

struct mailbox {
    struct watch watch;
    int event_fd;
    pthread_mutex_t lock;
    struct list letters;  // under lock
    struct list taken;    // the owner's: out of `letters`, and not delivered yet
    atomic_size_t weight; // of the letters in both lists
    void (*deliver)(void *ctx, struct letter *letter); // on the owner's thread; takes ownership
    void *ctx;
};

bool mailbox_init(struct mailbox *m, void (*deliver)(void *, struct letter *), void *ctx); // errno
void mailbox_done(struct mailbox *m);                 // the letters left are delivered first
bool mailbox_open(struct mailbox *m, struct loop *l); // the owner's loop begins to listen; errno

void mailbox_post(struct mailbox *m, struct letter *letter); // any thread
// The weight of what was posted and is not delivered yet. Any thread: a moment later it
// may be less, and more if others post.
size_t mailbox_weight(struct mailbox *m);
