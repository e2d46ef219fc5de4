// A Redis in memory: what the broker uses of one, answered byte for byte as Redis 7.0
// answers it. It is a pure machine, for a simulated world: no system call, no clock, no
// thread, no state outside itself, and the same input gives the same output. Bytes of
// clients go in, bytes for clients come out; whoever owns it says what time it is. A
// world may have several: replicas, a server before and after a restart.
//
//      model_feed ──▶ commands ──▶ keys ──▶ invalidations ─┐
//          ▲                        │                      ├──▶ model_output
//   model_set_time_us ──▶ blocked readers (XREAD BLOCK) ───┘
//
// It is held against a real redis-server: compare.c plays the same commands to both.
//
// Known: HELLO AUTH QUIT SELECT PING ECHO TIME INFO ROLE, CLIENT SETNAME|GETNAME|ID|
// TRACKING ON|OFF, MULTI EXEC DISCARD, XADD XTRIM XDEL XLEN XRANGE XREVRANGE XREAD XSETID
// XINFO STREAM|GROUPS, DEL UNLINK EXISTS TYPE RENAME SET GET SCAN KEYS FLUSHALL FLUSHDB.
// All else is an unknown command. Not there: expiry, WATCH, scripts, consumer groups,
// publish and subscribe, cluster, eviction, options of SET and CLIENT TRACKING.
//
// Where it differs from Redis, and what that means:
//   - SCAN and KEYS return the keys in an order of their own, which depends on their names
//     alone. Redis's depends on a seed of the process.
//   - INFO has the sections Server, Clients and Replication with the lines that are read.
//   - Inline commands are split at spaces; quotes are not known.
//   - XTRIM MINID may leave a node of deleted entries alone; if XSETID then goes below them, Redis
//     puts the next node in front of that one and may not find its entries. Here it does.
//   - A big pipeline is one turn, where Redis reads 16 KiB or more at a time.
//   - FLUSHALL in a transaction and a snapshot that is loaded make several keys ready in the order of
//     the table, in Redis in one that depends on the process.
//   - Nothing that is too large is refused: no limit of output, of queries, of memory.
//   - A version before 7.0 differs in what the broker can notice (see model_options).
//
// Memory: allocation fails by CHECK. Every pointer from here belongs to its model.
#pragma once

#include "base/base.h"

struct model;
struct model_conn;
struct model_image;

struct model_options {
    // NULL: "7.0.15". Before 6: no HELLO and no CLIENT TRACKING, so RESP2 alone. Before 7: XINFO
    // STREAM does not say entries-added, max-deleted-entry-id, recorded-first-entry-id.
    const char *version;
    uint64_t life;           // the run_id is made from it: another number, another run_id
    int64_t unix_us;         // the time at first
    size_t node_entries_max; // stream-node-max-entries; 0: 100, as Redis has it
    size_t node_bytes_max;   // stream-node-max-bytes; 0: 4096
};

struct model *model_new(const struct model_options *options);
void model_free(struct model *m); // its connections too

// ---- what ails it ---------------------------------------------------------------
// May be set at any time, and hold from the next command on. A server that hangs, is slow
// or is not there is the world's to play: it feeds nothing.

struct model_switches {
    bool loading;     // LOADING to all that reads or writes keys, and to PING
    bool master_down; // MASTERDOWN likewise: a replica that serves no stale data
    bool busy;        // BUSY: a script runs
    bool no_tracking; // CLIENT TRACKING is an unknown subcommand (some proxies)
};
struct model_switches *model_switches(struct model *m);

// From then on it is a replica: writes are READONLY, ROLE and HELLO say so. Readers that are
// blocked hear UNBLOCKED and are hung up, as when REPLICAOF comes. False: a master again.
void model_set_replica(struct model *m, bool is_replica);

// A user of the ACL, made or changed; connections that are that user keep on being it. All may
// be NULL. A password of NULL: none is needed. `forbidden`: commands that are refused with
// NOPERM, between spaces: "multi xinfo|stream client". `keys`: the patterns of keys that may
// be touched, between spaces; NULL: all. The user "default" is there from the beginning, may
// do everything, and every new connection without a password is it. With a password, as
// with requirepass, a connection must say AUTH first. A user that is `off` cannot come in.
struct model_user {
    const char *name, *password, *forbidden, *keys;
    bool off;
};
void model_set_user(struct model *m, const struct model_user *user);

// ---- time -----------------------------------------------------------------------

// Ends the XREAD BLOCKs whose time has passed, as a turn of its own (see below). It may go
// back: Redis counts by the wall clock too.
void model_set_time_us(struct model *m, int64_t unix_us);
int64_t model_time_us(const struct model *m);
// When the next XREAD BLOCK ends for lack of events; INT64_MAX: none is under way that does.
int64_t model_next_due_us(const struct model *m);

// ---- connections ----------------------------------------------------------------

struct model_conn *model_connect(struct model *m);
void model_disconnect(struct model_conn *c); // and free it; what it waited for is forgotten

// Bytes from a client, cut anywhere. Commands run as they become whole, and each one's blocked
// readers are answered before the next command runs. What a blocked connection sends
// is kept. When the bytes are used up the turn ends: connections that were unblocked in it
// run what they had sent meanwhile, in the order in which they were unblocked.
void model_feed(struct model_conn *c, const char *at, size_t len);

// As model_feed, but the turn goes on: Redis reads from all connections that epoll names
// before it lets those that were unblocked go on. So a command of another connection can
// come between the end of an XREAD and the commands that were sent behind it.
void model_feed_within_turn(struct model_conn *c, const char *at, size_t len);
void model_end_turn(struct model *m);

// What it has to say to this client, and has not been taken. Valid until the model is next
// fed, told the time or told that some of it was taken.
struct view model_output(const struct model_conn *c);
void model_output_taken(struct model_conn *c, size_t len);

// It hangs up when all of its output has been taken: after QUIT, a protocol error, or when a
// master became a replica under a blocked reader.
bool model_hangs_up(const struct model_conn *c);
bool model_is_blocked(const struct model_conn *c); // in XREAD BLOCK

// ---- its data -------------------------------------------------------------------
// A snapshot is a copy of all keys: what an RDB file or a replica that is so far behind holds.
// Loading one takes the place of all keys, as a full resynchronisation does, in a turn of its own:
// whoever tracks keys hears that all are invalid.

struct model_image *model_save(const struct model *m);
void model_load(struct model *m, const struct model_image *image);
void model_image_free(struct model_image *image);

// Another server with the same keys: a replica, as of now. No connection, no user of its
// own, no ailment. options->unix_us counts.
struct model *model_copy(const struct model *m, const struct model_options *options);

// The same server again, with another run_id and no keys (model_load brings some). Users, switches
// and the clock stay. It must have no connection.
void model_restart(struct model *m, uint64_t life);

// ---- for who judges -------------------------------------------------------------

// The number of keys in all databases, and of entries of one stream (0: no such stream).
size_t model_key_count(const struct model *m);
size_t model_stream_len(const struct model *m, int db, struct view key);
