// The codes that requests are refused with and the reasons for which an entry is no event:
// one list each, of which code, metrics and tests are made. (Close codes: wire/ws.h;
// reasons of gaps: log/notice.h.)
#pragma once

#include "base/base.h"

// The `error` of a refusal (protocol 12.1). `other` is none: what has not been listed here.
#define REFUSAL_CODES(X)                                                                           \
    X(bad_request)                                                                                 \
    X(token_missing)                                                                               \
    X(token_malformed)                                                                             \
    X(token_invalid)                                                                               \
    X(token_expired)                                                                               \
    X(origin_forbidden)                                                                            \
    X(forbidden)                                                                                   \
    X(not_found)                                                                                   \
    X(method_not_allowed)                                                                          \
    X(timeout)                                                                                     \
    X(upgrade_required)                                                                            \
    X(too_many_clients)                                                                            \
    X(head_too_large)                                                                              \
    X(unavailable)                                                                                 \
    X(patterns_off)                                                                                \
    X(already_subscribed)                                                                          \
    X(not_subscribed)                                                                              \
    X(too_many_streams)                                                                            \
    X(other)

#define REFUSAL_ENUMERATOR(name) REFUSAL_##name,
enum refusal_code { REFUSAL_CODES(REFUSAL_ENUMERATOR) REFUSAL_CODES_COUNT };

// The code of that name; REFUSAL_other when it is not listed.
static inline enum refusal_code refusal_code(const char *name)
{
#define REFUSAL_NAME(name) #name,
    static const char *const names[] = { REFUSAL_CODES(REFUSAL_NAME) };
    for (size_t i = 0; i < REFUSAL_CODES_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            return (enum refusal_code)i;
    return REFUSAL_other;
}

// Why an entry of a stream is skipped (protocol 4.3).
#define SKIP_REASONS(X)                                                                            \
    X(NOT_UTF8, "not_utf8") /* cannot go into a text message */                                    \
    X(TOO_BIG, "too_big")   /* over BOND_EVENT_BYTES */

#define SKIP_ENUMERATOR(name, text) SKIP_##name,
enum skip_reason { SKIP_REASONS(SKIP_ENUMERATOR) SKIP_REASONS_COUNT };
