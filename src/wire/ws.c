#include "wire/ws.h"

#include "base/hash.h"
#include "wire/http.h"

// A frame's header (RFC 6455 s. 5.2). Length 126 and 127 stand for a length in
// the next 2 or 8 bytes; the mask is there in what clients send, never in what servers do.
//
//     byte 0             byte 1       0, 2 or 8     0 or 4
//   +-+-+-+-+-------+  +-+--------+  +---------+  +-------+
//   |F|R|R|R|opcode |  |M| length |  | length  |  | mask  |
//   +-+-+-+-+-------+  +-+--------+  +---------+  +-------+
#define BIT_FIN 0x80
#define BIT_RSV1 0x40
#define BITS_RSV23 0x30
#define BITS_OPCODE 0x0f
#define BIT_CONTROL 0x08 // of an opcode
#define BIT_MASKED 0x80
#define BITS_LENGTH 0x7f
#define LENGTH_IN_2 126
#define LENGTH_IN_8 127

// ---- the handshake ----------------------------------------------------------

bool ws_accept_key(struct view key, char out[WS_ACCEPT_LEN])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    enum { KEY_LEN = HASH_BASE64_LEN(16), GUID_LEN = sizeof(guid) - 1 };
    if (key.len != KEY_LEN || hash_base64_bytes(key) != 16)
        return false;

    char both[KEY_LEN + GUID_LEN];
    memcpy(both, key.at, KEY_LEN);
    memcpy(both + KEY_LEN, guid, GUID_LEN);
    uint8_t digest[20];
    hash_sha1((struct view){ both, sizeof(both) }, digest);
    hash_base64(digest, sizeof(digest), out);
    return true;
}

static void skip(struct view *v, size_t len)
{
    *v = (struct view){ v->at + len, v->len - len };
}

static void skip_blanks(struct view *v)
{
    while (v->len > 0 && (v->at[0] == ' ' || v->at[0] == '\t'))
        skip(v, 1);
}

static bool take_character(struct view *v, char c)
{
    skip_blanks(v);
    bool there = v->len > 0 && v->at[0] == c;
    skip(v, there);
    return there;
}

// A token; in a quoted string a backslash may stand before each of its characters.
static bool take_token(struct view *v, bool quoted)
{
    size_t len = 0, characters = 0;
    for (; len < v->len; len++, characters++) {
        bool escaped = quoted && v->at[len] == '\\' && len + 1 < v->len;
        if (!http_is_token_character(v->at[len + escaped]))
            break;
        len += escaped;
    }
    skip(v, len);
    return characters > 0;
}

static bool take_value(struct view *v)
{
    bool quoted = take_character(v, '"');
    if (!take_token(v, quoted))
        return false;
    bool closed = v->len > 0 && v->at[0] == '"'; // at once: no blank stands before it
    return !quoted || (closed && take_character(v, '"'));
}

bool ws_offer_valid(struct view offer)
{
    skip_blanks(&offer);
    if (!take_token(&offer, false))
        return false;
    while (take_character(&offer, ';')) {
        skip_blanks(&offer);
        if (!take_token(&offer, false))
            return false;
        if (take_character(&offer, '=') && !take_value(&offer))
            return false;
    }
    return offer.len == 0;
}

// ---- frames out -------------------------------------------------------------

static void put_big_endian(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0; value >>= 8)
        out[i] = (uint8_t)value;
}

size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, bool deflated, uint64_t len)
{
    out[0] = (uint8_t)(BIT_FIN | (deflated ? BIT_RSV1 : 0) | opcode);
    if (len < LENGTH_IN_2) {
        out[1] = (uint8_t)len;
        return 2;
    }
    size_t bytes = len <= UINT16_MAX ? 2 : 8;
    out[1] = bytes == 2 ? LENGTH_IN_2 : LENGTH_IN_8;
    put_big_endian(out + 2, len, bytes);
    return 2 + bytes;
}

