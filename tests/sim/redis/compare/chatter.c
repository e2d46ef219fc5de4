#include "chatter.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/resp.h"

// ---- chance ---------------------------------------------------------------------

uint64_t draw(struct chance *chance) // splitmix64
{
    uint64_t z = (chance->state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

size_t below(struct chance *chance, size_t n)
{
    return draw(chance) % n;
}

bool one_in(struct chance *chance, size_t n)
{
    return below(chance, n) == 0;
}

#define PICK(ch, ...)                                                                              \
    (((const char *const[]){ __VA_ARGS__ })[below(                                                 \
        &(ch)->chance, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))])

// ---- one command ----------------------------------------------------------------

#define WORDS_MAX 64
#define TEXT_MAX (16 * KIB)

// Its words, and the memory that they stand in.
struct command_text {
    const char *before; // another command; NULL: none
    size_t count, used;
    struct view words[WORDS_MAX];
    char text[TEXT_MAX];
};

static void begin(struct command_text *t)
{
    t->before = NULL;
    t->count = t->used = 0;
}

static void put(struct command_text *t, struct view word)
{
    if (t->count == WORDS_MAX || t->used + word.len > TEXT_MAX)
        return;
    memcpy(t->text + t->used, word.at, word.len);
    t->words[t->count++] = (struct view){ t->text + t->used, word.len };
    t->used += word.len;
}

static void say(struct command_text *t, const char *word)
{
    put(t, view_of(word));
}

static void say_number(struct command_text *t, int64_t n)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, n);
    say(t, text);
}

// Redis does not care for the case.
static void say_any_case(struct chatter *ch, struct command_text *t, const char *word)
{
    char text[32];
    size_t len = strlen(word);
    CHECK(len < sizeof(text));
    for (size_t i = 0; i <= len; i++)
        text[i] = word[i] >= 'A' && word[i] <= 'Z' && one_in(&ch->chance, 8)
                      ? (char)(word[i] - 'A' + 'a')
                      : word[i];
    say(t, text);
}

// "n" keys have ids of the clock, and no others.
static void say_key(struct chatter *ch, struct command_text *t)
{
    say(t, PICK(ch, "s1", "s1", "s1", "s1", "s2", "s2", "s3", "other", "n1"));
}

static void say_made_key(struct chatter *ch, struct command_text *t)
{
    say(t, PICK(ch, "s1", "s1", "s1", "s1", "s2", "s2", "s3", "other"));
}

// ---- ids ------------------------------------------------------------------------

static void say_id(struct chatter *ch, struct command_text *t, const char *prefix)
{
    char text[80];
    uint64_t back = below(&ch->chance, one_in(&ch->chance, 3) ? 60 : 8);
    uint64_t ms = ch->ms > back ? ch->ms - back : 0;
    unsigned seq = (unsigned)below(&ch->chance, 4);
    if (one_in(&ch->chance, 3))
        snprintf(text, sizeof(text), "%s%" PRIu64, prefix, ms);
    else
        snprintf(text, sizeof(text), "%s%" PRIu64 "-%u", prefix, ms, seq);
    say(t, text);
}

static void say_odd_id(struct chatter *ch, struct command_text *t)
{
    say(t, PICK(ch, "0-0", "0-1", "0", "x", "5-", "-5", "5-x", "05-01", "", "18446744073709551615",
                "18446744073709551615-18446744073709551615", "18446744073709551616", "+5",
                "9223372036854775808-0", "1-18446744073709551615", "(5", "((5", "(", "$", ">", "-",
                "+", "*", "5-*", "1-2-3", " 7"));
}

static void say_range_end(struct chatter *ch, struct command_text *t)
{
    switch (below(&ch->chance, 12)) {
    case 0:
    case 1: say(t, "-"); break;
    case 2:
    case 3: say(t, "+"); break;
    case 4: say_id(ch, t, "("); break;
    case 5: say_odd_id(ch, t); break;
    case 6:
        say(t, PICK(ch, "(0-0", "(0-1", "(-", "(+", "(18446744073709551615-18446744073709551615",
                    "(18446744073709551615", "(x"));
        break;
    default: say_id(ch, t, "");
    }
}

