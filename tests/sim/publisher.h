// One stream, its publisher, and whoever hurts it; each command is written down as a truth.
//
// What an event holds follows from its place in the truth, so that a client can say of any
// event which one it is and whether it is whole:
//
//   {"n":17,"pad":"…"}     JSON, most of them
//   n=17 "…"               text that is no JSON, a line end and a quote in it
//   fields n and pad       an entry without `data`: an object of strings (protocol 4.2)
//   not UTF-8, too large   never an event (4.3)
#pragma once

#include "host.h"
#include "truth.h"

enum id_kind {
    IDS_CLOCK,  // Redis's clock, as the API does it
    IDS_LOWER,  // the first run has the clock's, each one after it lower ones
    IDS_BEHIND, // milliseconds, in each run further behind the clock
    IDS_AGAIN,  // 1-0, 2-0, … in each run
};

struct publisher {
    struct host *host;
    struct truth truth;
    char name[16], key[24];
    enum id_kind ids;
    struct rng rng;
    uint64_t last_ms; // of the ids that are chosen here
    int maxlen;
    bool about; // MAXLEN ~
    size_t pad_max;
    size_t event_bytes; // BOND_EVENT_BYTES
    unsigned odd;       // events of another shape, in a thousand
};

void publisher_init(struct publisher *s, struct host *h, int number, enum id_kind ids,
                    uint64_t seed);
void publisher_done(struct publisher *s);

// False, and nothing is done, while Redis does not answer.
bool publisher_add(struct publisher *s, int count);
void publisher_trim(struct publisher *s, int keep);
void publisher_delete(struct publisher *s);
void publisher_delete_one(struct publisher *s);         // XDEL of an entry that chance takes
void publisher_replace(struct publisher *s, int count); // DEL and new ones, in one MULTI
void publisher_was_reset(struct publisher *s);          // by FLUSHALL, or a restart without it

// Which event this text is; -1: none of ours. *intact: it is byte for byte what was given.
int publisher_read_event(const struct publisher *s, struct view text, bool *intact);
