// GET /history/{stream_id}: what a log holds, as one JSON object. Pure.
#pragma once

#include "log/log.h"

// Appends {"stream":S,"events":[{"id":ID,"data":…}],"last":ID|null,"complete":B} of
// a raw log's events from seq on, at most `limit` and about max_bytes of them.
// complete: nothing was left out, neither here nor (`whole`) before seq.
void history_write(struct buffer *out, const struct log *raw, struct view stream, uint64_t seq,
                   uint64_t limit, size_t max_bytes, bool whole);
