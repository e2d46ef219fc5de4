#include "base/say.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

#define TEXT_MAX ((size_t)1024) // bytes of a text that are said; "..." stands for the rest

static enum say_level least_level = SAY_INFO;
static enum say_format line_format = SAY_LOGFMT;
static bool is_journal;

// JOURNAL_STREAM names what systemd made standard error ("device:inode"); it may have been
// redirected since (systemd.exec(5)).
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat here;
    char ours[64];
    if (!stream || fstat(STDERR_FILENO, &here) != 0)
        return false;
    snprintf(ours, sizeof(ours), "%ju:%ju", (uintmax_t)here.st_dev, (uintmax_t)here.st_ino);
    return strcmp(stream, ours) == 0;
}

void say_setup(enum say_level least, enum say_format format)
{
    least_level = least;
    line_format = format;
    is_journal = stderr_is_journal();
}

bool say_enabled(enum say_level level)
{
    return level >= least_level;
}

// 2026-11-23T14:30:00.123Z (RFC 3339)
static void add_time(struct buffer *line)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / MS_PER_S);
    struct tm t;
    CHECK(gmtime_r(&seconds, &t) != NULL);
    buffer_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
                  t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)(now_ms % MS_PER_S));
}

// The bytes of the character that `text` begins with, or 0: they are no UTF-8.
static size_t char_len(struct view text)
{
    uint8_t lead = (uint8_t)text.at[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return len <= text.len && utf8_valid((struct view){ text.at, len }) ? len : 0;
}

// A control character, or one of Unicode's own line ends: what could break a
// line or make a terminal do something. Gives its number.
static bool is_control(struct view c, unsigned *number)
{
    uint8_t lead = (uint8_t)c.at[0];
    if (c.len == 1)
        *number = lead;
    else if (c.len == 2 && lead == 0xc2)
        *number = (uint8_t)c.at[1];
    else if (c.len == 3 && memcmp(c.at, "\xe2\x80", 2) == 0)
        *number = 0x2000 | ((uint8_t)c.at[2] & 0x3f);
    else
        return false;
    return *number < 0x20 || (*number >= 0x7f && *number < 0xa0) || *number == 0x2028 ||
           *number == 0x2029;
}

static void add_json_control(struct buffer *line, unsigned number)
{
    if (number == '\n')
        buffer_add_view(line, VIEW("\\n"));
    else if (number == '\t')
        buffer_add_view(line, VIEW("\\t"));
    else
        buffer_printf(line, "\\u%04x", number);
}

static void add_logfmt_bytes(struct buffer *line, struct view c)
{
    if (c.at[0] == '\n')
        buffer_add_view(line, VIEW("\\n"));
    else if (c.at[0] == '\t')
        buffer_add_view(line, VIEW("\\t"));
    else
        for (size_t i = 0; i < c.len; i++)
            buffer_printf(line, "\\x%02x", (unsigned)(uint8_t)c.at[i]);
}

// Between quotes, in either form: the forms differ only in what they write for
// bytes that cannot stand as they are.
static void add_quoted(struct buffer *line, struct view text)
{
    bool json = line_format == SAY_JSON;
    unsigned control;

    buffer_add_view(line, VIEW("\""));
    while (text.len) {
        size_t valid = char_len(text);
        struct view c = { text.at, valid ? valid : 1 };
        text.at += c.len, text.len -= c.len;

        if (!valid && json)
            buffer_add_view(line, VIEW("\\ufffd"));
        else if (!valid)
            add_logfmt_bytes(line, c);
        else if (is_control(c, &control) && json)
            add_json_control(line, control);
        else if (is_control(c, &control))
            add_logfmt_bytes(line, c);
        else if (c.at[0] == '"' || c.at[0] == '\\')
            buffer_printf(line, "\\%c", c.at[0]);
        else
            buffer_add_view(line, c);
    }
    buffer_add_view(line, VIEW("\""));
}

// May it stand in a logfmt line without quotes?
static bool is_bare(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~' || strchr("\"\\=", text.at[i]))
            return false;
    return text.len > 0;
}

// Leaves room for the dots. Cut between two characters, unless it is no text anyway.
static struct view cut(struct view text)
{
    size_t len = TEXT_MAX - 3;
    for (int i = 0; i < 3 && ((uint8_t)text.at[len] & 0xc0) == 0x80; i++)
        len--;
    return (struct view){ text.at, len };
}

static void add_text(struct buffer *line, struct view text)
{
    if (text.len > TEXT_MAX) {
        struct buffer shorter = { 0 };
        buffer_add_view(&shorter, cut(text));
        buffer_add_view(&shorter, VIEW("..."));
        add_text(line, buffer_view(&shorter));
        buffer_free(&shorter);
    } else if (line_format == SAY_LOGFMT && is_bare(text)) {
        buffer_add_view(line, text);
    } else {
        add_quoted(line, text);
    }
}

static void add_key(struct buffer *line, const char *key)
{
    bool first = line->len <= 1; // JSON's brace may stand before it
    if (line_format == SAY_JSON)
        buffer_printf(line, first ? "\"%s\":" : ",\"%s\":", key);
    else
        buffer_printf(line, first ? "%s=" : " %s=", key);
}

static void add_value(struct buffer *line, const struct say_value *v)
{
    if (v->kind == SAY_COUNT && v->integer == 0)
        return;
    add_key(line, v->key);
    if (v->kind != SAY_TEXT)
        buffer_printf(line, "%" PRId64, v->integer);
    else
        add_text(line, v->text);
}

static void add_timestamp(struct buffer *line)
{
    const char *quote = line_format == SAY_JSON ? "\"" : "";
    add_key(line, "ts");
    buffer_printf(line, "%s", quote);
    add_time(line);
    buffer_printf(line, "%s", quote);
}

static void add_head(struct buffer *line, enum say_level level, const char *event)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    if (!is_journal)
        add_timestamp(line);
    add_value(line, &SAY_S("level", names[level]));
    add_value(line, &SAY_S("event", event));
}

