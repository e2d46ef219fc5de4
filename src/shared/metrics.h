// What the broker counts: one table of metrics, of which each thread has a row of its own.
//
//               connections   events_delivered   …   turn_seconds ▁▂▇▃▁ (a histogram)
//   worker-0        120            88213
//   worker-1        118            90001
//   tail             –                –
//   a source         –                –              (a Redis server: redis_*)
//
// A row is written by its owner's thread alone and may be read by any: relaxed atomics, which
// cost an ordinary addition. Who is asked sums the rows up (exposition.h).
//
// A metric has one cell in each row, or one for each value of its labels: those are few and
// known here, never a stream or a client. A histogram has one for each bucket, and one for
// the sum. Values are whole numbers of a small unit, `digits` decimal places of the base unit
// (3: milliseconds, 6: microseconds).
#pragma once

#include <stdatomic.h>

#include "base/base.h"
#include "log/notice.h"
#include "shared/codes.h"
#include "wire/ws.h"

// ---- the labels -----------------------------------------------------------------

// Of bond_clients: route and format.
#define CLIENT_KINDS(X)                                                                            \
    X(RAW, "ws", "raw")                                                                            \
    X(RAW_DEFLATED, "ws", "raw_deflated")                                                          \
    X(ENVELOPE, "ws", "envelope")                                                                  \
    X(ENVELOPE_DEFLATED, "ws", "envelope_deflated")                                                \
    X(SSE, "sse", "sse")                                                                           \
    X(HISTORY, "history", "json")

#define CLIENT_KIND_ENUMERATOR(name, route, format) CLIENT_KIND_##name,
enum client_kind { CLIENT_KINDS(CLIENT_KIND_ENUMERATOR) CLIENT_KINDS_COUNT };

// Of bond_connections_closed_total: the close codes, and two more.
enum {
    CLOSED_OTHER = WS_CLOSE_CODES_COUNT, // a peer's code that we do not know
    CLOSED_NONE,                         // ended without one: plain HTTP, a hang-up, a cut
    CLOSED_COUNT,
};

// How many cells a metric with such labels has. THREAD and SOURCE: the row says which.
#define CELLS_NONE 1
#define CELLS_THREAD 1
#define CELLS_SOURCE 1
#define CELLS_VERSION 1
#define CELLS_CLIENT CLIENT_KINDS_COUNT
#define CELLS_REFUSAL REFUSAL_CODES_COUNT
#define CELLS_CLOSE CLOSED_COUNT
#define CELLS_GAP GAP_REASONS_COUNT
#define CELLS_SKIP SKIP_REASONS_COUNT

// ---- the table ------------------------------------------------------------------

