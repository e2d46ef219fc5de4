#include "publisher.h"

#include <stdio.h>

enum shape { SHAPE_JSON, SHAPE_TEXT, SHAPE_FIELDS, SHAPE_NOT_UTF8, SHAPE_TOO_LARGE };

#define TEXT_LEN_MAX (64 * KIB)

void publisher_init(struct publisher *s, struct host *h, int number, enum id_kind ids,
                    uint64_t seed)
{
    static const char *const kinds[] = { "clock", "lower", "behind", "again" };
    *s = (struct publisher){ .host = h, .ids = ids, .rng.state = seed };
    snprintf(s->name, sizeof(s->name), "%s-%d", kinds[ids], number);
    snprintf(s->key, sizeof(s->key), "stream:%s", s->name);
    truth_init(&s->truth, s->name, ids == IDS_CLOCK);
}

void publisher_done(struct publisher *s)
{
    truth_done(&s->truth);
}

// ---- what an event holds --------------------------------------------------------------

static uint32_t scatter(int at, uint32_t by)
{
    uint32_t h = (uint32_t)at * 2654435761u ^ by * 0x9e3779b9u;
    h ^= h >> 15;
    h *= 0x85ebca6bu;
    return h ^ h >> 13;
}

static enum shape shape_of(const struct publisher *s, int at)
{
    if (s->odd == 0 || scatter(at, 1) % 1000 >= s->odd)
        return SHAPE_JSON;
    enum shape shape = SHAPE_TEXT + (enum shape)(scatter(at, 2) % 4);
    return shape == SHAPE_TOO_LARGE && s->event_bytes > TEXT_LEN_MAX / 2 ? SHAPE_NOT_UTF8 : shape;
}

static size_t pad_of(const struct publisher *s, int at)
{
    return scatter(at, 3) % s->pad_max;
}

static size_t write_pad(char *out, int at, size_t len)
{
    for (size_t i = 0; i < len; i += 16)
        memset(out + i, 'a' + (int)(((size_t)at * 31 + i / 16) % 26), len - i < 16 ? len - i : 16);
    return len;
}

// The event's text, as it is delivered.
static struct view text_of(const struct publisher *s, int at)
{
    static char text[TEXT_LEN_MAX];
    size_t len = 0, pad = pad_of(s, at);
    enum shape shape = shape_of(s, at);
    switch (shape) {
    case SHAPE_TEXT:
        len = (size_t)sprintf(text, "n=%d \"\n", at);
        len += write_pad(text + len, at, pad);
        break;
    case SHAPE_FIELDS:
        len = (size_t)sprintf(text, "{\"n\":\"%d\",\"pad\":\"", at);
        len += write_pad(text + len, at, pad);
        len += (size_t)sprintf(text + len, "\"}");
        break;
    case SHAPE_NOT_UTF8: len = (size_t)sprintf(text, "n=%d \xff\xfe", at); break;
    case SHAPE_TOO_LARGE: pad = s->event_bytes + 1; // fall through
    case SHAPE_JSON:
        len = (size_t)sprintf(text, "{\"n\":%d,\"pad\":\"", at);
        len += write_pad(text + len, at, pad);
        len += (size_t)sprintf(text + len, "\"}");
    }
    return (struct view){ text, len };
}

int publisher_read_event(const struct publisher *s, struct view text, bool *intact)
{
    size_t i = 0;
    int at = 0;
    while (i < text.len && i < 16 && (text.at[i] < '0' || text.at[i] > '9'))
        i++;
    if (i == text.len || i == 16)
        return -1;
    for (; i < text.len && text.at[i] >= '0' && text.at[i] <= '9' && at < 100000000; i++)
        at = at * 10 + (text.at[i] - '0');
    if (at >= s->truth.count)
        return -1;
    *intact = view_eq(text, text_of(s, at));
    return at;
}

// ---- commands -------------------------------------------------------------------------

// The id of the next entry: "*", or one of ours.
static void choose_id(struct publisher *s, char out[EVENTID_MAX + 1])
{
    int64_t now_ms = (world_wall_us() + s->host->clock_offset_us) / 1000;
    if (s->ids == IDS_CLOCK || (s->ids == IDS_LOWER && s->truth.run == 0)) {
        strcpy(out, "*");
        return;
    }
    uint64_t seq = 0;
    if (s->ids == IDS_BEHIND) {
        uint64_t ms = (uint64_t)(now_ms - 700 * s->truth.run);
        s->last_ms = ms > s->last_ms ? ms : s->last_ms + 1;
    } else {
        uint64_t lowered = (uint64_t)s->truth.run * 100000;
        uint64_t base = s->ids == IDS_AGAIN || lowered > 10000000 ? 0 : 10000000 - lowered;
        s->last_ms = s->last_ms > base ? s->last_ms : base;
        s->last_ms += rng_chance(&s->rng, 250) ? 7 : 1;
        seq = rng_below(&s->rng, 2);
    }
    sprintf(out, "%llu-%llu", (unsigned long long)s->last_ms, (unsigned long long)seq);
}

