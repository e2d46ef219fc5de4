// From a Redis stream entry to the text that clients get (contract parts 1 and 2,
// "odd events"). Pure.
#pragma once

#include "base/base.h"
#include "wire/resp.h"

enum event_verdict {
    EVENT_OK,
    EVENT_NOT_UTF8, // cannot go into a text message
    EVENT_TOO_BIG,
};

const char *event_verdict_name(enum event_verdict verdict);

// Reads the entry's fields (an array of `count` names and values, whose children
// come next in r). *payload is the value of the field named data_field, as it is;
// where the entry has none, a JSON object of all its fields, written to scratch
// (emptied first). It points into the reply or scratch.
enum event_verdict event_read(struct resp_reader *r, size_t count, struct view data_field,
                              size_t max_bytes, struct buffer *scratch, struct view *payload);