static void add_priority(struct buffer *line, enum say_level level)
{
    static const int priorities[] = { 7, 6, 4, 3 }; // as syslog(3) numbers them
    if (is_journal)
        buffer_printf(line, "<%d>", priorities[level]);
}

// A line that cannot be written is lost: there is nobody left to tell.
static void write_bytes(struct view line)
{
    while (write(STDERR_FILENO, line.at, line.len) < 0 && errno == EINTR)
        ;
}

static void write_line(enum say_level level, struct view text)
{
    struct buffer line = { 0 };
    add_priority(&line, level);
    buffer_add_view(&line, text);
    write_bytes(buffer_view(&line));
    buffer_free(&line);
}

void say_line(enum say_level level, const char *event, const struct say_value *values)
{
    if (!say_enabled(level))
        return;
    struct buffer line = { 0 };
    if (line_format == SAY_JSON)
        buffer_add_view(&line, VIEW("{"));
    add_head(&line, level, event);
    for (; values->kind != SAY_END; values++)
        add_value(&line, values);
    buffer_add_view(&line, line_format == SAY_JSON ? VIEW("}\n") : VIEW("\n"));

    int saved = errno; // callers often say errno's own story, and go on to return it
    write_line(level, buffer_view(&line));
    errno = saved;
    buffer_free(&line);
}

bool say_limited(struct say_limit *limit, int64_t now_ms, int64_t every_ms, uint64_t *missed)
{
    int64_t next = atomic_load(&limit->next_ms);
    // Of several threads that come at the same time, the one that moves next_ms speaks.
    if (now_ms < next ||
        !atomic_compare_exchange_strong(&limit->next_ms, &next, now_ms + every_ms)) {
        atomic_fetch_add(&limit->swallowed, 1);
        return false;
    }
    *missed = atomic_exchange(&limit->swallowed, 0);
    return true;
}
