// How far behind clients are: a survey of those that have not had all of their log, which are
// in `blocked` or `ready` of a stream. All others lag by nothing, and are only counted.
//
// A survey begins once a second, looks at no more than LAG_CLIENTS_PER_LOOK clients and
// streams at once, and goes on at the next look of its worker (each 250 ms): what it costs
// has a bound, and nobody who asks for metrics pays for it. When it is over, the largest lags
// and the number of those who lag are published; each client is one sample of the histograms
// for each survey. (A client that is written to between two looks of one long survey may be
// counted as one that keeps up.)
//
// It belongs to its worker's thread.
#pragma once

#include "worker/client.h"

#define LAG_CLIENTS_PER_LOOK 2048

struct lag_survey *lag_new(void);   // free(3) it
void lag_look(struct clients *all); // begins a survey if it is time, or goes on with one
