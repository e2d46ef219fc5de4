// One process full of WebSocket clients: they connect, read, and check what they
// read. It costs as little as it can, for it shares the machine with the measured.
#pragma once

#include "board.h"

// The clients first .. first + count - 1 of the run; client k follows stream k mod
// S. Returns when the other end of `control_fd` is closed.
void clients_run(const struct options *o, struct board *board, struct tally *tally, size_t first,
                 size_t count, int control_fd);
