#include "worker/seek.h"

struct eventid seek_event_id(const struct log *l, uint64_t seq)
{
    for (; seq < l->end_seq; seq++)
        if (log_item(l, seq)->kind == ITEM_EVENT)
            return log_item(l, seq)->id;
    return (struct eventid){ 0 };
}

struct eventid seek_event_id_before(const struct log *l, uint64_t seq)
{
    for (; seq > l->first_seq; seq--)
        if (log_item(l, seq - 1)->kind == ITEM_EVENT)
            return log_item(l, seq - 1)->id;
    return (struct eventid){ 0 };
}

uint64_t seek_newest_event(const struct log *l, uint64_t end)
{
    for (uint64_t seq = end; seq > l->first_seq; seq--)
        if (log_item(l, seq - 1)->kind == ITEM_EVENT)
            return seq - 1;
    return end;
}

// Was there, below all that the log holds, something that was asked for?
static bool floor_is_asked_for(const struct floor *floor, const struct start *start)
{
    if (eventid_is_none(floor->id))
        return false;
    switch (start->kind) {
    case START_FIRST: return start->at_ms != 0 && floor->time_ms >= start->at_ms;
    case START_LIVE:
    case START_LAST:
    case START_TIME: return floor->time_ms >= start->at_ms;
    case START_ID: return eventid_cmp(floor->id, start->id) >= 0;
    case START_AFTER: return eventid_cmp(floor->id, start->id) > 0;
    default: return false;
    }
}

// An id that the log does not have may be one of those that a gap before its place
// says will not come; then what follows that id is missing too. (A gap has the time of
// the newest event that it may stand for, so seeking by time finds it.)
static bool is_inside_gap(const struct log *l, struct eventid last, const struct start *start,
                          uint64_t wanted)
{
    if (wanted == l->first_seq || log_item(l, wanted - 1)->kind != ITEM_GAP)
        return false; // behind an event, the one that was asked for perhaps
    if (start->kind == START_ID)
        return !log_has_id(l, start->id);
    return start->kind == START_AFTER && eventid_cmp(start->id, last) != 0 &&
           !log_has_id(l, start->id);
}

// `wanted` is where the client asked to begin, `first` where it may.
static struct seek_place begin_at(const struct log *l, const struct floor *floor,
                                  struct eventid last, const struct start *start, uint64_t wanted,
                                  uint64_t first, int64_t window_ms)
{
    struct seek_place place = { .seq = wanted > first ? wanted : first };
    bool below = wanted == l->first_seq && floor_is_asked_for(floor, start);
    bool gaps = log_has_gaps(l, wanted, first);
    bool inside = is_inside_gap(l, last, start, wanted);
    int64_t hidden = log_count_events(l, wanted, first);
    if (!below && !gaps && !inside && hidden == 0)
        return place;
    enum gap_reason reason = GAP_LIMIT;
    if (below && floor->trimmed)
        reason = GAP_TRIMMED;
    else if (inside && wanted >= first)
        reason = wanted > l->run_seq ? GAP_TRIMMED : GAP_RESET;
    else if (first != l->first_seq || floor->time_ms < window_ms)
        reason = GAP_WINDOW;
    bool exact = !below && !gaps && !inside;
    place.has_gap = true;
    place.gap = (struct gap){
        .reason = reason,
        .after = start->kind == START_AFTER ? start->id : (struct eventid){ 0 },
        .before = seek_event_id(l, place.seq),
        .missed = exact ? hidden : MISSED_UNKNOWN,
    };
    return place;
}

bool seek_is_ahead(const struct log *l, struct eventid last, const struct start *start)
{
    return start->kind == START_AFTER && eventid_cmp(start->id, last) > 0 &&
           !log_has_id(l, start->id);
}

static struct seek_place begin_anew(const struct log *l, struct eventid after, uint64_t first)
{
    return (struct seek_place){
        .seq = first,
        .has_gap = true,
        .gap = { .reason = GAP_RESET,
                 .after = after,
                 .before = seek_event_id(l, first),
                 .missed = MISSED_UNKNOWN },
    };
}

// Of what came while it waited inside, nothing goes unsaid.
static uint64_t began_to_wait(const struct log *l, const struct start *start, uint64_t first)
{
    uint64_t since = start->at_ms ? log_seek_time(l, start->at_ms) : first;
    return since < first ? since : first;
}

struct seek_place seek_start(const struct log *l, const struct floor *floor, struct eventid last,
                             const struct start *start, int64_t window_ms)
{
    uint64_t first = log_seek_time(l, window_ms);
    uint64_t wanted = first;
    switch (start->kind) {
    case START_LIVE:
        if (start->at_ms == 0)
            return (struct seek_place){ .seq = l->end_seq };
        wanted = log_seek_time(l, start->at_ms);
        break;
    case START_LAST:
        wanted = start->at_ms ? log_seek_time(l, start->at_ms) : l->end_seq;
        if (start->at_ms == 0 || seek_newest_event(l, wanted) < wanted)
            return (struct seek_place){ .seq = seek_newest_event(l, wanted) };
        break; // there was none then: what came since may have been trimmed
    case START_FIRST: wanted = began_to_wait(l, start, first); break;
    case START_TIME: wanted = log_seek_time(l, start->at_ms); break;
    case START_ID: wanted = log_seek_id(l, start->id); break;
    case START_AFTER:
        if (seek_is_ahead(l, last, start))
            return begin_anew(l, start->id, first > l->run_seq ? first : l->run_seq);
        wanted = log_seek_after(l, start->id);
        break;
    }
    return begin_at(l, floor, last, start, wanted, first, window_ms);
}

struct gap seek_passed_over(const struct log *l, uint64_t at, uint64_t first_seq,
                            struct eventid after)
{
    uint64_t known = first_seq < l->end_seq ? first_seq : l->end_seq;
    bool exact = known == first_seq && !log_has_gaps(l, at, known);
    return (struct gap){
        .reason = GAP_SLOW,
        .after = after,
        .before = seek_event_id(l, known),
        .missed = exact ? log_count_events(l, at, known) : MISSED_UNKNOWN,
    };
}
