// What an operator asked for, written piece by piece as it is sent: /metrics, /stats and
// /streams. It knows no client; its owner is whoever sends it (reporting.h).
#pragma once

#include "base/list.h"
#include "shared/config.h"
#include "shared/exposition.h"
#include "shared/listing.h"
#include "wire/http.h"

enum report_kind { REPORT_METRICS, REPORT_STATS, REPORT_STREAMS };

struct report {
    enum report_kind kind;
    bool begun, ended;
    // REPORT_METRICS, REPORT_STATS: all rows, and one of what is known only when asked.
    struct exposition exposition;
    struct metric_rows rows;
    struct metrics now;
    int64_t redis_now_ms;
    // REPORT_STREAMS: what is asked of the tail, and its answer.
    struct listing_order order;
    size_t limit;
    struct buffer match;
    struct listing *listing; // NULL: it has not come
    size_t sent;             // streams of it

    struct list waiting; // its owner's
    uint64_t ticket;
    void *owner;
};

// The kind that a path stands for; false: none.
bool report_route(struct view path, enum report_kind *kind);

// From the query (and, for /metrics, from Accept). NULL: *wrong is a sentence that says what
// was expected.
struct report *report_new(enum report_kind kind, const struct http_request *req,
                          const char **wrong);
void report_free(struct report *r); // NULL: nothing

struct view report_content_type(const struct report *r);

// What the broker's threads have counted, and what is asked of the system and of Redis's pulse.
struct report_world {
    const struct metric_rows *rows;
    const struct config *config;
    bool redis_readable, is_ready;
    int64_t redis_now_ms;
    int64_t clock_difference_ms; // Redis's clock less this machine's
    size_t connections_max;
};
void report_look(struct report *r, const struct report_world *world);

// Appends the next piece. False: it has ended.
bool report_next(struct report *r, struct buffer *out);
