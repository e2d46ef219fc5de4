// The whole: one tail, some workers, signals.
#pragma once

#include "shared/config.h"

// Runs until SIGTERM or SIGINT has been obeyed; a second one ends it at once. SIGHUP,
// SIGUSR1 and SIGUSR2 are only said. Returns the exit status. Says everything in the log.
int broker_run(const struct config *config);