static void say_count(struct chatter *ch, struct command_text *t)
{
    if (one_in(&ch->chance, 12))
        say(t, PICK(ch, "x", "-1", "0", "99999999999999999999", "1.5", "+1", "01", "-0", ""));
    else
        say_number(t, 1 + (int64_t)below(&ch->chance, 12));
}

// ---- XADD and XTRIM -------------------------------------------------------------

static void say_value(struct chatter *ch, struct command_text *t)
{
    static const int64_t edges[] = {
        0,       127,       128,       -1,        4095,      4096,
        -4096,   -4097,     32767,     32768,     -32768,    8388607,
        8388608, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)INT32_MAX + 1
    };
    char text[5000];
    size_t len = below(&ch->chance, 12);
    switch (below(&ch->chance, 10)) {
    case 0:
    case 5: say_number(t, edges[below(&ch->chance, ARRAY_LEN(edges))]); return;
    case 1:
        say(t, PICK(ch, "", "-0", "007", "9223372036854775808", "-", "1 ", "\r\n", "+1"));
        return;
    case 2: len = below(&ch->chance, 150); break;
    case 4: len = 61 + below(&ch->chance, 6); break; // a listpack writes it in one byte more
    case 3: len = ch->wants_large ? below(&ch->chance, sizeof(text)) : len; break;
    default: break;
    }
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(one_in(&ch->chance, 20) ? below(&ch->chance, 256)
                                                 : 'a' + below(&ch->chance, 26));
    put(t, (struct view){ text, len });
}

static void say_fields(struct chatter *ch, struct command_text *t)
{
    size_t pairs = one_in(&ch->chance, 4) ? 1 + below(&ch->chance, 4) : 1;
    for (size_t i = 0; i < pairs; i++) {
        say(t, PICK(ch, "data", "data", "data", "f", "12", ""));
        say_value(ch, t);
    }
    if (one_in(&ch->chance, 60))
        say(t, "odd");
}

static void say_trimming(struct chatter *ch, struct command_text *t)
{
    bool by_len = !one_in(&ch->chance, 3);
    say_any_case(ch, t, by_len ? "MAXLEN" : "MINID");
    switch (below(&ch->chance, 6)) {
    case 0: say(t, "="); break;
    case 1:
    case 2: say(t, "~"); break;
    default: break;
    }
    if (one_in(&ch->chance, 25))
        say(t, PICK(ch, "x", "-1", "", "~", "="));
    else if (by_len)
        say_number(t, (int64_t)below(&ch->chance, ch->wants_large ? 120 : 15));
    else
        say_id(ch, t, "");
    if (one_in(&ch->chance, 6)) {
        say_any_case(ch, t, "LIMIT");
        say(t, PICK(ch, "0", "1", "5", "10", "200", "-1", "x"));
    }
}

static void write_xadd(struct chatter *ch, struct command_text *t, const char *key, const char *id)
{
    say_any_case(ch, t, "XADD");
    if (key)
        say(t, key);
    else
        say_made_key(ch, t);
    if (one_in(&ch->chance, 12))
        say_any_case(ch, t, "NOMKSTREAM");
    if (one_in(&ch->chance, 5))
        say_trimming(ch, t);
    if (one_in(&ch->chance, 80))
        say_trimming(ch, t);
    ch->ms += below(&ch->chance, 2);
    if (id) {
        say(t, id);
    } else if (one_in(&ch->chance, 40)) {
        say(t, PICK(ch, "0-0", "0-1", "x", "5-", "-5", "0-*", "5-x", "", "-", "+", "1-2-3", "(5",
                    "$"));
    } else if (one_in(&ch->chance, 3000)) {
        say(t, "18446744073709551615-18446744073709551615");
    } else if (one_in(&ch->chance, 3)) {
        char text[40];
        snprintf(text, sizeof(text), "%" PRIu64 "-*", ch->ms);
        say(t, text);
    } else if (one_in(&ch->chance, 5)) {
        say_id(ch, t, "");
    } else {
        char text[48];
        snprintf(text, sizeof(text), "%" PRIu64 "-%zu", ch->ms, below(&ch->chance, 5));
        say(t, text);
    }
    say_fields(ch, t);
}

