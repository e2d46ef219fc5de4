// What the files of the model share; nobody else includes it. model.h tells what it is.
//
//   model.c       servers, connections, turns
//   request.c     bytes to commands
//   commands.c    which commands there are, who may run them, transactions
//   on_streams.c  on_keys.c  on_server.c   what each command does
//   keys.c        the keys, snapshots of them
//   xstream.c     what a stream is
//   blocking.c    XREAD BLOCK
//   tracking.c    CLIENT TRACKING
//   acl.c         users
#pragma once

#include "base/list.h"
#include "model.h"
#include "names.h"
#include "number.h"
#include "reply.h"
#include "xstream.h"

#define US_PER_MS 1000
#define DB_COUNT 16
#define RUN_ID_LEN 40

struct user {
    struct list of_model;
    struct buffer name, password, forbidden, keys;
    bool needs_password, all_keys, off;
};

enum key_type { KEY_NONE, KEY_STRING, KEY_STREAM };

// A name in one database. It is there while it has a value or somebody waits for one.
struct key {
    struct name name; // its space is the database
    enum key_type type;
    struct xstream *stream;
    struct buffer string;
    struct list waits;    // struct wait, who came first is first
    struct list in_ready; // something was added, and who waits has not been asked yet
    char text[];
};

// A blocked connection at one of its keys.
struct wait {
    struct list of_key;
    struct model_conn *conn;
    struct key *key;
    struct eventid after;
};

struct model_conn {
    struct list of_model; // all connections, who came first is first
    struct model *model;
    uint64_t id;
    struct buffer input; // begins with a command that is not whole, or has to wait
    struct buffer output;
    struct buffer name;
    const struct user *user; // NULL: has to say AUTH
    unsigned resp;           // 2 or 3
    unsigned db;
    bool tracks;
    bool hangs_up;

    // MULTI
    bool in_multi, is_broken; // a command was refused: EXEC will be
    bool in_exec;             // EXEC runs now, and nothing may block
    struct buffer queue;      // the commands, as arrays of bulk strings
    size_t queue_len;
    unsigned queue_flags, queue_lacks; // flags that one of them has; that one of them has not

    // XREAD BLOCK
    struct wait *waits; // NULL: not blocked
    size_t wait_count;
    size_t read_max;
    int64_t until_ms; // 0: for ever
    struct list in_unblocked;
};

struct model {
    struct model_switches switches;
    bool is_replica;
    char version[24];
    int major;
    char run_id[RUN_ID_LEN + 1];
    struct xstream_limits limits;
    int64_t now_us, began_us;
    uint64_t conn_count; // that ever were: the next one's id

    struct names keys;    // struct key
    size_t value_count;   // of them, those that have a value
    struct names tracked; // struct tracked (tracking.c)
    struct list users, conns;
    struct user *default_user;

    struct model_conn *current; // whose command runs
    struct buffer pushes;       // for it, when its answer is whole
    struct list ready;          // keys
    struct list unblocked;      // connections, whose later commands run when the turn ends
    struct view *argv;          // of the command that is parsed
    size_t argv_cap;
};

typedef void command_run(struct model_conn *c, size_t argc, const struct view *argv);

// ---- request.c ------------------------------------------------------------------

enum request_result { REQUEST_MORE, REQUEST_DONE, REQUEST_BAD };
// One command from the front of `bytes` into m->argv; *used is its length. REQUEST_BAD:
// *error is what Redis says before it hangs up. argc may be 0: an empty line. A stranger, who
// has to say AUTH first, may say less.
enum request_result request_parse(struct model *m, struct view bytes, bool is_stranger,
                                  size_t *argc, size_t *used, char error[64]);

// ---- commands.c -----------------------------------------------------------------

void command_handle(struct model_conn *c, size_t argc, const struct view *argv);
void transaction_discard(struct model_conn *c);

// ---- keys.c ---------------------------------------------------------------------

struct key *key_find(struct model *m, unsigned db, struct view name); // NULL: it has no value
// The key, with or without a value; key_settle forgets it again when it has neither value
// nor waiters.
struct key *key_of(struct model *m, unsigned db, struct view name);
void key_settle(struct model *m, struct key *k);
void key_set_string(struct model *m, struct key *k, struct view value);
void key_set_stream(struct model *m, struct key *k, struct xstream *s); // NULL: a new one
void key_drop_value(struct model *m, struct key *k);                    // and settle it
void key_move(struct model *m, struct key *from, struct key *to);
void keys_flush(struct model *m, int db); // -1: all databases
// The keys with a value of one database, in the order of their hashes. The array is the caller's.
struct key **keys_sorted(const struct model *m, unsigned db, size_t *count);
static inline struct key *key_of_name(struct name *n)
{
    return n ? CONTAINER_OF(n, struct key, name) : NULL;
}
bool redis_glob_matches(struct view pattern, struct view text);

// ---- tracking.c -----------------------------------------------------------------

void tracking_remember(struct model_conn *c, struct view name); // it has read that key
void tracking_invalidate(struct model *m, struct view name);    // the key has changed
void tracking_invalidate_all(struct model *m);
void tracking_flush(struct model *m); // behind a command: what its own connection must hear
void tracking_free(struct model *m);

// ---- blocking.c -----------------------------------------------------------------

// c waits for entries behind after[i] in names[i]. until_ms as in struct model_conn.
void block_on(struct model_conn *c, const struct view *names, const struct eventid *after,
              size_t count, size_t read_max, int64_t until_ms);
void block_signal(struct model *m, struct key *k); // a stream got an entry, or was put there
void block_serve(struct model *m);                 // behind a command: who waits for what was added
void block_forget(struct model_conn *c);           // it is gone
void block_end_due(struct model *m);               // whose time has passed
void block_end_all(struct model *m, const char *error); // with an error, and hang up

// ---- acl.c ----------------------------------------------------------------------

struct user *user_find(const struct model *m, struct view name);
void user_free(struct user *u);
// NULL if it may not come in.
const struct user *user_let_in(const struct model *m, struct view name, struct view password);
// `command` is "xinfo|stream" or "xadd".
bool user_may_run(const struct user *u, struct view command);
bool user_may_touch(const struct user *u, struct view key);

// ---- what commands do -----------------------------------------------------------

command_run on_xadd, on_xtrim, on_xdel, on_xlen, on_xrange, on_xrevrange, on_xread, on_xsetid,
    on_xinfo_stream, on_xinfo_groups;
command_run on_del, on_exists, on_type, on_rename, on_set, on_get, on_scan, on_keys, on_flushall,
    on_flushdb;
command_run on_hello, on_auth, on_quit, on_select, on_ping, on_echo, on_time, on_info, on_role,
    on_client_setname, on_client_getname, on_client_id, on_client_tracking;

#define SYNTAX_ERROR "ERR syntax error"
#define NOT_INTEGER "ERR value is not an integer or out of range"
#define NO_SUCH_KEY "ERR no such key"
#define WRONG_TYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
