// What a client of many streams is answered, and whether its token opens what it asks for.
#pragma once

#include "worker/client.h"

#define EXPIRING_S 30 // before a token ends, its client is told

struct answer_to {
    struct view name;
    bool is_pattern;
    struct view ref;
};

struct wish { // what the options of a subscription come to
    struct start start;
    enum slow slow;
    uint32_t every_ms;
};

void hub_refuse(struct client *c, const struct answer_to *to, const char *code, const char *detail);

// The verdict on the token of `o` for a stream or a pattern.
enum token_verdict hub_verify(const struct clients *all, const struct subscribe_options *o,
                              struct view name, int64_t *expiry_s);
// A token that does not open it is refused, and counts at the door: the client may be closed.
bool hub_check_token(struct client *c, const struct answer_to *to,
                     const struct subscribe_options *o, int64_t *expiry_s);
void hub_bad_token(struct client *c); // which has come in-band

// What it has been answered has left so far that it may be answered more.
bool hub_may_answer(const struct client *c);
void hub_mind_empty(struct client *c); // it may have nothing subscribed to any more