// X(id, kind, labels, name, unit, digits, help). A counter's name gets "_total". PEAK is a
// gauge of which the largest of all rows counts, and not their sum.
// clang-format off
#define METRIC_VALUES(X) \
    X(EVENTS_DELIVERED, COUNTER, NONE, "bond_events_delivered", "", 0, \
      "Events that were written whole to a client's socket") \
    X(WRITES, COUNTER, NONE, "bond_writes", "", 0, "Writes to clients' sockets that took something") \
    X(SENT_BYTES, COUNTER, NONE, "bond_sent_bytes", "bytes", 0, "Bytes that clients' sockets took") \
    X(CONNECTIONS, GAUGE, NONE, "bond_connections", "", 0, "Open connections of every kind") \
    X(CONNECTIONS_MAX, GAUGE, NONE, "bond_connections_max", "", 0, \
      "Connections that there may be at once (BOND_MAX_CLIENTS, or what the descriptor limit allows)") \
    X(CLIENTS, GAUGE, CLIENT, "bond_clients", "", 0, "Clients that are let in to a stream, by route and format") \
    X(SUBSCRIPTIONS, GAUGE, NONE, "bond_subscriptions", "", 0, \
      "Places in streams that clients have, those included that wait for the first read of theirs") \
    X(CLIENTS_LAGGING, GAUGE, NONE, "bond_clients_lagging", "", 0, \
      "Clients with events still to be written because their sockets are full, as of the last survey (about once a second)") \
    X(CLIENT_LAG_MAX_EVENTS, PEAK, NONE, "bond_client_lag_max_events", "", 0, \
      "Events that the client farthest behind has not had, as of the last survey") \
    X(CLIENT_LAG_MAX_BYTES, PEAK, NONE, "bond_client_lag_max_bytes", "bytes", 0, \
      "Bytes that the client with most of them ahead of it has not had, as of the last survey") \
    X(CLIENT_LAG_MAX_SECONDS, PEAK, NONE, "bond_client_lag_max_seconds", "seconds", 3, \
      "Age of the oldest event that a client has not had, as of the last survey") \
    X(CONNECTIONS_ACCEPTED, COUNTER, NONE, "bond_connections_accepted", "", 0, "Connections that were accepted") \
    X(REQUESTS_REFUSED, COUNTER, REFUSAL, "bond_requests_refused", "", 0, "Requests that were refused, by the error code of the reply") \
    X(CONNECTIONS_CLOSED, COUNTER, CLOSE, "bond_connections_closed", "", 0, \
      "Connections that ended, by WebSocket close code, for server-sent events by what it would be; none: without one (plain HTTP, a hang-up, a cut)") \
    X(PING_TIMEOUTS, COUNTER, NONE, "bond_ping_timeouts", "", 0, "Clients that were closed because no pong came") \
    X(GAPS, COUNTER, GAP, "bond_gaps", "", 0, \
      "Gaps: trimmed and reset once for each stream and loss, window, limit and slow once for each client that is concerned") \
    X(SUBSCRIPTIONS_BEHIND, COUNTER, NONE, "bond_subscriptions_behind", "", 0, \
      "Subscriptions of sockets of many streams that ended because the client fell behind in them") \
    X(EVENTS_PASSED_OVER, COUNTER, NONE, "bond_events_passed_over", "", 0, "Events that clients with slow=skip or slow=latest did not get") \
    X(OUTBOX_BYTES, GAUGE, NONE, "bond_outbox_bytes", "bytes", 0, "Memory of what waits for clients outside the rings") \
    X(OUTBOX_LIMIT_BYTES, GAUGE, NONE, "bond_outbox_limit_bytes", "bytes", 0, "BOND_OUTBOX_BYTES") \
    X(EVENTS_READ, COUNTER, NONE, "bond_events_read", "", 0, "Events that were read from Redis") \
    X(EVENTS_SKIPPED, COUNTER, SKIP, "bond_events_skipped", "", 0, "Entries of streams that are no valid event and are never delivered") \
    X(COMPRESSION_INPUT_BYTES, COUNTER, NONE, "bond_compression_input_bytes", "bytes", 0, "Bytes of the events that were compressed, before that") \
    X(COMPRESSION_OUTPUT_BYTES, COUNTER, NONE, "bond_compression_output_bytes", "bytes", 0, "Bytes of their frames after that") \
    X(STREAMS_FOLLOWED, GAUGE, NONE, "bond_streams_followed", "", 0, "Streams that are followed in Redis") \
    X(STREAMS_FOLLOWED_MAX, GAUGE, NONE, "bond_streams_followed_max", "", 0, "BOND_MAX_FOLLOWED") \
    X(RING_BYTES, GAUGE, NONE, "bond_ring_bytes", "bytes", 0, "Memory of all rings") \
    X(RING_LIMIT_BYTES, GAUGE, NONE, "bond_ring_limit_bytes", "bytes", 0, "BOND_MEMORY_BYTES, or what it stands for when it is 0") \
    X(RING_WINDOW_SECONDS, GAUGE, NONE, "bond_ring_window_seconds", "seconds", 0, "BOND_RING_SECONDS: how far back clients may replay") \
    X(RING_SPAN_SECONDS, GAUGE, NONE, "bond_ring_span_seconds", "seconds", 3, \
      "How far back they can, in the stream that memory limits shortened most lately") \
    X(RING_SHORTFALL_SECONDS, GAUGE, NONE, "bond_ring_shortfall_seconds", "seconds", 3, \
      "The window less that span: what memory limits have cost lately; 0 when no ring was shortened in the last 10 to 20 s") \
    X(RING_SHORTENINGS, COUNTER, NONE, "bond_ring_shortenings", "", 0, "Segments of rings that were dropped before their time, for memory") \
    X(REDIS_UP, GAUGE, SOURCE, "bond_redis_up", "", 0, "1: events can be read; 0: not connected, not heard, or only errors come") \
    X(REDIS_TRACKING, GAUGE, SOURCE, "bond_redis_tracking", "", 0, "1: Redis says what changed (CLIENT TRACKING); 0: all streams are polled") \
    X(REDIS_CONNECTS, COUNTER, SOURCE, "bond_redis_connects", "", 0, "Connections to Redis that came up, the first one included") \
    X(REDIS_RECONNECTS, COUNTER, SOURCE, "bond_redis_reconnects", "", 0, "Connections to Redis that came up after the first one") \
    X(REDIS_READS, COUNTER, SOURCE, "bond_redis_reads", "", 0, "Reads of streams by XRANGE alone") \
    X(REDIS_CHECKS, COUNTER, SOURCE, "bond_redis_checks", "", 0, "Reads of streams with XINFO beside them, to explain what is missing") \
    X(REDIS_HOTLINE_READS, COUNTER, SOURCE, "bond_redis_hotline_reads", "", 0, "Answers of the second connection that brought events") \
    X(REDIS_CLOCK_DIFFERENCE_SECONDS, GAUGE, SOURCE, "bond_redis_clock_difference_seconds", "seconds", 3, "Redis's clock less that of this machine") \
    X(READY, GAUGE, NONE, "bond_ready", "", 0, "1: /ready says 200") \
    X(BUILD_INFO, GAUGE, VERSION, "bond_build_info", "", 0, "Always 1; the version is a label") \
    X(PROCESS_CPU_SECONDS, COUNTER, NONE, "process_cpu_seconds", "seconds", 6, "Total user and system CPU time spent in seconds.") \
    X(PROCESS_RESIDENT_BYTES, GAUGE, NONE, "process_resident_memory_bytes", "bytes", 0, "Resident memory size in bytes.") \
    X(PROCESS_VIRTUAL_BYTES, GAUGE, NONE, "process_virtual_memory_bytes", "bytes", 0, "Virtual memory size in bytes.") \
    X(PROCESS_OPEN_FDS, GAUGE, NONE, "process_open_fds", "", 0, "Number of open file descriptors.") \
    X(PROCESS_MAX_FDS, GAUGE, NONE, "process_max_fds", "", 0, "Maximum number of open file descriptors.") \
    X(PROCESS_START_SECONDS, GAUGE, NONE, "process_start_time_seconds", "seconds", 3, "Start time of the process since unix epoch in seconds.")

