// What a client can have without any broker: one process that itself sits in
// XREAD BLOCK. Its latency is what a broker's is compared with.
#pragma once

#include "board.h"

// Follows stream 0; never returns: the coordinator ends it.
_Noreturn void direct_run(const struct options *o, struct board *board, struct tally *tally);
