#include "tail/burst.h"

#define NEAR_MS 2 // Redis, or we, may pause in the midst of a burst, for want of a processor
#define EVENTS_PER_MS 2
#define LIKELY 8
#define SCORE_MAX 16
#define RAISE 4
#define LOWER 1
#define LOWER_ALONE 4

static void change(struct burst *b, int by)
{
    int score = b->score + by;
    b->score = score < 0 ? 0 : score > SCORE_MAX ? SCORE_MAX : score;
}

static void begin_group(struct burst *b, const struct piece *piece)
{
    if (b->events == 1)
        change(b, -LOWER_ALONE);
    b->events = piece->events;
    b->span_ms = piece->span_ms;
}

static void join_group(struct burst *b, const struct piece *piece)
{
    b->events += piece->events;
    b->span_ms += piece->apart_ms + piece->span_ms;
    bool is_burst = b->events > EVENTS_PER_MS * b->span_ms;
    bool is_alone = piece->events == 1 && piece->apart_ms > 0;
    if (!is_burst)
        change(b, -LOWER_ALONE);
    else if (!is_alone)
        change(b, RAISE);
}

void burst_read(struct burst *b, const struct piece *piece)
{
    if (piece->apart_ms > NEAR_MS)
        begin_group(b, piece);
    else
        join_group(b, piece);
}

bool burst_is_likely(const struct burst *b)
{
    return b->score >= LIKELY;
}

void burst_read_in_vain(struct burst *b)
{
    change(b, b->events == 1 ? -LOWER_ALONE : -LOWER);
}
