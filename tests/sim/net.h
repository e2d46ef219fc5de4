// The net: connections of two ends, each a pipe of bytes towards the other.
//
//            what was written        what has arrived        what was read
//   writer ──▶│ its send buffer ──latency──▶│ the receive buffer ──▶│ reader
//             └─ at most send_room          └─ at most receive_room
//
// Bytes arrive in pieces that chance cuts, never out of order. A connection can be reset, and
// can go silent: then nothing arrives any more, in neither direction, and nobody is told.
//
// An end belongs to a broker's descriptor (file.h) or to somebody of the world's own: a
// client, a Redis. Either is told when there is something to do.
#pragma once

#include "world.h"

struct end;
struct connection;

// One direction. Positions count bytes since the beginning.
struct pipe {
    char *bytes; // those from `read` on, `base` is the position of the first that is kept
    size_t base, cap;
    size_t written, arrived, read;
    size_t send_room, receive_room;
    bool ends;          // the writer will write no more
    bool has_ended;     // the reader can know that
    int64_t last_at_us; // when the last piece is to arrive: the next comes no sooner
    struct event arrival;
};

struct end {
    struct connection *connection;
    struct pipe in; // towards this end
    bool closed;    // by its owner
    bool read_shut; // closed with bytes unread: what comes now is answered by a reset
    int error;      // ECONNRESET, ETIMEDOUT, ECONNREFUSED: to be told once
    bool broken;    // it was told, or is to be
    bool connecting;
    int64_t user_timeout_us; // TCP_USER_TIMEOUT; 0: none
    uint64_t turn; // of the thread that used it last (file.h), and what that turn has moved
    size_t turn_read, turn_written;
    int port; // of the other end's listener
    // Who is told that something changed: bytes came, room came, an error.
    void (*changed)(struct end *e);
    void *owner;
};

struct connection {
    struct end ends[2]; // the one that connected, the one that accepted
    int64_t latency_us;
    bool silent;
    bool slow_start; // cut every delivery
    int refs;
    struct event opening, silence;
    struct list node; // of all
};

struct end *end_other(const struct end *e);

// A listener on a port: asked when somebody connects. False: refused.
struct acceptor {
    struct list node;
    int port;
    bool (*accept)(struct acceptor *a, struct end *e); // takes the end, sets changed and owner
};
void acceptor_open(struct acceptor *a);
void acceptor_close(struct acceptor *a);

void net_init(void);
void net_done(void); // all is closed; what is left is dropped
size_t net_open_ends(void);

// Connects; the end is told by `changed` when it is open (connecting is false then) or refused.
struct end *net_connect(int port, void (*changed)(struct end *e), void *owner);
// Ports that do not answer at all: connecting to them hangs. And those that refuse.
void net_set_unreachable(int port, bool hangs);

size_t end_write(struct end *e, const void *at, size_t len); // how many it took
size_t end_read(struct end *e, void *at, size_t len);
size_t end_waiting(const struct end *e); // bytes to be read now
bool end_at_end(const struct end *e);    // nothing is left, and nothing will come
size_t end_room(const struct end *e);    // how many can be written now
size_t end_unsent(const struct end *e);  // written, not arrived: SIOCOUTQ
void end_shut(struct end *e);            // no more is written
void end_close(struct end *e);           // and the end is forgotten by its owner
void end_reset(struct end *e);           // closes with a reset
void connection_silence(struct connection *c);
// What the other end may have unsent towards it, and what it may have unread.
void end_limit_input(struct end *e, size_t send_room, size_t receive_room);