// Redis trims by whole nodes where it is told "about": how many are left, it says.
static void note_trims(struct publisher *s)
{
    size_t len = model_stream_len(s->host->model, 0, view_of(s->key));
    truth_keep_newest(&s->truth, (int)len);
}

static void add_one(struct publisher *s, bool in_transaction)
{
    char id[EVENTID_MAX + 1], most[16], n[16];
    int at = s->truth.count;
    enum shape shape = shape_of(s, at);
    struct view text = text_of(s, at);
    choose_id(s, id);
    snprintf(most, sizeof(most), "%d", s->maxlen);
    size_t n_len = (size_t)snprintf(n, sizeof(n), "%d", at);
    struct view argv[10] = { VIEW("XADD"),   view_of(s->key),
                             VIEW("MAXLEN"), s->about ? VIEW("~") : VIEW("="),
                             view_of(most),  view_of(id) };
    size_t argc = 6;
    if (shape == SHAPE_FIELDS) {
        size_t head = strlen("{\"n\":\"\",\"pad\":\"") + n_len;
        argv[argc++] = VIEW("n");
        argv[argc++] = (struct view){ n, n_len };
        argv[argc++] = VIEW("pad");
        argv[argc++] = (struct view){ text.at + head, text.len - head - 2 };
    } else {
        argv[argc++] = VIEW("data");
        argv[argc++] = text;
    }
    struct view reply = host_command(s->host, argc, argv);
    bool never = shape == SHAPE_NOT_UTF8 || shape == SHAPE_TOO_LARGE;
    if (in_transaction) { // the id comes with EXEC
        truth_add(&s->truth, (struct eventid){ 0, 0 }, never);
        return;
    }
    struct eventid taken;
    const char *end = memchr(reply.at, '\r', reply.len);
    if (reply.len < 4 || reply.at[0] != '$' || end == NULL) {
        trace("%s: #%d is refused: %.*s", s->name, at, (int)reply.len, reply.at);
        return;
    }
    struct view id_text = { end + 2, reply.len - (size_t)(end + 2 - reply.at) - 2 };
    CHECK(eventid_parse(id_text, &taken));
    truth_add(&s->truth, taken, never);
    note_trims(s);
    trace("%s: #%d is %.*s%s", s->name, at, VIEW_ARG(id_text), never ? ", no event" : "");
}

bool publisher_add(struct publisher *s, int count)
{
    if (!host_answers(s->host))
        return false;
    for (int i = 0; i < count; i++)
        add_one(s, false);
    return true;
}

void publisher_trim(struct publisher *s, int keep)
{
    char most[16];
    snprintf(most, sizeof(most), "%d", keep);
    trace("%s: trimmed to %d", s->name, keep);
    host_command(s->host, 4,
                 (struct view[]){ VIEW("XTRIM"), view_of(s->key), VIEW("MAXLEN"), view_of(most) });
    truth_keep_newest(&s->truth, keep);
}

void publisher_was_reset(struct publisher *s)
{
    truth_reset(&s->truth);
    s->last_ms = 0;
}

void publisher_delete(struct publisher *s)
{
    trace("%s: deleted", s->name);
    host_command(s->host, 2, (struct view[]){ VIEW("DEL"), view_of(s->key) });
    publisher_was_reset(s);
}

void publisher_delete_one(struct publisher *s)
{
    struct truth *t = &s->truth;
    char id[EVENTID_MAX + 1];
    if (t->present_count == 0)
        return;
    int place = (int)rng_below(&s->rng, (uint64_t)t->present_count);
    eventid_format(t->entries[t->present[place]].id, id);
    trace("%s: #%d is taken back", s->name, t->present[place]);
    host_command(s->host, 3, (struct view[]){ VIEW("XDEL"), view_of(s->key), view_of(id) });
    truth_delete(t, place);
}

// The ids that EXEC says, for those that were just added.
static void take_ids(struct publisher *s, struct view reply, int first)
{
    const char *at = reply.at, *end = reply.at + reply.len;
    for (int i = first; i < s->truth.count; i++) {
        const char *bulk = memmem(at, (size_t)(end - at), "$", 1);
        CHECK(bulk != NULL);
        const char *text = memchr(bulk, '\n', (size_t)(end - bulk));
        const char *last = memchr(text, '\r', (size_t)(end - text));
        CHECK(eventid_parse((struct view){ text + 1, (size_t)(last - text - 1) },
                            &s->truth.entries[i].id));
        at = last;
    }
}

void publisher_replace(struct publisher *s, int count)
{
    trace("%s: deleted and begun anew with %d, at once", s->name, count);
    host_command(s->host, 1, &VIEW("MULTI"));
    host_command(s->host, 2, (struct view[]){ VIEW("DEL"), view_of(s->key) });
    publisher_was_reset(s);
    int first = s->truth.count;
    for (int i = 0; i < count; i++)
        add_one(s, true);
    take_ids(s, host_command(s->host, 1, &VIEW("EXEC")), first);
    note_trims(s);
}