static void write_xtrim(struct chatter *ch, struct command_text *t)
{
    say_any_case(ch, t, "XTRIM");
    say_key(ch, t);
    say_trimming(ch, t);
    if (one_in(&ch->chance, 30))
        say_trimming(ch, t);
    if (one_in(&ch->chance, 30))
        say(t, "NOMKSTREAM");
}

// ---- the other stream commands --------------------------------------------------

static void write_xdel(struct chatter *ch, struct command_text *t)
{
    say_any_case(ch, t, "XDEL");
    say_key(ch, t);
    for (size_t n = 1 + below(&ch->chance, 4); n > 0; n--)
        if (one_in(&ch->chance, 40))
            say_odd_id(ch, t);
        else
            say_id(ch, t, "");
}

static void write_range(struct chatter *ch, struct command_text *t)
{
    bool all = one_in(&ch->chance, 5);
    bool backwards = one_in(&ch->chance, 3);
    say_any_case(ch, t, backwards ? "XREVRANGE" : "XRANGE");
    say_key(ch, t);
    if (all) {
        say(t, backwards ? "+" : "-");
        say(t, backwards ? "-" : "+");
    } else {
        say_range_end(ch, t);
        say_range_end(ch, t);
    }
    for (size_t n = below(&ch->chance, 8); n < 3; n += 2) {
        say_any_case(ch, t, "COUNT");
        say_count(ch, t);
    }
    if (one_in(&ch->chance, 80))
        say(t, PICK(ch, "COUNT", "x"));
}

static void write_xread(struct chatter *ch, struct command_text *t, const char *block)
{
    say_any_case(ch, t, "XREAD");
    if (block) {
        say_any_case(ch, t, "BLOCK");
        say(t, block);
    }
    if (one_in(&ch->chance, 3)) {
        say_any_case(ch, t, "COUNT");
        say_count(ch, t);
    }
    if (one_in(&ch->chance, 100))
        say(t, PICK(ch, "x", "STREAMS", "BLOCK"));
    say_any_case(ch, t, "STREAMS");
    size_t streams = 1 + below(&ch->chance, 3);
    for (size_t i = 0; i < streams; i++)
        say_key(ch, t);
    for (size_t i = 0; i < streams; i++)
        if (one_in(&ch->chance, 60))
            say_odd_id(ch, t);
        else if (one_in(&ch->chance, block ? 2 : 10))
            say(t, "$");
        else
            say_id(ch, t, "");
    if (one_in(&ch->chance, 60))
        say(t, "5");
}

static void write_xsetid(struct chatter *ch, struct command_text *t)
{
    say_any_case(ch, t, "XSETID");
    say_made_key(ch, t);
    if (one_in(&ch->chance, 15))
        say_odd_id(ch, t);
    else
        say_id(ch, t, "");
    if (one_in(&ch->chance, 3)) {
        say_any_case(ch, t, "ENTRIESADDED");
        say_count(ch, t);
    }
    if (one_in(&ch->chance, 4)) {
        say_any_case(ch, t, "MAXDELETEDID");
        say_id(ch, t, "");
    }
    if (one_in(&ch->chance, 30))
        say(t, "ENTRIESADDED");
}

static void write_xinfo(struct chatter *ch, struct command_text *t)
{
    say_any_case(ch, t, "XINFO");
    say_any_case(ch, t,
                 one_in(&ch->chance, 12) ? PICK(ch, "GROUPS", "NONE", "TRACKING") : "STREAM");
    say_key(ch, t);
    if (one_in(&ch->chance, 60))
        say(t, "x");
}

