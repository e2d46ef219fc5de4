// Standard output, line by line, and below it, on a terminal, one line of state that is
// written anew in its place (on standard error, so that it is never in a file).
//
// When nobody reads the output any more, the process ends as SIGPIPE would end it.
#pragma once

#include "base/loop.h"

struct screen {
    bool is_coloured; // lines may have colours
    bool has_state;   // there is a line of state
    bool is_shown;    // it stands there now
    struct buffer out, state;
    struct watch reader; // of a pipe: tells when its other end has gone
};

void screen_init(struct screen *s, struct loop *loop, bool may_colour);
void screen_done(struct screen *s);
// Writes what is in `out`, waiting for who reads it. False: that failed, and it was said why.
bool screen_flush(struct screen *s);
void screen_flush_if_full(struct screen *s);           // when much has come in one turn
void screen_note(struct screen *s, struct view line);  // to standard error
void screen_state(struct screen *s, struct view line); // the line of state from now on
