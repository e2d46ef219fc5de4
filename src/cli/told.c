#include "cli/told.h"

#include <time.h>

#include "base/json.h"
#include "base/utf8.h"

#define FIRST_TIME_MS INT64_C(1000000000000) // 2001: an id below it is no time
#define AHEAD_MS (24 * 3600 * MS_PER_S)      // nor is one so far in the future

#define DIM "\033[2m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

// ---- reading --------------------------------------------------------------------

static enum told_kind kind_of(struct view type)
{
    static const char *const types[] = {
        [TOLD_HELLO] = "\"hello\"",     [TOLD_EVENT] = "\"event\"",
        [TOLD_LIVE] = "\"live\"",       [TOLD_GAP] = "\"gap\"",
        [TOLD_SOURCE] = "\"source\"",   [TOLD_EXPIRING] = "\"expiring\"",
        [TOLD_CLOSING] = "\"closing\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (view_eq(type, view_of(types[i])))
            return (enum told_kind)i;
    return TOLD_OTHER;
}

static struct view member(struct view message, const char *name)
{
    struct view value;
    return json_member(message, view_of(name), &value) ? value : (struct view){ 0 };
}

static struct eventid id_of(struct view quoted)
{
    struct eventid id;
    if (quoted.len > 2 && eventid_parse((struct view){ quoted.at + 1, quoted.len - 2 }, &id))
        return id;
    return (struct eventid){ 0 };
}

static int64_t number_of(struct view message, const char *name)
{
    uint64_t number;
    return view_u64(member(message, name), &number) && number <= INT64_MAX ? (int64_t)number : -1;
}

bool told_read(struct view message, struct told *out)
{
    struct view type;
    if (!json_valid(message) || !json_member(message, VIEW("type"), &type))
        return false;
    *out = (struct told){ .kind = kind_of(type), .number = -1 };
    out->stream = member(message, "stream");
    out->id = member(message, "id");
    out->event_id = id_of(out->id);
    switch (out->kind) {
    case TOLD_EVENT:
        out->data = member(message, "data");
        return out->data.at != NULL && !eventid_is_none(out->event_id);
    case TOLD_GAP:
        out->after = member(message, "after");
        out->before = member(message, "before");
        out->reason = member(message, "reason");
        out->missed = member(message, "missed");
        break;
    case TOLD_SOURCE:
        out->is_stale = view_eq(member(message, "state"), VIEW("\"stale\""));
        out->number = number_of(message, "for_ms");
        break;
    case TOLD_EXPIRING: out->number = number_of(message, "in_s"); break;
    case TOLD_CLOSING: out->number = number_of(message, "reconnect_ms"); break;
    default: break;
    }
    return true;
}

// ---- writing --------------------------------------------------------------------

int64_t told_age_ms(struct eventid id, int64_t now_ms)
{
    if (id.ms < (uint64_t)FIRST_TIME_MS || id.ms > (uint64_t)(now_ms + AHEAD_MS))
        return -1;
    int64_t age_ms = now_ms - (int64_t)id.ms;
    return age_ms > 0 ? age_ms : 0;
}

static void add_time(struct buffer *out, int64_t unix_ms)
{
    time_t seconds = (time_t)(unix_ms / MS_PER_S);
    struct tm t;
    CHECK(gmtime_r(&seconds, &t) != NULL);
    buffer_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
                  t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)(unix_ms % MS_PER_S));
}

// The length of the control character that the text begins with, and its number; 0: none.
// Among them are C1's, which some terminals obey, and Unicode's two line ends.
static size_t control_at(struct view text, unsigned *number)
{
    uint8_t lead = (uint8_t)text.at[0];
    if (lead < 0x20 || lead == 0x7f) {
        *number = lead;
        return 1;
    }
    if (lead == 0xc2 && text.len > 1 && (uint8_t)text.at[1] < 0xa0) {
        *number = (uint8_t)text.at[1];
        return 2;
    }
    bool is_line_end = text.len > 2 && (memcmp(text.at, "\xe2\x80\xa8", 3) == 0 ||
                                        memcmp(text.at, "\xe2\x80\xa9", 3) == 0);
    *number = is_line_end ? 0x2000 | ((uint8_t)text.at[2] & 0x3f) : 0;
    return is_line_end ? 3 : 0;
}