// ---- keys and connections -------------------------------------------------------

// Not in a transaction: Redis then goes through who waits in an order of its own.
static void write_flush(struct chatter *ch, struct command_text *t)
{
    t->before = "DISCARD";
    say_any_case(ch, t, one_in(&ch->chance, 2) ? "FLUSHALL" : "FLUSHDB");
    if (one_in(&ch->chance, 6))
        say(t, PICK(ch, "SYNC", "ASYNC", "x"));
}

static void write_key_command(struct chatter *ch, struct command_text *t)
{
    switch (below(&ch->chance, 10)) {
    case 0:
    case 1: say_any_case(ch, t, PICK(ch, "DEL", "UNLINK", "EXISTS")); break;
    case 2: say_any_case(ch, t, "EXISTS"); break;
    case 3:
    case 4:
        say_any_case(ch, t, "TYPE");
        say_key(ch, t);
        return;
    case 5:
        say_any_case(ch, t, "RENAME");
        say_made_key(ch, t);
        say_made_key(ch, t);
        return;
    case 6:
        say_any_case(ch, t, "SET");
        say_made_key(ch, t);
        say_value(ch, t);
        return;
    case 7:
        say_any_case(ch, t, "GET");
        say_key(ch, t);
        return;
    case 8:
        say_any_case(ch, t, "XLEN");
        say_key(ch, t);
        return;
    default: write_flush(ch, t); return;
    }
    for (size_t n = 1 + below(&ch->chance, 3); n > 0; n--)
        say_key(ch, t);
}

static void say_words(struct command_text *t, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, " ");
        put(t, (struct view){ words, len });
        words += len + (words[len] == ' ');
    }
}

static void write_server_command(struct chatter *ch, struct command_text *t)
{
    if (ch->has_users && one_in(&ch->chance, 2)) {
        say_words(t, PICK(ch, "AUTH right", "AUTH alice secret", "AUTH bob secret", "AUTH bob no",
                          "AUTH alice secret", "AUTH default right", "AUTH wrong", "AUTH a b c",
                          "HELLO 3 AUTH default right", "HELLO 3 AUTH alice secret SETNAME x",
                          "HELLO 2 AUTH bob secret", "HELLO 3 AUTH bob no", "AUTH carol secret"));
        return;
    }
    say_words(t,
              PICK(ch, "PING", "PING hello", "PING a b", "ECHO x", "ECHO", "SELECT 0", "SELECT 1",
                   "SELECT 0", "SELECT 0", "SELECT 16", "SELECT -1", "SELECT x",
                   "SELECT 99999999999", "CLIENT SETNAME me", "CLIENT GETNAME",
                   "CLIENT SETNAME b\177d", "CLIENT NONE", "CLIENT", "CLIENT TRACKING", "HELLO",
                   "HELLO 3", "HELLO 2", "HELLO 3", "HELLO 4", "HELLO x", "HELLO 3 SETNAME me",
                   "HELLO 3 NONE", "HELLO 3 AUTH x", "HELLO 3 SETNAME", "AUTH x", "AUTH default x",
                   "AUTH nobody x", "NONE", "NONE a b c d", "client none", "XADD", "XADD s1 1",
                   "XRANGE s1 -", "XREAD STREAMS s1", "XREAD COUNT 1 s1 0 0",
                   "XREAD GROUP g c STREAMS s1 0", "XLEN", "TYPE s1 s2", "XINFO", "XINFO STREAM",
                   "XDEL s1", "MULTI x", "EXEC x", "ROLE x", "TIME x", "SET s1", "GET", "SCAN",
                   "SCAN x", "SCAN 0 COUNT 0", "SCAN 0 COUNT x", "SCAN 0 COUNT", "SCAN 0 NONE 1",
                   "KEYS", "XTRIM s1 5", "XTRIM s1 NONE 5", "XTRIM s1 LIMIT 5", "XSETID s1"));
}

