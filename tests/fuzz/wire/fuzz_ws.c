// Bytes of the other end, client or server, give the same items whole and in pieces, and a
// reader that is idle may be forgotten; what a client writes masked is read back. Input: a
// byte of limits, a byte that seeds the piece sizes, the bytes.
#include "wire/ws.h"

struct client {
    struct ws_reader reader;
    struct ws_limits limits;
    bool forget; // an idle reader is begun anew from zero
    bool over;
    struct buffer items;   // what was read, in a form that can be compared
    struct buffer message; // the open message so far
};

static void add_item(struct client *c, int kind, int code, struct view bytes)
{
    buffer_printf(&c->items, "%d %d %zu ", kind, code, bytes.len);
    buffer_add_view(&c->items, bytes);
}

static void add_message(struct client *c, const struct ws_item *item)
{
    if (item->opcode == WS_TEXT && !item->deflated)
        CHECK(utf8_valid(buffer_view(&c->message)));
    add_item(c, WS_GOT_DATA, item->opcode << 1 | item->deflated, buffer_view(&c->message));
    c->message.len = 0;
}

static void add_data(struct client *c, const struct ws_item *item)
{
    CHECK(item->opcode == WS_TEXT || item->opcode == WS_BINARY);
    CHECK(!item->deflated || c->limits.allow_deflate);
    CHECK(!item->message_start || c->message.len == 0);
    buffer_add(&c->message, item->at, item->len);
    CHECK(c->message.len <= c->limits.message_max);
    if (item->message_end)
        add_message(c, item);
}

static void add_bad(struct client *c, const struct ws_item *item)
{
    CHECK(item->code == 1002 || item->code == 1007 || item->code == 1009);
    CHECK(strlen(item->why) <= WS_REASON_MAX);
    c->over = true;
    c->message.len = 0; // how much of it was handed out depends on the pieces
    add_item(c, WS_GOT_BAD, item->code, view_of(item->why));
}

static void add(struct client *c, enum ws_got got, const struct ws_item *item)
{
    switch (got) {
    case WS_GOT_MORE: break;
    case WS_GOT_DATA: add_data(c, item); break;
    case WS_GOT_BAD: add_bad(c, item); break;
    default:
        CHECK(item->len <= WS_CONTROL_MAX);
        CHECK(got != WS_GOT_CLOSE || utf8_valid((struct view){ item->at, item->len }));
        add_item(c, (int)got, item->code, (struct view){ item->at, item->len });
    }
}

// The piece is read in an allocation of its own: a byte too far is then seen.
static void read_piece(struct client *c, const uint8_t *piece, size_t len)
{
    char *at = must_alloc(len ? len : 1);
    memcpy(at, piece, len);
    if (c->forget && ws_reader_idle(&c->reader))
        c->reader = (struct ws_reader){ 0 };

    enum ws_got got = WS_GOT_DATA;
    for (size_t done = 0; !c->over && got != WS_GOT_MORE;) {
        size_t used;
        struct ws_item item;
        got = ws_read(&c->reader, &c->limits, at + done, len - done, &used, &item);
        CHECK(used <= len - done);
        done += used;
        CHECK(got != WS_GOT_MORE || done == len);
        add(c, got, &item);
    }
    free(at);
}

static void finish(struct client *c)
{
    add_item(c, WS_GOT_MORE, ws_reader_idle(&c->reader), buffer_view(&c->message));
    buffer_free(&c->message);
}

// The first bytes are the mask, the others a message.
static void check_masked(const uint8_t *data, size_t size)
{
    struct buffer frame = { 0 };
    struct ws_reader reader = { 0 };
    struct ws_item item;
    const struct ws_limits limits = { .message_max = size };
    size_t used, done = 0;
    struct view message = { (const char *)data + WS_MASK_LEN, size - WS_MASK_LEN };
    ws_add_masked(&frame, WS_BINARY, message, data);
    CHECK(ws_read(&reader, &limits, frame.at, frame.len, &used, &item) == WS_GOT_DATA);
    CHECK(view_eq((struct view){ item.at, item.len }, message) && item.message_end);
    done = used;
    CHECK(ws_read(&reader, &limits, frame.at + done, frame.len - done, &used, &item) ==
          WS_GOT_MORE);
    CHECK(done == frame.len && ws_reader_idle(&reader));
    buffer_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct ws_limits limits = { .message_max = data[0] & 2 ? 200 : 1 << 20,
                                .allow_deflate = data[0] & 1,
                                .from_server = data[0] & 4 };
    uint32_t seed = data[1];
    data += 2, size -= 2;
    if (size >= WS_MASK_LEN)
        check_masked(data, size);

    struct client whole = { .limits = limits };
    read_piece(&whole, data, size);
    finish(&whole);

    struct client pieces = { .limits = limits, .forget = true };
    for (size_t at = 0; at < size;) {
        seed = seed * 1664525 + 1013904223;
        size_t len = seed >> 28; // 0 to 15 bytes, nothing among them
        len = len < size - at ? len : size - at;
        read_piece(&pieces, data + at, len);
        at += len;
    }
    finish(&pieces);

    CHECK(view_eq(buffer_view(&whole.items), buffer_view(&pieces.items)));
    buffer_free(&whole.items);
    buffer_free(&pieces.items);
    return 0;
}
