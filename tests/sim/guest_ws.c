// A guest's WebSocket: frames in, frames out (RFC 6455), and the envelope's messages.
#include <stdio.h>

#include "guest.h"
#include "text.h"

#define INFLATED_MAX (128 * KIB)

// Of less than 126 bytes; masked with zeros, which is a mask as good as any other.
void guest_send_frame(struct guest *g, int head, struct view payload)
{
    char frame[6 + 125] = { (char)head, (char)(0x80 | (int)payload.len), 0, 0, 0, 0 };
    CHECK(payload.len <= 125);
    memcpy(frame + 6, payload.at, payload.len);
    buffer_add(&g->out, frame, 6 + payload.len);
}

// ---- messages ---------------------------------------------------------------------------

static void take_event(struct guest *g, struct view message, struct view rest)
{
    static struct buffer plain;
    struct eventid id;
    bool has_id;
    if (!(text_eat(&rest, g->stream->name) && text_eat(&rest, "\",\"id\":") &&
          text_eat_id(&rest, &has_id, &id) && has_id && text_eat(&rest, ",\"data\":") &&
          rest.len > 1 && rest.at[rest.len - 1] == '}')) {
        guest_complain(g, "was sent an odd event", message);
        return;
    }
    rest.len--;
    struct owner *was = memory_use(NULL);
    bool quoted = text_unquote(rest, &plain);
    memory_use(was);
    guest_note_event(g, quoted ? buffer_view(&plain) : rest, true, id);
}

static void take_hello(struct guest *g, struct view message, struct view rest)
{
    bool has_first, has_last;
    struct eventid first, last;
    int64_t seconds;
    bool good = text_eat(&rest, g->stream->name) && text_eat(&rest, "\",\"first\":") &&
                text_eat_id(&rest, &has_first, &first) && text_eat(&rest, ",\"last\":") &&
                text_eat_id(&rest, &has_last, &last) && text_eat(&rest, ",\"ring_seconds\":") &&
                text_eat_number(&rest, &seconds) && text_eat(&rest, "}") && rest.len == 0;
    if (!good || g->greeted)
        guest_complain(g, "was sent an odd hello", message);
    g->greeted = true;
}

// It comes again as the answer to a new token: then there is time.
static void take_expiring(struct guest *g, struct view message)
{
    struct view rest = message;
    int64_t in_s;
    if (!text_eat(&rest, "{\"type\":\"expiring\",\"in_s\":") || !text_eat_number(&rest, &in_s) ||
        !text_eat(&rest, "}"))
        guest_complain(g, "was told an odd expiring", message);
    else if (in_s < g->token_s && !g->hurries)
        guest_renew_token(g);
}

static void take_envelope(struct guest *g, struct view message)
{
    struct view rest = message;
    if (!g->greeted && !view_starts(message, VIEW("{\"type\":\"hello\"")) &&
        !view_starts(message, VIEW("{\"type\":\"closing\"")))
        guest_complain(g, "was not greeted first, but with", message);
    if (g->told_closing)
        guest_complain(g, "was sent something behind closing", message);
    if (text_eat(&rest, "{\"type\":\"event\",\"stream\":\""))
        take_event(g, message, rest);
    else if (text_eat(&rest, "{\"type\":\"hello\",\"stream\":\""))
        take_hello(g, message, rest);
    else if (view_starts(message, VIEW("{\"type\":\"gap\"")))
        guest_note_gap(g, message);
    else if (view_starts(message, VIEW("{\"type\":\"live\"")))
        guest_note_live(g, message);
    else if (view_starts(message, VIEW("{\"type\":\"closing\"")))
        g->told_closing = true;
    else if (g->token_s && view_starts(message, VIEW("{\"type\":\"expiring\"")))
        take_expiring(g, message);
    else if (view_starts(message, VIEW("{\"type\":\"source\"")))
        guest_note_source(g, message);
    else
        guest_complain(g, "was sent an odd message", message);
}

static void take_text(struct guest *g, struct view payload)
{
    if (g->kind == GUEST_RAW)
        guest_note_event(g, payload, false, (struct eventid){ 0, 0 });
    else
        take_envelope(g, payload);
}

static void take_deflated(struct guest *g, struct view payload)
{
    static char text[INFLATED_MAX];
    static char deflated[INFLATED_MAX];
    if (!g->deflates || payload.len + 4 > sizeof(deflated)) {
        guest_complain(g, "was sent a deflated message", payload);
        return;
    }
    memcpy(deflated, payload.at, payload.len);
    memcpy(deflated + payload.len, "\x00\x00\xff\xff", 4);
    inflateReset(&g->inflater);
    g->inflater.next_in = (Bytef *)deflated;
    g->inflater.avail_in = (uInt)payload.len + 4;
    g->inflater.next_out = (Bytef *)text;
    g->inflater.avail_out = sizeof(text);
    int result = inflate(&g->inflater, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_BUF_ERROR)
        guest_complain(g, "was sent bytes that do not inflate", payload);
    else
        take_text(g, (struct view){ text, sizeof(text) - g->inflater.avail_out });
}

// ---- frames -----------------------------------------------------------------------------

// False: the frame is not whole yet.
static bool next_frame(struct guest *g, int *head, struct view *payload)
{
    const unsigned char *b = (const unsigned char *)g->in.at + g->taken;
    size_t have = g->in.len - g->taken, size, start = 2;
    if (have < 2)
        return false;
    size = b[1];
    if (size == 126) {
        start = 4;
        size = have < 4 ? SIZE_MAX / 2 : (size_t)b[2] << 8 | b[3];
    } else if (size == 127) {
        start = 10;
        size = 0;
        for (int i = 2; i < 10 && have >= 10; i++)
            size = size << 8 | b[i];
        size = have < 10 ? SIZE_MAX / 2 : size;
    }
    if (have < start + size)
        return false;
    *head = b[0];
    *payload = (struct view){ g->in.at + g->taken + start, size };
    g->taken += start + size;
    return true;
}

static bool take_close(struct guest *g, struct view payload)
{
    const unsigned char *b = (const unsigned char *)payload.at;
    g->close_code = payload.len >= 2 ? b[0] << 8 | b[1] : 1005;
    bool ours = g->close_code == 1000;
    if (g->kind == GUEST_ENVELOPE && !ours && !g->told_closing && g->close_code != 1005)
        guest_complain(g, "was closed without closing", payload);
    if (g->close_code == 1002 || g->close_code == 1007)
        g->refusals++; // it talked nonsense, as far as the broker could see
    trace("%s: is closed with %d %.*s", g->name, g->close_code,
          payload.len > 2 ? (int)payload.len - 2 : 0, payload.len > 2 ? payload.at + 2 : "");
    guest_send_frame(g, 0x88, payload);
    return false;
}

static bool take_frame(struct guest *g, int head, struct view payload)
{
    switch (head) {
    case 0x81: take_text(g, payload); return true;
    case 0xc1: take_deflated(g, payload); return true;
    case 0x88: return take_close(g, payload);
    case 0x89: guest_send_frame(g, 0x8a, payload); return true;
    case 0x8a: return true;
    default: guest_complain(g, "was sent an odd frame", payload); return false;
    }
}

bool guest_take_ws(struct guest *g)
{
    struct view payload;
    int head;
    bool goes_on = true;
    while (goes_on && next_frame(g, &head, &payload))
        goes_on = take_frame(g, head, payload);
    buffer_drop(&g->in, g->taken);
    g->taken = 0;
    return goes_on;
}
