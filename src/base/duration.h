// How people write a time span: 90s, 15m, 1h, 2d, 250ms. Pure.
#pragma once

#include "base/base.h"

#define DURATION_EXPECTED "a whole number of ms, s, m, h or d, such as 90s or 1h"

// Digits and a unit (ms, s, m, h, d); a bare number counts units of `bare_ms` milliseconds.
// False: it is no such thing, or does not fit into 63 bits of milliseconds.
bool duration_parse(struct view text, int64_t bare_ms, int64_t *out_ms);
