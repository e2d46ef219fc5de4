// What `doctor` finds: a line for each check, with what to do about it.
#pragma once

#include "base/base.h"

enum finding_state {
    FINDING_OK,
    FINDING_NOTE,  // could not be looked at, or is worth knowing
    FINDING_WARN,  // it works, but not as well or as safely as it could
    FINDING_WRONG, // it does not work
};

struct findings {
    bool is_json, is_coloured;
    struct buffer json; // the checks so far
    size_t count[FINDING_WRONG + 1];
};

// The text says what is; the hint, what to do, or "". Printed at once, unless it is JSON.
// Any bytes may stand in them.
void findings_add(struct findings *f, enum finding_state state, const char *check, const char *hint,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
// Prints what is left, and a line of sums; returns the exit status.
int findings_end(struct findings *f);
