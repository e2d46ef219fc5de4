// A whole world, played: a Redis, streams, brokers and clients, a plan of what befalls them, and
// the end, at which all is put right, everybody comes to be up to date, the brokers are told to go,
// nothing is left over, and the judge looks at what the clients had.
#pragma once

#include "plan.h"

struct outcome {
    char failure[600]; // the first promise that was broken; empty: none was
    size_t failures;
    uint64_t hash; // of all that happened
    uint64_t turns, calls, events, excused, exact, resumed, gaps;
    int64_t length_us; // of the world's time
};

void stage_play(const struct plan *plan, bool tracing, struct outcome *outcome);
