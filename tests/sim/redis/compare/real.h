// A real redis-server for one run, in a directory of its own, on a unix socket in it; and
// connections to it that only carry bytes.
#pragma once

#include "base/base.h"

struct real;

struct real_conn {
    int fd;
    struct buffer heard; // not yet taken
    bool is_closed;      // it has hung up
};

struct real *real_start(void); // exits with a sentence if it does not come up
void real_stop(struct real *r);

struct real_conn *real_connect(struct real *r);
void real_close(struct real_conn *c);
void real_send(struct real_conn *c, struct view bytes);
void real_hear(struct real_conn *c);                // what is there now
bool real_hear_within(struct real_conn *c, int ms); // wait for something; false: nothing came

// Words between spaces, on a connection that is nobody else's. Returns the first line of the answer, valid
// until the next call. Exits if the server does not answer.
const char *real_control(struct real *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
// Behind it the server has done what was sent before, and written its answers: it writes in the
// same turn as it reads, though not in which order; so it is asked twice.
void real_settle(struct real *r);
// Between these it reads nothing: what is sent meanwhile it finds in one turn.
void real_hold(struct real *r);
void real_go_on(struct real *r);
