// Answers the letters that ask which streams are followed (shared/listing.h): one after the
// other, some feeds in each turn of the loop. It belongs to the tail's thread.
#pragma once

#include "shared/letter.h"
#include "shared/listing.h"
#include "tail/feed.h"

#define LISTER_FEEDS_PER_TURN 256

struct lister {
    struct list requests;   // letters, oldest first
    struct listing *making; // for the first of them; NULL: none has begun
    uint32_t number;        // of the walk
};

void lister_init(struct lister *l);
void lister_done(struct lister *l);
void lister_take(struct lister *l, struct listing_request *request); // takes it over
// source: the name of where all of these feeds are read. True: there is more to do.
bool lister_run(struct lister *l, struct feeds *feeds, const char *source);
