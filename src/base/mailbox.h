// Letters between threads. Anyone may post; the owner's loop wakes and is handed
// each letter in order. Handing over a letter hands over all that it owns.
//
//   tail ──post──▶ [lock · list · eventfd] ──ready──▶ worker's turn
//
// Letters that come before the owner wakes cost one wake-up, however many they are.
#pragma once

#include <pthread.h>

#include "base/list.h"
#include "base/loop.h"

struct letter { // embedded first in what is posted
    struct list node;
    int kind;
};

struct mailbox {
    struct watch watch;
    int event_fd;
    pthread_mutex_t lock;
    struct list letters;                               // under lock
    void (*deliver)(void *ctx, struct letter *letter); // on the owner's thread; takes ownership
    void *ctx;
};

bool mailbox_init(struct mailbox *m, void (*deliver)(void *, struct letter *), void *ctx); // errno
void mailbox_done(struct mailbox *m);                 // the letters left are delivered first
bool mailbox_open(struct mailbox *m, struct loop *l); // the owner's loop begins to listen; errno

void mailbox_post(struct mailbox *m, struct letter *letter); // any thread
