// The two clocks. Leaf code reads neither: `now` is passed in. Any thread.
#pragma once

#include "base/base.h"

int64_t clock_mono_ms(void); // never goes back; for deadlines
int64_t clock_mono_us(void); // the same clock; for what is measured
int64_t clock_wall_ms(void); // Unix time in milliseconds; for tokens and event times
