// What every file stands on: a view of bytes, a buffer of bytes, a check that
// cannot be compiled out. It includes no other file of the project.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Errors come in three classes. The impossible stops the process here, with the
// place and the condition; the refused and the failed are return values.
#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
_Noreturn void check_failed(const char *cond, const char *file, int line);

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define MS_PER_S INT64_C(1000)

// A view is somebody else's bytes: it owns nothing and ends when they do.
// It is not NUL-terminated, and may hold any byte.
struct view {
    const char *at;
    size_t len;
};

#define VIEW(literal) ((struct view){ "" literal, sizeof(literal) - 1 })
#define VIEW_FMT "%.*s"
#define VIEW_ARG(v) (int)(v).len, (v).at

static inline struct view view_of(const char *text)
{
    return (struct view){ text, text ? strlen(text) : 0 };
}

static inline bool view_eq(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool view_eq_nocase(struct view a, struct view b); // ASCII letters only
bool view_starts(struct view v, struct view prefix);
struct view view_trim(struct view v); // without spaces and tabs at both ends

// Canonical decimal digits only: no sign, no leading zero but "0" itself.
// False when there is anything else in `v` or the value does not fit.
bool view_u64(struct view v, uint64_t *out);

// A buffer owns its bytes and grows; zeroed, it is empty and holds no memory.
// Its owner says how far it may grow: the buffer itself has no limit.
struct buffer {
    char *at;
    size_t len, cap;
};

void *must_alloc(size_t size); // malloc or stop: for what the process cannot live without
void buffer_reserve(struct buffer *b, size_t more);
void buffer_add(struct buffer *b, const void *at, size_t len);
void buffer_add_view(struct buffer *b, struct view v);
void buffer_printf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buffer_drop(struct buffer *b, size_t len); // the first `len` bytes go
void buffer_free(struct buffer *b);             // empty again, and no memory held

static inline struct view buffer_view(const struct buffer *b)
{
    return (struct view){ b->at, b->len };
}
