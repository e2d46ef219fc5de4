// From a Redis stream entry to the text that clients get (contract parts 1 and 2,
// "odd events"). Pure.
#pragma once

#include "base/base.h"
#include "shared/codes.h"
#include "wire/resp.h"

#define EVENT_ENUMERATOR(name, text) EVENT_##name,
enum event_verdict { EVENT_OK, SKIP_REASONS(EVENT_ENUMERATOR) };

static inline enum skip_reason event_skip_reason(enum event_verdict verdict) // not of EVENT_OK
{
    return (enum skip_reason)(verdict - 1);
}

const char *event_verdict_name(enum event_verdict verdict);

// Reads the entry's fields (an array of `count` names and values, whose children
// come next in r). *payload is the value of the field named data_field, as it is;
// where the entry has none, a JSON object of all its fields, written to scratch
// (emptied first). It points into the reply or scratch.
enum event_verdict event_read(struct resp_reader *r, size_t count, struct view data_field,
                              size_t max_bytes, struct buffer *scratch, struct view *payload);
