// Reports to operators on their way (/metrics, /stats, /streams): a client in the state
// REPORT. A report is written as the client reads it and never kept whole; /streams waits
// for the tail first. On the worker's thread.
#pragma once

#include "worker/client.h"
#include "worker/report.h"

#define REPORTS_WAITING_MAX 8 // of one worker, for the tail
#define REPORT_WAIT_MS 2000   // for its answer; then 503

// Answers a request of a client in HEAD; takes over the report. False: too many wait already.
bool reporting_start(struct client *c, struct report *report);
// The next of it, when the last has left. At the end the client has its connection back for
// another request, or it is closed.
void reporting_continue(struct client *c);
// The tail's answer: whose it is goes on (the client is returned, NULL: it has gone).
struct client *reporting_listed(struct clients *all, struct listing *listing);
void reporting_wait_due(struct deadline *d);
