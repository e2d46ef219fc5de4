// Log lines on standard error: an event word, then key=value (logfmt), or the
// same as one JSON object. One write(2) a line, so lines of several threads do
// not mix. Never a token, never a secret: callers pass what may be read.
//
// Under systemd's journal (standard error is the JOURNAL_STREAM) a line begins with its
// priority, <4> for a warning, and has no time of its own: the journal gives it one.
#pragma once

#include "base/base.h"

enum say_level { SAY_DEBUG, SAY_INFO, SAY_WARN, SAY_ERROR };
enum say_format { SAY_LOGFMT, SAY_JSON };

// Before the threads start. The levels are named debug, info, warn, error.
void say_setup(enum say_level least, enum say_format format);
bool say_enabled(enum say_level level);

// A value of a line. Any bytes may stand in a text: they are quoted and escaped.
struct say_value {
    const char *key;
    enum { SAY_END, SAY_TEXT, SAY_INT, SAY_COUNT } kind; // a SAY_COUNT of 0 is left out
    struct view text;
    int64_t integer;
};

#define SAY_V(key_, view_) ((struct say_value){ .key = (key_), .kind = SAY_TEXT, .text = (view_) })
#define SAY_S(key_, text_) SAY_V(key_, view_of(text_))
#define SAY_I(key_, int_) ((struct say_value){ .key = (key_), .kind = SAY_INT, .integer = (int_) })
#define SAY_N(key_, int_)                                                                          \
    ((struct say_value){ .key = (key_), .kind = SAY_COUNT, .integer = (int_) })
// How many lines were left out before this one (say_limited), if any were.
#define SAY_NOT_SAID(missed) SAY_N("not_said", (int64_t)(missed))

// say(SAY_INFO, "listening", SAY_S("host", host), SAY_I("port", port));
#define say(level, event, ...)                                                                     \
    say_line((level), (event), (const struct say_value[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
void say_line(enum say_level level, const char *event, const struct say_value *values);

// For what may come by the thousand. True when the caller may say it now, once
// per `every_ms` for each `struct say_limit` (make it static, one for each place);
// *missed then tells how many lines were swallowed since the last one. Any thread.
struct say_limit {
    _Atomic int64_t next_ms;
    _Atomic uint64_t swallowed;
};
bool say_limited(struct say_limit *limit, int64_t now_ms, int64_t every_ms, uint64_t *missed);
