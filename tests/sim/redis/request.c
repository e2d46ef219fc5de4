#include "inside.h"

#include <stdio.h>

#define LINE_MAX_LEN (64 * KIB)
#define ARGS_MAX INT32_MAX
#define BULK_MAX (512 * MIB)
#define STRANGER_ARGS_MAX 10
#define STRANGER_BULK_MAX 16384

static void put_arg(struct model *m, size_t i, struct view arg)
{
    if (i >= m->argv_cap) {
        m->argv_cap = m->argv_cap ? m->argv_cap * 2 : 32;
        m->argv = realloc(m->argv, m->argv_cap * sizeof(struct view));
        CHECK(m->argv != NULL);
    }
    m->argv[i] = arg;
}

// What nearly every line is: a few digits. False: look closer.
static bool take_digits(struct view bytes, size_t *at, int64_t *n)
{
    size_t i = *at + 1, end = bytes.len < i + 8 ? bytes.len : i + 8, begin = i;
    for (*n = 0; i < end && bytes.at[i] >= '0' && bytes.at[i] <= '9'; i++)
        *n = *n * 10 + (bytes.at[i] - '0');
    bool is_plain = i > begin && i + 1 < bytes.len && bytes.at[i] == '\r' &&
                    (bytes.at[begin] != '0' || i == begin + 1);
    *at = is_plain ? i + 2 : *at;
    return is_plain;
}

// "*12\r\n" at *at: the number. Redis looks for the CR and takes the next byte on trust.
static enum request_result take_number(struct view bytes, size_t *at, bool *is_number, int64_t *n)
{
    *is_number = true;
    if (take_digits(bytes, at, n))
        return REQUEST_DONE;
    const char *from = bytes.at + *at + 1;
    size_t len = bytes.len - *at - 1;
    const char *cr = len ? memchr(from, '\r', len) : NULL;
    if (cr == NULL)
        return len > LINE_MAX_LEN ? REQUEST_BAD : REQUEST_MORE;
    if (cr + 1 == from + len)
        return REQUEST_MORE;
    *is_number = number_parse((struct view){ from, (size_t)(cr - from) }, n);
    *at = (size_t)(cr + 2 - bytes.at);
    return REQUEST_DONE;
}

static enum request_result parse_array(struct model *m, struct view bytes, bool is_stranger,
                                       size_t *argc, size_t *used, char error[64])
{
    size_t at = 0;
    int64_t count, len;
    bool is_number;
    enum request_result result = take_number(bytes, &at, &is_number, &count);
    if (result != REQUEST_DONE) {
        snprintf(error, 64, "ERR Protocol error: too big mbulk count string");
        return result;
    }
    if (!is_number || count > ARGS_MAX) {
        snprintf(error, 64, "ERR Protocol error: invalid multibulk length");
        return REQUEST_BAD;
    }
    if (is_stranger && count > STRANGER_ARGS_MAX) {
        snprintf(error, 64, "ERR Protocol error: unauthenticated multibulk length");
        return REQUEST_BAD;
    }
    for (int64_t i = 0; i < count; i++) {
        if (at >= bytes.len)
            return REQUEST_MORE;
        if (bytes.at[at] != '$') {
            char c = bytes.at[at];
            snprintf(error, 64, "ERR Protocol error: expected '$', got '%c'",
                     c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
            return REQUEST_BAD;
        }
        result = take_number(bytes, &at, &is_number, &len);
        if (result != REQUEST_DONE) {
            snprintf(error, 64, "ERR Protocol error: too big bulk count string");
            return result;
        }
        if (!is_number || len < 0 || (uint64_t)len > BULK_MAX) {
            snprintf(error, 64, "ERR Protocol error: invalid bulk length");
            return REQUEST_BAD;
        }
        if (is_stranger && len > STRANGER_BULK_MAX) {
            snprintf(error, 64, "ERR Protocol error: unauthenticated bulk length");
            return REQUEST_BAD;
        }
        if (bytes.len - at < (size_t)len + 2)
            return REQUEST_MORE;
        put_arg(m, (size_t)i, (struct view){ bytes.at + at, (size_t)len });
        at += (size_t)len + 2;
    }
    *argc = count > 0 ? (size_t)count : 0;
    *used = at;
    return REQUEST_DONE;
}

static enum request_result parse_inline(struct model *m, struct view bytes, size_t *argc,
                                        size_t *used, char error[64])
{
    const char *newline = memchr(bytes.at, '\n', bytes.len);
    if (newline == NULL) {
        snprintf(error, 64, "ERR Protocol error: too big inline request");
        return bytes.len > LINE_MAX_LEN ? REQUEST_BAD : REQUEST_MORE;
    }
    *used = (size_t)(newline + 1 - bytes.at);
    *argc = 0;
    for (const char *at = bytes.at; at < newline;) {
        const char *end = at;
        while (end < newline && *end != ' ' && *end != '\r')
            end++;
        if (end > at)
            put_arg(m, (*argc)++, (struct view){ at, (size_t)(end - at) });
        at = end + 1;
    }
    return REQUEST_DONE;
}

enum request_result request_parse(struct model *m, struct view bytes, bool is_stranger,
                                  size_t *argc, size_t *used, char error[64])
{
    if (bytes.len == 0)
        return REQUEST_MORE;
    return bytes.at[0] == '*' ? parse_array(m, bytes, is_stranger, argc, used, error)
                              : parse_inline(m, bytes, argc, used, error);
}