static void write_tracking(struct chatter *ch, struct command_text *t)
{
    say_words(t, PICK(ch, "CLIENT TRACKING ON", "CLIENT TRACKING ON", "CLIENT TRACKING ON",
                      "client tracking on", "CLIENT TRACKING OFF", "CLIENT TRACKING x"));
}

static void write_plain(struct chatter *ch, struct command_text *t)
{
    size_t n = below(&ch->chance, 1000);
    if (n < 350)
        write_xadd(ch, t, NULL, NULL);
    else if (n < 520)
        write_range(ch, t);
    else if (n < 600)
        write_xread(ch, t, NULL);
    else if (n < 680)
        write_xinfo(ch, t);
    else if (n < 730)
        write_xtrim(ch, t);
    else if (n < 780)
        write_xdel(ch, t);
    else if (n < 800)
        write_xsetid(ch, t);
    else if (n < 860)
        write_key_command(ch, t);
    else if (n < 930)
        write_server_command(ch, t);
    else if (n < 950)
        write_tracking(ch, t);
    else
        say_words(t, PICK(ch, "MULTI", "MULTI", "MULTI", "DISCARD"));
}

static void finish(struct chatter *ch, const struct command_text *t, struct buffer *out)
{
    if (t->before)
        chatter_write_words(ch, t->before, out);
    resp_command(out, t->count, t->words);
    ch->commands++;
}

void chatter_write(struct chatter *ch, enum chatter_kind kind, struct buffer *out)
{
    struct command_text t;
    begin(&t);
    switch (kind) {
    case CHATTER_PLAIN: write_plain(ch, &t); break;
    case CHATTER_STAR: write_xadd(ch, &t, "n1", "*"); break;
    case CHATTER_BLOCK:
        write_xread(ch, &t, one_in(&ch->chance, 20) ? PICK(ch, "x", "-1", "", "1.5") : "0");
    }
    finish(ch, &t, out);
}

void chatter_write_short_block(struct chatter *ch, unsigned ms, struct buffer *out)
{
    struct command_text t;
    char text[24];
    begin(&t);
    snprintf(text, sizeof(text), "%u", ms);
    write_xread(ch, &t, text);
    finish(ch, &t, out);
}

void chatter_write_words(struct chatter *ch, const char *words, struct buffer *out)
{
    struct command_text t;
    begin(&t);
    say_words(&t, words);
    finish(ch, &t, out);
}

// Of keys that somebody may wait for: what is there in the end, and which was first?
void chatter_write_change(struct chatter *ch, struct buffer *out)
{
    struct command_text t;
    char id[40];
    begin(&t);
    ch->ms += below(&ch->chance, 2);
    snprintf(id, sizeof(id), "%" PRIu64 "-*", ch->ms);
    switch (below(&ch->chance, 6)) {
    case 0: say(&t, "DEL"); break;
    case 1: say_words(&t, PICK(ch, "RENAME s1 s2", "RENAME s2 s3", "RENAME s3 s1")); break;
    case 2: say_words(&t, PICK(ch, "SET s1 x", "SET s2 x", "XTRIM s1 MAXLEN 0")); break;
    default: say(&t, "XADD");
    }
    if (t.count == 1)
        say(&t, PICK(ch, "s1", "s2", "s3"));
    if (view_eq(t.words[0], VIEW("XADD"))) {
        say(&t, id);
        say_fields(ch, &t);
    }
    finish(ch, &t, out);
}

void chatter_write_garbage(struct chatter *ch, struct buffer *out)
{
    buffer_add_view(out, view_of(PICK(ch, "*1\r\nx\r\n", "*x\r\n", "*1\r\n$x\r\n", "*1\r\n$-1\r\n",
                                      "*3000000000\r\n", "*1\r\n$600000000\r\n", "*0\r\n",
                                      "*-1\r\n", "\r\n", "PING\r\n", "PING\n", "  ECHO   x  \r\n",
                                      "*1\r\n\r\n", "QUIT\r\n", "*1\r\n$4\r\nQUIT\r\n")));
}
