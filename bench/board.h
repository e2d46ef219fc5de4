// What the processes of a run share: the options, made before the first fork and
// never changed, and a tally for each client process, written by it alone while
// the coordinator looks on.
#pragma once

#include <stdatomic.h>

#include "histogram.h"
#include "probe.h"

// How the commands of one burst reach Redis. None waits for an answer in between, and none
// is a transaction.
enum burst_writes {
    BURST_EACH,   // a write for each command: hiredis, asyncio, ioredis, a loop of xadd()
    BURST_PACKED, // writes of about 6000 bytes: redis-py's pipeline(transaction=False)
    BURST_ONE,    // one write, however long
};

struct options {
    // whom
    char host[64], redis_host[64];
    int port, redis_port;
    const char *path;  // of the WebSocket; {stream} and {token} are filled in
    const char *query; // appended to it
    const char *post;  // publish by HTTP POST to this path of the server; NULL: XADD
    const char *secret, *stream_name;
    struct probe server, redis;
    // how many
    size_t clients, streams, processes, sources, in_flight, stalled;
    int read_every_us; // the clients read so often; 0: when something comes
    int rcvbuf;        // of the client sockets, in bytes; 0: the kernel's choice
    bool compress;
    // what
    size_t size;  // bytes of an event
    double rate;  // events a second, over all streams
    size_t burst; // so many are due at once
    enum burst_writes burst_writes;
    size_t prefill; // events of each stream that are there before the first client
    size_t maxlen;  // of a stream in Redis, about
    bool replay;    // the clients ask for those, and nothing else comes
    double warmup_s, duration_s, settle_s, limit_s;
    int load_cpu, floor_cpu;
    bool json;
};

// Events are numbered over all streams, and dealt out to them in turn.
static inline size_t stream_of(const struct options *o, uint64_t event)
{
    return (size_t)(event % o->streams);
}

static inline uint64_t number_of(const struct options *o, uint64_t event)
{
    return event / o->streams;
}

// How many of the first `events` events are the stream's.
static inline uint64_t events_of(const struct options *o, size_t stream, uint64_t events)
{
    return events / o->streams + (stream < events % o->streams);
}

// When an event is due. They come in bursts: `burst` events at one time.
static inline int64_t due_of(const struct options *o, int64_t start_ns, uint64_t nth)
{
    return start_ns + (int64_t)((double)(nth / o->burst * o->burst) * 1e9 / o->rate);
}

struct tally {
    _Alignas(64) atomic_ullong connected, refused, closed;
    atomic_ullong delivered, bytes, reads;
    atomic_ullong segments;        // of TCP, with data, after the handshake; set at the end
    atomic_ullong lost;            // numbers that were passed over, or had not come at the end
    atomic_ullong late;            // a number again, or after a higher one
    atomic_ullong malformed;       // not a WebSocket frame, or a message without a number
    atomic_ullong deflated;        // clients whose handshake agreed on compression
    atomic_int status, close_code; // the last refusal's and close's, to be shown
    struct histogram latency;
};

struct board {
    atomic_llong measure_from_ns; // events due from then on go into the histogram
    atomic_ullong events;         // all that were published; set before the end
    struct tally tallies[];
};

static inline void tally_add(atomic_ullong *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
