// A worker's view of the streams that its clients listen to: for each, the log as
// letters told it, and the clients by what they wait for.
//
//   waiting   for the ring to be primed: nothing can be sent yet
//   idle      at the end of the log: they wait for news
//   ready     behind, and their socket takes more: their turn comes
//   blocked   behind, and their socket is full: they wait for EPOLLOUT
//
// The same stream in two forms is two of these. A stream belongs to its worker's
// thread. It knows nodes, not clients.
#pragma once

#include "base/deadline.h"
#include "base/table.h"
#include "shared/letter.h"

struct stream {
    struct streams *all;
    struct table_node by_id;
    struct list in_failed;  // of all->failed, once it is not in the table any more
    struct list in_changed; // of all->changed: idle or ready clients have something to do
    struct list waiting, idle, ready, blocked;
    struct list seats_waiting, seats_idle, seats_ready; // of clients of many streams (hub.h)
    size_t clients;                                     // in any list
    struct listening listening;                         // what the tail may see of it
    struct list in_lagging; // of all->lagging: some have not had all of the log
    struct list paces;      // of its clients with every= (pace.h)
    struct deadline pause;  // armed: the idle ones had their write, and wait (BOND_FLUSH_MS)
    bool held;              // for what they wait there is something by now
    struct log log;
    struct eventid last; // the newest id that the stream is known to have had
    struct floor floor;
    uint64_t epoch;     // the log is up to date as of this recovery of Redis
    uint64_t epoch_due; // and is stale until it is up to date as of this one
    bool primed;
    bool failed; // the tail has forgotten it: a client that comes now begins anew
    enum form form;
    size_t id_len;
    char key[]; // the form and the id
};

struct streams {
    struct table by_id;
    struct list failed; // those that some client still reads the end of
    struct list changed;
    struct list lagging; // to be surveyed (lag.h)
    size_t listeners;    // places in all of them
    struct mailbox *self, *tail;
    uint64_t epoch_due; // of a stream that is new
};

void streams_init(struct streams *s, struct mailbox *self, struct mailbox *tail);
void streams_done(struct streams *s); // frees what is left, clients having gone

// The stream of that id in that form, followed from now on if it was not. The caller adds its
// client with stream_join and calls stream_leave when it goes: then, if it was the
// last, the tail is told and the stream may be gone on return.
struct stream *streams_find(struct streams *s, enum form form, struct view id);
struct stream *streams_known(struct streams *s, enum form form, struct view id); // or NULL
void stream_join(struct stream *s);
void stream_leave(struct stream *s);
void stream_count_listener(struct stream *s, int change); // a place in it is taken, or left

// The tail has forgotten the stream: nobody new joins it. Who reads what there was of it
// may go on.
void stream_fail(struct stream *s);
struct stream *streams_any(const struct streams *s); // one that has clients; NULL: none has

// Each of its lists of clients, and of seats; NULL: no more.
struct list *stream_list(struct stream *s, size_t i);
struct list *stream_seats(struct stream *s, size_t i);

void stream_mark_changed(struct stream *s);
void stream_mark_lagging(struct stream *s); // somebody is in `blocked` or `ready`

// Redis cannot be read, or could not: the log may lack what was published since,
// until it has been read in a later epoch (pulse.h) than `epoch`.
void streams_mark_stale(struct streams *s, uint64_t epoch);
static inline bool stream_is_stale(const struct stream *s)
{
    return s->epoch < s->epoch_due;
}

// Asks the tail to read the stream now; a news letter with `refreshed` answers.
void stream_refresh(struct stream *s);

// What a letter says, in two steps: what has left the ring goes first (before that,
// clients that have not had it must be looked after), then what is new comes. The
// extents' references are taken over; the letter is the caller's to free.
void stream_trim(struct stream *s, uint64_t first_seq);
void stream_learn(struct stream *s, struct news *news);

void stream_free(struct stream *s); // on UNFOLLOWED: nobody names it any more

static inline struct view stream_id(const struct stream *s)
{
    return (struct view){ s->key + 1, s->id_len };
}
