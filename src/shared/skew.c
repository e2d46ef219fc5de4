#include "shared/skew.h"

#define ROUNDING_MS 2 // each of the three times is cut to whole milliseconds
#define DRIFT_MS 20   // of two clocks from one sample to another one, at most

void skew_forget(struct skew *s)
{
    s->count = s->next = 0;
}

static int64_t error_ms(const struct skew_sample *sample)
{
    return sample->round_trip_ms / 2 + ROUNDING_MS;
}

// The least round trip of those that are not too old; of equals, the latest.
static const struct skew_sample *best_sample(const struct skew *s, int64_t now_ms)
{
    const struct skew_sample *best = NULL;
    for (size_t i = 0; i < s->count; i++) {
        const struct skew_sample *sample = &s->samples[i];
        if (now_ms - sample->taken_ms > SKEW_AGE_MAX_MS)
            continue;
        if (best == NULL || sample->round_trip_ms < best->round_trip_ms ||
            (sample->round_trip_ms == best->round_trip_ms && sample->taken_ms >= best->taken_ms))
            best = sample;
    }
    return best;
}

static bool contradict(const struct skew_sample *a, const struct skew_sample *b)
{
    int64_t apart_ms = a->difference_ms - b->difference_ms;
    if (apart_ms < 0)
        apart_ms = -apart_ms;
    return apart_ms > error_ms(a) + error_ms(b) + DRIFT_MS;
}

int64_t skew_learn(struct skew *s, int64_t sent_ms, int64_t answered_ms, int64_t redis_ms)
{
    const struct skew_sample sample = {
        .taken_ms = answered_ms,
        .difference_ms = redis_ms - (sent_ms + (answered_ms - sent_ms) / 2),
        .round_trip_ms = answered_ms - sent_ms,
    };
    const struct skew_sample *best = best_sample(s, answered_ms);
    if (best && contradict(best, &sample))
        skew_forget(s);
    s->samples[s->next] = sample;
    s->next = (s->next + 1) % SKEW_SAMPLES;
    if (s->count < SKEW_SAMPLES)
        s->count++;
    return best_sample(s, answered_ms)->difference_ms;
}
