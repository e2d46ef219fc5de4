// Questions to Redis, one after another, each waited for: for commands that look at it. Over
// the broker's own link, so that what is seen is what the broker would see. The first failure
// ends it; whatever is asked after that fails at once, so that all together are bounded.
#pragma once

#include "base/clock.h"
#include "redis/link.h"
#include "wire/resp.h"

struct asker {
    struct loop loop;
    struct link *link;
    struct deadline_queue timeouts;
    struct deadline timeout;
    int64_t ends_ms;     // monotonic; then all of it is over
    struct buffer reply; // the last one; its nodes are views into it
    bool is_over;        // nothing is answered any more; `why` says so
    char why[320];
};

// timeout_ms: for the connection, and for each answer; total_ms: for all of it.
// False: a->why says why not. asker_close in any case.
bool asker_open(struct asker *a, const struct redis_url *url, int64_t timeout_ms, int64_t total_ms);
void asker_close(struct asker *a);

// Waits for the answer and gives its first node; `rest` then reads what is in it. False: none.
bool asker_ask(struct asker *a, size_t argc, const struct view *argv, struct resp_node *node,
               struct resp_reader *rest);
