// Which streams are followed, and the letters that say so. A feed begins with its first
// subscriber, stays for a ring's length behind its last one, and ends then, or when the
// stream cannot be followed. It belongs to the tail's thread.
#pragma once

#include "tail/source.h"

struct following {
    struct source *source; // where all of them are read
    struct table by_id;    // of feeds
    struct deadline_queue lingers;
};

void following_init(struct following *all, struct source *source);
void following_done(struct following *all); // fails all that are left

struct feed *following_find(const struct following *all, struct view id); // NULL: not followed

// FOLLOW, UNFOLLOW, REFRESH: the letter stays the caller's.
void following_take(struct following *all, const struct request *request);

// The stream cannot be followed; its subscribers are told.
void following_fail(struct feed *f, int close_code, const char *reason);
// Forgets the feed; if a read is unanswered, in two steps: call it again when it is
// (f->dead). Nobody listens to it.
void following_drop(struct feed *f);
