// One game: the model and the real server, the same connections to both, and what one says to them.
// A difference ends the process, with the seed and the step.
#pragma once

#include "../model.h"
#include "chatter.h"
#include "real.h"

#define PAIRS_MAX 6
#define WAIT_MS 10000

struct pair {
    struct real_conn *real;
    struct model_conn *model;
    bool star_queued; // XADD * may wait for EXEC: one is as many as the clock can be learnt of
};

struct game {
    uint64_t seed;
    size_t step;
    bool show;
    struct real *real;
    struct model *model;
    struct chatter ch;
    struct pair pairs[PAIRS_MAX];
    size_t pair_count;
    struct buffer sent;       // what one step says
    struct buffer story;      // the last steps, for who reads of a difference
    struct real_conn *script; // it runs for ever: the server is busy
    bool is_replica;
};

static inline struct chance *chance(struct game *g)
{
    return &g->ch.chance;
}

void game_tell(struct game *g, size_t pair, const char *what, struct view bytes);
_Noreturn void game_differ(struct game *g, size_t pair, const char *what, struct view real,
                           struct view model);

void game_open(struct game *g, size_t i);
void game_close(struct game *g, size_t i);
void game_reopen(struct game *g, size_t i);
size_t game_any_pair(struct game *g);

// g->sent goes to one side of a connection.
void game_say_to_real(struct game *g, size_t i);
void game_say_to_model(struct game *g, size_t i);
// To the model, cut anywhere, within one turn that goes on.
void game_feed(struct game *g, struct pair *p, struct view bytes);
// To the real one, by its own connection: must be answered OK.
void game_control(struct game *g, const char *words);

// What all connections have heard from both: taken, and equal.
void game_compare(struct game *g);

// ---- steps that have files of their own -----------------------------------------

void step_keys(struct game *g);    // scans.c: SCAN and KEYS, whatever the order
void step_reload(struct game *g);  // states.c: a snapshot is saved and loaded
void step_users(struct game *g);   // the rights of users change
void step_busy(struct game *g);    // a script runs for ever, or ends
void step_replica(struct game *g); // it becomes a replica, or a master again
void end_script(struct game *g);
void end_replica(struct game *g);
