// The events of the bench: JSON of a chosen size, that carry their number within
// the stream and the time at which they were due, both at fixed places, so that a
// client of many need not parse:
//
//   {"n":"0000000123","t":"0000000123456789012","levels":[[64211.52,0.01342],…],"pad":"xx"}
//
// The levels look like market data, so that compression has an honest task.
#pragma once

#include "base/base.h"

#define STAMP_SIZE_MIN 80
#define STAMP_SIZE_MAX (512 * KIB)

struct stamp {
    uint64_t number; // from 0, within the stream
    int64_t due_ns;  // clock_ns()
};

// Writes exactly `size` bytes.
void stamp_write(struct stamp stamp, char *out, size_t size);
// Finds the stamp in a message: at its start, or (an envelope around it) further
// behind. False: there is none.
bool stamp_read(struct view message, struct stamp *stamp);