size_t ws_control(uint8_t out[2 + WS_CONTROL_MAX], enum ws_opcode opcode, struct view payload)
{
    CHECK(payload.len <= WS_CONTROL_MAX);
    size_t header = ws_header(out, opcode, false, payload.len);
    if (payload.len)
        memcpy(out + header, payload.at, payload.len);
    return header + payload.len;
}

size_t ws_close_index(int code)
{
#define WS_CLOSE_NUMBER(name, number) number,
    static const int codes[] = { WS_CLOSE_CODES(WS_CLOSE_NUMBER) };
    size_t i = 0;
    while (i < ARRAY_LEN(codes) && codes[i] != code)
        i++;
    return i;
}

size_t ws_close(uint8_t out[2 + WS_CONTROL_MAX], int code, struct view reason)
{
    if (code == WS_CLOSE_NONE)
        return ws_control(out, WS_CLOSE, (struct view){ 0 });
    uint8_t payload[WS_CONTROL_MAX];
    reason = utf8_prefix(reason, WS_REASON_MAX);
    put_big_endian(payload, (uint64_t)code, 2);
    if (reason.len)
        memcpy(payload + 2, reason.at, reason.len);
    return ws_control(out, WS_CLOSE, (struct view){ (const char *)payload, 2 + reason.len });
}

// The mask repeats from the payload's first byte on (s. 5.3).
void ws_add_masked(struct buffer *out, enum ws_opcode opcode, struct view payload,
                   const uint8_t mask[WS_MASK_LEN])
{
    uint8_t header[WS_HEADER_MAX];
    size_t len = ws_header(header, opcode, false, payload.len);
    header[1] |= BIT_MASKED;
    buffer_add(out, header, len);
    buffer_add(out, mask, WS_MASK_LEN);
    buffer_reserve(out, payload.len);
    for (size_t i = 0; i < payload.len; i++)
        out->at[out->len++] = (char)(payload.at[i] ^ mask[i % WS_MASK_LEN]);
}

// ---- frames in: the header --------------------------------------------------

