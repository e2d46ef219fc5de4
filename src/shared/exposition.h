// The metrics as texts: Prometheus' (0.0.4), OpenMetrics (1.0), and JSON. They are written
// piece by piece, each small: a metric, or one row of a metric that has its rows' labels. So
// who sends them keeps no more than a piece, however many threads there are.
//
// A piece is consistent in itself: a histogram's count is the sum of its buckets.
#pragma once

#include "shared/metrics.h"

enum exposition_format { EXPOSITION_PROMETHEUS, EXPOSITION_OPENMETRICS, EXPOSITION_JSON };

// Their Content-Type.
#define EXPOSITION_PROMETHEUS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSITION_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct exposition { // zeroed, but for the format, it is at the beginning
    enum exposition_format format;
    size_t metric, row; // what comes next
};

// Appends the next piece. False: there is none, all has been written. In JSON, all of them
// are the members of one object, whose braces are the caller's.
bool exposition_next(struct exposition *e, const struct metric_rows *rows, struct buffer *out);
