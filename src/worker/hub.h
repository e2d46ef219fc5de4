// A client of many streams on one socket (GET /ws): its seats, one in each stream that it
// has subscribed to.
//
//   client ── hub ──▶ seat ─▶ stream        waiting ──primed──▶ replaying ──▶ live ◀──▶ lagging
//                 ──▶ seat ─▶ stream           │                   │            │          │
//                 ──▶ …                        └───────────────────┴── ending ──┴──────────┘
//
// A seat stands in one list of its stream (waiting, idle, ready), as the subscription of a
// client of one stream does; and while it has something to send or to say, in its hub's
// list of ready seats, from which a write takes in turn (hub_flush.h). A seat that ends is
// gone at once; what is to be said of that waits in the hub (struct ending).
//
// This file holds the seats and knows no sockets. It belongs to its worker's thread.
#pragma once

#include "base/deadline.h"
#include "log/notice.h"
#include "worker/commands.h"
#include "worker/pace.h"
#include "worker/stream.h"

struct client;

struct seat {
    struct list node; // of stream->seats_waiting, seats_idle or seats_ready
    struct stream *stream;
    uint64_t seq; // where it stands in the stream's log, once it has begun
    struct hub *hub;
    struct list in_ready;   // of hub->ready
    struct seat_more *more; // what only a seat in the middle of something needs
    uint32_t expiry_s;      // its token's, with live expiry; else 0
    bool begun : 1;         // the stream was primed: `seq` counts
    unsigned slow : 2;      // enum slow
    unsigned every_ms : 22; // of its pace; 0: it gets each event
    bool told_stale : 1;
    bool told_expiring : 1;
    bool due : 1;    // with a pace: it may have the newest event now
    bool fresh : 1;  // with a pace: it has had one since the last tick
    bool ticked : 1; // it is due because of a tick
};

struct seat_more {
    struct seat *of;
    struct start start;     // where it wants to begin
    int64_t let_in_ms;      // Redis's clock, when it was let in to wait; 0: it was not
    uint64_t live_seq;      // its replay ends here
    struct eventid live_id; // and this was the newest id then
    struct gap first_gap;   // of what it asked for, this will not come
    struct gap slow_gap;    // of all that was passed over since the last one was told
    struct deadline join;   // armed while the stream is not primed
    bool says_hello, has_first_gap, replaying, has_slow_gap, to_latest, says_expiring, confirmed;
    uint8_t ref_len;
    char ref[COMMAND_REF_MAX]; // of the command that asked for it
};

// A subscription that has ended, and of which the client is still to hear.
struct ending {
    struct list node;
    int code;
    struct eventid last;
    bool has_ref;
    uint8_t ref_len, reason_len;
    char ref[COMMAND_REF_MAX];
    char reason[124];
    size_t name_len;
    char name[];
};

struct hub {
    struct client *client;
    enum form form;
    struct list in_crowd; // of the hubs that are to be flushed in this turn
    struct list ready;    // seats
    size_t ready_count;
    struct list endings;
    struct seat **slots; // by stream; open addressing
    size_t slot_count, count;
    struct seat *current; // its event at `seq` is partly sent, `skip` bytes of it; NULL: none
    uint32_t skip;
    int64_t look_at_s;      // when the next token of a seat has something to be done; Unix time
    struct deadline empty;  // armed while there is no subscription
    struct command command; // being carried out
    bool has_command;
    struct buffer defaults[6]; // what the handshake's options point into
    struct subscribe_options options;
};

struct hub *hub_new(struct client *client, enum form form);
void hub_free(struct hub *h); // all seats leave

// The seat in that stream; NULL: none.
struct seat *hub_find(const struct hub *h, const struct stream *s);
// A new seat, waiting; it has none there.
struct seat *hub_sit(struct hub *h, struct stream *s);
// Leaves the stream; the seat is gone. Not while an event of it is partly sent.
void hub_leave(struct seat *seat);
// The same, and the client is to be told. ref: of the command that asked for it, or none.
void hub_end(struct seat *seat, int code, struct view reason, struct eventid last, struct view ref);

struct seat_more *seat_need_more(struct seat *seat);
void seat_drop_more_if_idle(struct seat *seat);

// It has something to send or to say; or nothing any more.
void seat_mark_ready(struct seat *seat);
void seat_mark_done(struct seat *seat);

static inline bool seat_has_caught_up(const struct seat *seat)
{
    if (seat->every_ms > 0 && !seat->due)
        return seat->begun;
    return seat->begun && seat->seq == seat->stream->log.end_seq;
}
