// A worker's view of the patterns that its clients have subscribed to: for each, the streams
// that were found so far, as letters told it, and who is interested.
//
//   pattern "md:*"   names ▶ md:a(1)  md:b(2)  md:e(5)  md:f(9)
//                                       ▲                        ▲
//   interests                           1 (behind)               2, 3, 4 (idle)
//
// However many clients have the same pattern, the tail is asked once. An interest (interest.h)
// is a place in the names: what lies behind it has been handed to its client. Whoever has
// something to take stands in `behind`, one list for all patterns, from which a turn of the
// worker takes a bounded amount (hub_patterns.h).
//
// It belongs to its worker's thread; the names are shared, see name.h.
#pragma once

#include "base/list.h"
#include "base/table.h"
#include "shared/letter.h"

#define PATTERNS_MAX 256 // different ones of a worker's clients

struct pattern {
    struct patterns *all;
    struct table_node by_text;
    struct list idle; // interests that have taken all names
    size_t interests; // in that list, or elsewhere
    struct name **names;
    size_t count, cap;
    bool is_heard;       // the tail looks for them
    const char *failure; // why it does not, any more; else NULL
    size_t len;
    char text[];
};

struct patterns {
    struct table by_text;
    struct list behind; // interests
    struct mailbox *self, *tail;
};

void patterns_init(struct patterns *all, struct mailbox *self, struct mailbox *tail);
void patterns_done(struct patterns *all); // the interests have left

// The pattern of that text, looked for from now on if it was not. NULL: there are PATTERNS_MAX
// others. The caller joins, and leaves: if it was the last, the pattern may be gone on return.
struct pattern *patterns_find(struct patterns *all, struct view text);
void pattern_join(struct pattern *p);
void pattern_leave(struct pattern *p);

// The first name that is numbered `seq` or later and not gone; NULL: none.
struct name *pattern_name_from(const struct pattern *p, uint64_t seq);

// Letters; they take over what the letter owns, and free it. All idle interests are behind
// then.
void pattern_learn(struct finding *finding);
void pattern_fail(struct watch_failure *failure);
void pattern_end(struct watch_end *end); // frees the pattern

static inline struct view pattern_text(const struct pattern *p)
{
    return (struct view){ p->text, p->len };
}