// In valid JSON a control character below 0x20 is white space, so a space means the same.
void told_add_clean(struct buffer *out, struct view text)
{
    while (text.len) {
        unsigned number = 0;
        size_t len = control_at(text, &number);
        if (len == 0)
            buffer_add(out, text.at, len = 1);
        else if (number == '\n' || number == '\r' || number == '\t')
            buffer_add_view(out, VIEW(" "));
        else
            buffer_printf(out, "\\u%04x", number);
        text = (struct view){ text.at + len, text.len - len };
    }
}

// A stream's id without its quotes, unless it would not be one word then.
static void add_stream(struct buffer *out, struct view quoted)
{
    bool is_word = quoted.len > 2;
    for (size_t i = 0; i < quoted.len; i++)
        is_word = is_word && quoted.at[i] != ' ' && quoted.at[i] != '\\';
    if (is_word)
        quoted = (struct view){ quoted.at + 1, quoted.len - 2 };
    told_add_clean(out, quoted);
}

// Each stream has its colour, always the same, so that several can be told apart.
static void add_stream_colour(struct buffer *out, struct view stream)
{
    unsigned sum = 0;
    for (size_t i = 0; i < stream.len; i++)
        sum = sum * 31 + (uint8_t)stream.at[i];
    static const char *const colours[] = { "\033[32m", "\033[34m", "\033[35m",
                                           "\033[36m", "\033[92m", "\033[96m" };
    buffer_add_view(out, view_of(colours[sum % ARRAY_LEN(colours)]));
}

static void add_colour(struct buffer *out, bool coloured, const char *colour)
{
    if (coloured)
        buffer_add_view(out, view_of(colour));
}

static void add_head(const struct told *t, int64_t time_ms, bool coloured, struct buffer *out)
{
    add_colour(out, coloured, DIM);
    add_time(out, time_ms);
    add_colour(out, coloured, PLAIN);
    buffer_add_view(out, VIEW(" "));
    if (coloured)
        add_stream_colour(out, t->stream);
    if (t->stream.at)
        add_stream(out, t->stream);
    else
        buffer_add_view(out, VIEW("-"));
    add_colour(out, coloured, PLAIN);
    buffer_add_view(out, VIEW(" "));
}

void told_write_event(const struct told *t, int64_t now_ms, bool coloured, struct buffer *out)
{
    char id[EVENTID_MAX + 1];
    eventid_format(t->event_id, id);
    bool is_time = told_age_ms(t->event_id, now_ms) >= 0;
    add_head(t, is_time ? (int64_t)t->event_id.ms : now_ms, coloured, out);
    add_colour(out, coloured, DIM);
    buffer_add_view(out, view_of(id));
    add_colour(out, coloured, PLAIN);
    buffer_add_view(out, VIEW(" "));
    told_add_clean(out, t->data);
    buffer_add_view(out, VIEW("\n"));
}

static const char *reason_in_words(struct view reason)
{
    static const struct {
        struct view reason;
        const char *words;
    } reasons[] = {
        { { "\"window\"", 8 }, "they are older than what the broker keeps" },
        { { "\"limit\"", 7 }, "the broker's memory was short" },
        { { "\"trimmed\"", 9 }, "they had gone from Redis before the broker read them" },
        { { "\"slow\"", 6 }, "they came faster than they were read here" },
        { { "\"reset\"", 7 }, "the stream was deleted or went back" },
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (view_eq(reason, reasons[i].reason))
            return reasons[i].words;
    return "the reason is not known here";
}

static void add_place(struct buffer *out, const char *word, struct view id)
{
    if (id.len > 2 && id.at[0] == '"') {
        buffer_printf(out, "%s", word);
        told_add_clean(out, (struct view){ id.at + 1, id.len - 2 });
    }
}

void told_write_gap(const struct told *t, int64_t now_ms, bool coloured, struct buffer *out)
{
    uint64_t missed;
    add_head(t, now_ms, coloured, out);
    add_colour(out, coloured, YELLOW);
    buffer_add_view(out, VIEW("gap "));
    if (view_u64(t->missed, &missed))
        buffer_printf(out, "%llu event%s missing", (unsigned long long)missed,
                      missed == 1 ? " is" : "s are");
    else
        buffer_add_view(out, VIEW("events are missing"));
    add_place(out, ", after ", t->after);
    add_place(out, ", before ", t->before);
    buffer_printf(out, ": %s", reason_in_words(t->reason));
    add_colour(out, coloured, PLAIN);
    buffer_add_view(out, VIEW("\n"));
}
