// What was asked on a connection and is unanswered, oldest first, and since when the oldest
// has been without progress. A long answer over a slow path takes its time, while a server
// that says nothing is given up. Pure; belongs to its link.
//
// Progress is a byte of an answer that came, or bytes of the oldest command that left. Bytes
// of later commands are none: the kernel of a server that hangs takes them for a long time.
#pragma once

#include "base/list.h"

struct unanswered {
    struct list asks;
    uint64_t sent;       // bytes that have left on this connection
    int64_t answered_ms; // when a byte of an answer came last
};

void unanswered_init(struct unanswered *u);
void unanswered_clear(struct unanswered *u); // the connection has ended

bool unanswered_any(const struct unanswered *u);
// A command was queued; `waiting` bytes of output, its own the last of them, have not left.
void unanswered_add(struct unanswered *u, bool is_ping, size_t waiting, int64_t now_ms);
// What does the next reply answer: a ping of the link's own, or the owner's command? False:
// nothing was asked.
bool unanswered_take(struct unanswered *u, bool *is_ping);

void unanswered_left(struct unanswered *u, size_t bytes, int64_t now_ms); // bytes of output left
void unanswered_heard(struct unanswered *u, int64_t now_ms); // a byte of an answer came
// While there are any: since when the oldest has been without progress.
int64_t unanswered_stuck_since_ms(const struct unanswered *u);
