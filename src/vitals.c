#include "vitals.h"

#include "base/say.h"

static int64_t grown(uint64_t before, uint64_t now)
{
    return (int64_t)(now - before);
}

void vitals_say(const struct vitals *before, const struct vitals *now)
{
    say(SAY_INFO, "status", SAY_I("span_ms", now->at_ms - before->at_ms),
        SAY_S("redis", now->is_redis_readable ? "readable" : "unreadable"),
        SAY_I("clients", (int64_t)now->clients), SAY_I("streams", (int64_t)now->streams),
        SAY_I("events_read", grown(before->events_read, now->events_read)),
        SAY_I("events_sent", grown(before->events_sent, now->events_sent)),
        SAY_I("bytes_sent", grown(before->bytes_sent, now->bytes_sent)),
        SAY_I("ring_bytes", (int64_t)now->ring_bytes),
        SAY_N("lag_ms", now->lag_ms < 0 ? 0 : now->lag_ms),
        SAY_N("refused", grown(before->refused, now->refused)),
        SAY_N("fell_behind", grown(before->fell_behind, now->fell_behind)),
        SAY_N("events_skipped", grown(before->skipped, now->skipped)));
}
