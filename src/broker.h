// The whole: one tail, some workers, signals.
#pragma once

#include "shared/config.h"

// Runs until SIGTERM or SIGINT has been obeyed; a second one ends it at once.
// Returns the exit status. Says everything in the log.
int broker_run(const struct config *config);