// X(id, labels, name, unit, digits, low_bits, octaves, step_bits, help). The first bucket is
// up to 2^low_bits; each of the octaves behind it, up to the double, is cut into 2^step_bits
// equal buckets; what is above all of them is +Inf. (Log-linear; step_bits <= low_bits.)
#define METRIC_HISTOGRAMS(X) \
    X(DELIVERY_LATENCY, NONE, "bond_delivery_latency_seconds", "seconds", 6, 9, 17, 1, \
      "From an event's id, by Redis's clock and to the millisecond, to the end of the write to all clients that keep up; the oldest new event of a stream and turn stands for all of them, and counts once for each write") \
    X(CLIENT_LAG_EVENTS, NONE, "bond_client_lag_events", "", 0, 0, 20, 0, \
      "Events that a client has not had: each client is a sample of each survey (about one a second)") \
    X(CLIENT_LAG_BYTES, NONE, "bond_client_lag_bytes", "bytes", 0, 10, 17, 0, "Bytes that a client has not had, as bond_client_lag_events") \
    X(CLIENT_LAG_SECONDS, NONE, "bond_client_lag_seconds", "seconds", 6, 13, 17, 0, \
      "Age of the oldest event that a client has not had, as bond_client_lag_events") \
    X(REDIS_ROUND_TRIP, SOURCE, "bond_redis_round_trip_seconds", "seconds", 6, 6, 18, 0, \
      "From a question to Redis (a read of a stream, or TIME) to its answer") \
    X(TURN, THREAD, "bond_turn_seconds", "seconds", 6, 5, 18, 0, \
      "Turns of a thread's loop, without its sleep: what else is due waits so long")