static uint64_t get_big_endian(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static bool is_control(uint8_t opcode)
{
    return opcode & BIT_CONTROL;
}

static enum ws_got bad(struct ws_item *item, int code, const char *why)
{
    item->code = code;
    item->why = why;
    return WS_GOT_BAD;
}

// Collects header bytes until there are `want`; false when `len` ran out first.
static bool header_fill(struct ws_reader *r, size_t want, const char *at, size_t len, size_t *used)
{
    while (r->header_len < want && *used < len)
        r->header[r->header_len++] = (uint8_t)at[(*used)++];
    return r->header_len >= want;
}

static const char *control_fault(const struct ws_reader *r)
{
    if (r->header[0] & BIT_RSV1)
        return "A control frame cannot be compressed.";
    if (!(r->header[0] & BIT_FIN))
        return "A control frame cannot be fragmented.";
    if ((r->header[1] & BITS_LENGTH) > WS_CONTROL_MAX)
        return "A control frame is over 125 bytes.";
    return NULL;
}

static const char *data_fault(const struct ws_reader *r, const struct ws_limits *limits)
{
    bool goes_on = (r->header[0] & BITS_OPCODE) == WS_CONT;
    if (goes_on && !r->message_opcode)
        return "A continuation belongs to no message.";
    if (!goes_on && r->message_opcode)
        return "A new message starts inside another one.";
    if ((r->header[0] & BIT_RSV1) && goes_on)
        return "Only the first frame of a message says that it is compressed.";
    if ((r->header[0] & BIT_RSV1) && !limits->allow_deflate)
        return "Compression was not agreed on.";
    return NULL;
}

// What is wrong with the first two bytes of a header, or NULL.
static const char *header_fault(const struct ws_reader *r, const struct ws_limits *limits)
{
    uint8_t opcode = r->header[0] & BITS_OPCODE;
    if (r->header[0] & BITS_RSV23)
        return "Reserved bits are set.";
    if (limits->from_server && (r->header[1] & BIT_MASKED))
        return "A frame from a server is masked.";
    if (!limits->from_server && !(r->header[1] & BIT_MASKED))
        return "A frame from a client is not masked.";
    switch (opcode) {
    case WS_CONT:
    case WS_TEXT:
    case WS_BINARY: return data_fault(r, limits);
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG: return control_fault(r);
    default: return "The opcode is reserved.";
    }
}

// Bytes of the length after the first two.
static size_t length_bytes(const struct ws_reader *r)
{
    uint8_t length = r->header[1] & BITS_LENGTH;
    return length == LENGTH_IN_2 ? 2 : length == LENGTH_IN_8 ? 8 : 0;
}

static uint64_t frame_length(const struct ws_reader *r)
{
    size_t bytes = length_bytes(r);
    return bytes ? get_big_endian(r->header + 2, bytes) : r->header[1] & BITS_LENGTH;
}

static const char *length_fault(const struct ws_reader *r)
{
    size_t bytes = length_bytes(r);
    uint64_t length = frame_length(r);
    if ((bytes == 2 && length < LENGTH_IN_2) || (bytes == 8 && length <= UINT16_MAX))
        return "A length is not in its shortest form.";
    if (length > INT64_MAX)
        return "A length has its highest bit set.";
    return NULL;
}

static void message_start(struct ws_reader *r)
{
    r->message_opcode = r->frame_opcode;
    r->message_deflated = r->header[0] & BIT_RSV1;
    r->message_begun = false;
    r->message_len = 0;
    r->utf8 = (struct utf8_state){ 0 };
}

static void frame_start(struct ws_reader *r)
{
    r->frame_opcode = r->header[0] & BITS_OPCODE;
    r->frame_fin = r->header[0] & BIT_FIN;
    r->left = frame_length(r);
    r->frame_at = 0;
    memset(r->mask, 0, WS_MASK_LEN);
    if (r->header[1] & BIT_MASKED)
        memcpy(r->mask, r->header + 2 + length_bytes(r), WS_MASK_LEN);
    r->header_len = 0;
    r->in_frame = true;
    r->control_len = 0;
    if (r->frame_opcode == WS_TEXT || r->frame_opcode == WS_BINARY)
        message_start(r);
    if (!is_control(r->frame_opcode))
        r->message_len += r->left;
}

// Would this frame make its message longer than it may be?
static bool over_limit(const struct ws_reader *r, const struct ws_limits *limits)
{
    uint8_t opcode = r->header[0] & BITS_OPCODE;
    uint64_t before = opcode == WS_CONT ? r->message_len : 0;
    return !is_control(opcode) && frame_length(r) > limits->message_max - before;
}

// WS_GOT_MORE here says also that the header is whole: the payload comes next.
static enum ws_got read_header(struct ws_reader *r, const struct ws_limits *limits, const char *at,
                               size_t len, size_t *used, struct ws_item *item)
{
    if (!header_fill(r, 2, at, len, used))
        return WS_GOT_MORE;
    const char *why = header_fault(r, limits);
    if (why)
        return bad(item, WS_CLOSE_PROTOCOL, why);
    size_t mask_at = 2 + length_bytes(r);
    if (!header_fill(r, mask_at, at, len, used))
        return WS_GOT_MORE;
    why = length_fault(r);
    if (why)
        return bad(item, WS_CLOSE_PROTOCOL, why);
    if (over_limit(r, limits))
        return bad(item, WS_CLOSE_TOO_BIG, "A message is too big.");
    if (header_fill(r, mask_at + (limits->from_server ? 0 : WS_MASK_LEN), at, len, used))
        frame_start(r);
    return WS_GOT_MORE;
}

// ---- frames in: the payload -------------------------------------------------

// frame_at: how far into the payload at[0] lies, since the mask repeats from there.
static void unmask(char *at, size_t len, const uint8_t mask[WS_MASK_LEN], uint64_t frame_at)
{
    uint8_t turned[8]; // the mask as it falls on at[0..8)
    for (size_t i = 0; i < sizeof(turned); i++)
        turned[i] = mask[(frame_at + i) % WS_MASK_LEN];
    uint64_t mask_word;
    memcpy(&mask_word, turned, sizeof(mask_word));

    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, sizeof(word));
        word ^= mask_word;
        memcpy(at + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        at[i] = (char)(at[i] ^ turned[i % 8]);
}

// Unmasks what is here of this frame's payload; returns how many bytes that is.
static size_t take_payload(struct ws_reader *r, char *at, size_t len)
{
    size_t n = len < r->left ? len : (size_t)r->left;
    unmask(at, n, r->mask, r->frame_at);
    r->frame_at += n;
    r->left -= n;
    return n;
}

static bool may_be_sent(int code) // RFC 6455 s. 7.4, and the IANA registry up to 1014
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum ws_got close_item(const struct ws_reader *r, struct ws_item *item)
{
    item->code = WS_CLOSE_NONE;
    if (r->control_len == 0)
        return WS_GOT_CLOSE;
    if (r->control_len == 1)
        return bad(item, WS_CLOSE_PROTOCOL, "A close has half a code.");
    item->code = (int)get_big_endian((const uint8_t *)r->control, 2);
    item->at += 2;
    item->len -= 2;
    if (!may_be_sent(item->code))
        return bad(item, WS_CLOSE_PROTOCOL, "A close has a code that may not be sent.");
    if (!utf8_valid((struct view){ item->at, item->len }))
        return bad(item, WS_CLOSE_BAD_DATA, "The reason of a close is not UTF-8.");
    return WS_GOT_CLOSE;
}

// A control frame is handed out whole: its bytes wait in the reader until then.
static enum ws_got read_control(struct ws_reader *r, char *at, size_t len, size_t *used,
                                struct ws_item *item)
{
    size_t n = take_payload(r, at, len);
    memcpy(r->control + r->control_len, at, n);
    r->control_len = (uint8_t)(r->control_len + n);
    *used += n;
    if (r->left > 0)
        return WS_GOT_MORE;

    r->in_frame = false;
    item->opcode = (enum ws_opcode)r->frame_opcode;
    item->at = r->control;
    item->len = r->control_len;
    switch (r->frame_opcode) {
    case WS_PING: return WS_GOT_PING;
    case WS_PONG: return WS_GOT_PONG;
    default: return close_item(r, item);
    }
}

static bool text_is_right(struct ws_reader *r, struct view piece, bool last)
{
    if (r->message_opcode != WS_TEXT || r->message_deflated)
        return true;
    return utf8_feed(&r->utf8, piece) && (!last || utf8_whole(&r->utf8));
}

// A data frame is handed out as it comes, piece by piece.
static enum ws_got read_data(struct ws_reader *r, char *at, size_t len, size_t *used,
                             struct ws_item *item)
{
    size_t n = take_payload(r, at, len);
    bool frame_end = r->left == 0;
    *item = (struct ws_item){
        .opcode = (enum ws_opcode)r->message_opcode,
        .message_start = !r->message_begun,
        .message_end = frame_end && r->frame_fin,
        .deflated = r->message_deflated,
        .at = at,
        .len = n,
    };
    *used += n;
    if (!text_is_right(r, (struct view){ at, n }, item->message_end))
        return bad(item, WS_CLOSE_BAD_DATA, "A text message is not UTF-8.");

    r->message_begun = true;
    r->in_frame = !frame_end;
    if (item->message_end)
        r->message_opcode = 0;
    return WS_GOT_DATA;
}

enum ws_got ws_read(struct ws_reader *r, const struct ws_limits *limits, char *at, size_t len,
                    size_t *used, struct ws_item *item)
{
    *used = 0;
    *item = (struct ws_item){ 0 };
    if (!r->in_frame) {
        enum ws_got got = read_header(r, limits, at, len, used, item);
        if (got == WS_GOT_BAD || !r->in_frame)
            return got;
    }
    if (*used == len && r->left > 0)
        return WS_GOT_MORE;
    if (is_control(r->frame_opcode))
        return read_control(r, at + *used, len - *used, used, item);
    return read_data(r, at + *used, len - *used, used, item);
}
