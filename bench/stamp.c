#include "stamp.h"

#include <pthread.h>
#include <stdio.h>

#define NUMBER_DIGITS 10
#define TIME_DIGITS 19
#define NUMBER_AT 6
#define TIME_AT (NUMBER_AT + NUMBER_DIGITS + 7)
#define HEAD_LEN (TIME_AT + TIME_DIGITS + 1)

#define LEVEL_LEN 19 // [64211.52,0.01342],
#define LEVELS 4096

static char levels[LEVELS * LEVEL_LEN];
static pthread_once_t levels_made = PTHREAD_ONCE_INIT;

// A random walk of prices, the same in each run.
static void make_levels(void)
{
    uint64_t random = 1;
    unsigned cents = 6421152;
    for (size_t i = 0; i < LEVELS; i++) {
        char level[64];
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        cents += (unsigned)(random >> 60) - 7;
        int len = snprintf(level, sizeof(level), "[%05u.%02u,0.%05u],", cents / 100 % 100000,
                           cents % 100, (unsigned)(random >> 40) % 100000);
        CHECK(len == LEVEL_LEN);
        memcpy(levels + i * LEVEL_LEN, level, LEVEL_LEN);
    }
}

static void write_digits(char *at, size_t digits, uint64_t value)
{
    for (size_t i = digits; i > 0; i--, value /= 10)
        at[i - 1] = (char)('0' + value % 10);
}

static uint64_t read_digits(const char *at, size_t digits, bool *bad)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        *bad |= at[i] < '0' || at[i] > '9';
        value = value * 10 + (uint64_t)(at[i] - '0');
    }
    return value;
}

static char *put(char *at, struct view text)
{
    memcpy(at, text.at, text.len);
    return at + text.len;
}

void stamp_write(struct stamp stamp, char *out, size_t size)
{
    const struct view open = VIEW(",\"levels\":["), pad = VIEW("],\"pad\":\""), end = VIEW("\"}");
    pthread_once(&levels_made, make_levels);
    CHECK(size >= STAMP_SIZE_MIN);

    char *at = put(out, VIEW("{\"n\":\"0000000000\",\"t\":\"0000000000000000000\""));
    write_digits(out + NUMBER_AT, NUMBER_DIGITS, stamp.number);
    write_digits(out + TIME_AT, TIME_DIGITS, (uint64_t)stamp.due_ns);
    at = put(at, open);

    size_t room = size - HEAD_LEN - open.len - pad.len - end.len;
    size_t count = room / LEVEL_LEN;
    for (size_t i = 0; i < count; i++)
        at = put(at,
                 (struct view){ levels + (stamp.number * 7 + i) % LEVELS * LEVEL_LEN, LEVEL_LEN });
    if (count)
        at--; // no comma behind the last
    at = put(at, pad);
    size_t left = size - (size_t)(at - out) - end.len;
    memset(at, 'x', left);
    put(at + left, end);
}

bool stamp_read(struct view message, struct stamp *stamp)
{
    const char *at = message.at;
    if (message.len < HEAD_LEN || memcmp(at, "{\"n\":\"", NUMBER_AT) != 0)
        at = memmem(message.at, message.len, "{\"n\":\"", NUMBER_AT);
    if (at == NULL || (size_t)(message.at + message.len - at) < HEAD_LEN)
        return false;
    bool bad = memcmp(at + NUMBER_AT + NUMBER_DIGITS, "\",\"t\":\"", 7) != 0;
    stamp->number = read_digits(at + NUMBER_AT, NUMBER_DIGITS, &bad);
    stamp->due_ns = (int64_t)read_digits(at + TIME_AT, TIME_DIGITS, &bad);
    return !bad;
}