// clang-format on

#define HISTOGRAM_BUCKETS(octaves, step_bits) (1 + ((octaves) << (step_bits)) + 1)

// Cells: METRIC_WRITES, METRIC_GAPS + GAP_SLOW, …
#define VALUE_CELLS(id, kind, labels, name, unit, digits, help)                                    \
    METRIC_##id, LAST_##id = METRIC_##id + CELLS_##labels - 1,
#define HISTOGRAM_CELLS(id, labels, name, unit, digits, low_bits, octaves, step_bits, help)        \
    METRIC_##id, LAST_##id = METRIC_##id + HISTOGRAM_BUCKETS(octaves, step_bits),
enum metric_cell { METRIC_VALUES(VALUE_CELLS) METRIC_HISTOGRAMS(HISTOGRAM_CELLS) METRIC_CELLS };

#define HISTOGRAM_ENUMERATOR(id, ...) HISTOGRAM_##id,
enum histogram { METRIC_HISTOGRAMS(HISTOGRAM_ENUMERATOR) HISTOGRAMS_COUNT };

// ---- rows -----------------------------------------------------------------------

struct metrics {        // a row; zeroed at first
    const char *thread; // "worker-0", "tail"; NULL: it is no thread's
    const char *source; // "redis.example:6379"; NULL: it is no source's
    atomic_ullong cells[METRIC_CELLS];
};

static inline void metrics_set(struct metrics *m, size_t cell, uint64_t value)
{
    atomic_store_explicit(&m->cells[cell], value, memory_order_relaxed);
}

static inline uint64_t metrics_get(const struct metrics *m, size_t cell)
{
    return atomic_load_explicit(&m->cells[cell], memory_order_relaxed);
}

static inline void metrics_add(struct metrics *m, size_t cell, uint64_t n)
{
    metrics_set(m, cell, metrics_get(m, cell) + n);
}

static inline void metrics_subtract(struct metrics *m, size_t cell, uint64_t n)
{
    metrics_set(m, cell, metrics_get(m, cell) - n); // of rows one may be below 0, not their sum
}

// `weight` samples of that value, in the histogram's unit.
void metrics_observe(struct metrics *m, enum histogram histogram, uint64_t value, uint64_t weight);

// All rows of a broker: filled before its threads start, read-only then.
#define METRIC_ROWS_MAX 384
struct metric_rows {
    size_t count;
    struct metrics *rows[METRIC_ROWS_MAX];
};
void metric_rows_add(struct metric_rows *all, struct metrics *row);
uint64_t metric_rows_sum(const struct metric_rows *all, size_t cell);
uint64_t metric_rows_peak(const struct metric_rows *all, size_t cell); // the largest

// ---- the table as data, for who shows it ----------------------------------------

enum metric_kind { KIND_COUNTER, KIND_GAUGE, KIND_PEAK, KIND_HISTOGRAM };

struct metric_labels {
    bool by_thread, by_source; // the row's thread or source is the one label
    size_t count;              // else so many values of
    const char *names[2];      // these; the second one is NULL where there is but one
    const char *const (*values)[2];
};

struct metric {
    enum metric_kind kind;
    const struct metric_labels *labels;
    size_t cell; // the first one
    const char *name, *unit, *help;
    int digits;
    unsigned low_bits, octaves, step_bits; // of a histogram
};

extern const struct metric metric_table[];
extern const size_t metric_table_len;

static inline size_t metric_buckets(const struct metric *m)
{
    return HISTOGRAM_BUCKETS(m->octaves, m->step_bits);
}
// The largest value of the i-th bucket of a histogram; the last one has none (+Inf).
uint64_t metric_bucket_bound(const struct metric *m, size_t i);
