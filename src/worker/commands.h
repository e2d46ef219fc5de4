// What a client of a shared socket says in its text messages (docs/protocol.md, 19): JSON in,
// one command out, and the streams that it names one after another, so that a command for a
// thousand of them can be carried out in pieces. Pure.
#pragma once

#include <jansson.h>

#include "wire/eventid.h"

#define COMMAND_REF_MAX 64    // bytes of a `ref`
#define COMMAND_NAME_MAX 512  // bytes of a stream's id, or of a pattern, on a shared socket
#define COMMAND_SCOPE_MAX 512 // bytes of a scope

enum command_kind {
    COMMAND_BAD, // `why` says what is wrong with it
    COMMAND_SUBSCRIBE,
    COMMAND_UNSUBSCRIBE,
    COMMAND_AUTH,
    COMMAND_PING,
};

// What becomes of a client that falls behind (docs/protocol.md, 10).
enum slow { SLOW_CLOSE, SLOW_SKIP, SLOW_LATEST };

// How a stream is to be subscribed to. Views into the command or into the defaults.
struct subscribe_options {
    struct view token, scope;
    struct view from, after;
    struct view slow, every;
};

struct command {
    enum command_kind kind;
    const char *why;                  // COMMAND_BAD: a sentence
    struct view ref;                  // without one: at == NULL
    struct subscribe_options options; // of the message itself
    json_t *root, *streams, *patterns;
    size_t next; // of the streams, then of the patterns
};

// Reads a message. command_done frees what it holds, in any case.
void command_read(struct command *c, struct view message);
void command_done(struct command *c);

// The next of its streams or patterns. `options` are its own, with those of the message for
// what it leaves out: an own `from` or `after` takes the place of both. False: no more.
struct command_item {
    struct view name;
    bool is_pattern;
    const char *wrong; // a sentence, where the element makes no sense; else NULL
    struct subscribe_options options;
};
bool command_next(struct command *c, struct command_item *item);

// Those of `over` that are set; the others are those of `under`.
struct subscribe_options subscribe_options_over(struct subscribe_options over,
                                                struct subscribe_options under);
