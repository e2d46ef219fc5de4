// The line of the Date header that every reply of a worker has.
#pragma once

#include "wire/http.h"

// For a reply that is written now; it is formatted once a second for each thread. Any
// thread; the view is good until its next call there.
struct view date_line(int64_t unix_ms);
