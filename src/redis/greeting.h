// What is said first on a connection to Redis. Pure: replies in, commands out.
//
//   HELLO 3 [AUTH user password] SETNAME bond-broker
//     ├─ granted: [SELECT db] [CLIENT TRACKING ON] PING              RESP3
//     └─ unknown: [AUTH password] [SELECT db] CLIENT SETNAME … PING  RESP2
//
// The PING is there because a Redis that is loading its data, or a replica without
// its master, answers everything before it as if all were well.
#pragma once

#include "wire/resp.h"

#define GREETING_NOT_REDIS "what answers there is no Redis"
#define GREETING_COMMANDS_MAX 5
#define GREETING_SERVER_MAX 64 // bytes of "redis 7.0.15"
#define GREETING_WHY_MAX 320

struct greeting_options {        // must outlive the greeting
    const char *user, *password; // NULL: none
    int db;
    bool tracking; // ask for CLIENT TRACKING ON; refusal is no error
};

enum greeting_result {
    GREETING_MORE,   // replies are due; there may be commands to be sent
    GREETING_UP,     // the server serves
    GREETING_FAILED, // `why`: a sentence without secrets, with words of Redis's own at most
};

enum greeting_command { SAID_HELLO, SAID_AUTH, SAID_SELECT, SAID_NAME, SAID_TRACKING, SAID_PING };

// Zeroed, it is one that has said nothing. The owner reads the last four.
struct greeting {
    const struct greeting_options *options;
    enum greeting_command said[GREETING_COMMANDS_MAX]; // in order
    size_t said_len, answered;
    bool tracks;                             // CLIENT TRACKING was granted
    char why_not_tracking[GREETING_WHY_MAX]; // if not: a sentence; "" if it was not asked for
    char server[GREETING_SERVER_MAX]; // what is there, as "redis 7.0.15"; "" before HELLO's answer
    char why[GREETING_WHY_MAX];       // after GREETING_FAILED
};

// Appends the first command to `out`.
void greeting_begin(struct greeting *g, const struct greeting_options *options, struct buffer *out);
// Takes one whole reply, which is no push, and appends the commands that follow from it.
enum greeting_result greeting_reply(struct greeting *g, struct view reply, struct buffer *out);
