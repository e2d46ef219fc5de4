// Who has a pace (pace.h) is served: at its ticks, and when news comes in a pause.
#pragma once

#include "worker/client.h"

// At a tick, or because news came in a pause: whoever waits gets the newest.
void pacing_run(struct clients *all, struct pace *p, bool is_tick);
// The stream has news, or Redis is (un)readable: what that means to all of its paces.
void pacing_flush(struct clients *all, struct stream *s);
