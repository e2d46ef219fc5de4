// WebSocket (RFC 6455): the handshake's key, frames out, and a reader of frames, for a
// server and for a client. Pure: no I/O; no allocation but ws_add_masked's buffer.
#pragma once

#include "base/base.h"
#include "base/utf8.h"

enum ws_opcode { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

// The codes that the broker closes with.
#define WS_CLOSE_CODES(X)                                                                          \
    X(NORMAL, 1000)                                                                                \
    X(GOING_AWAY, 1001)                                                                            \
    X(PROTOCOL, 1002)                                                                              \
    X(BAD_DATA, 1007)                                                                              \
    X(POLICY, 1008)                                                                                \
    X(TOO_BIG, 1009)                                                                               \
    X(FAILURE, 1011)                                                                               \
    X(TRY_LATER, 1013)                                                                             \
    X(EXPIRED, 4001)                                                                               \
    X(NOTHING, 4003)                                                                               \
    X(BEHIND, 4008)
#define WS_CLOSE_ENUMERATOR(name, code) WS_CLOSE_##name = code,
enum ws_close_code {
    WS_CLOSE_CODES(WS_CLOSE_ENUMERATOR) // but for one that never is on the wire:
    WS_CLOSE_NONE = 1005,               // a close frame without a code
};
#define WS_CLOSE_COUNT_ONE(name, code) +1
enum { WS_CLOSE_CODES_COUNT = WS_CLOSE_CODES(WS_CLOSE_COUNT_ONE) };
// The place of a code in that list; WS_CLOSE_CODES_COUNT when it is not there.
size_t ws_close_index(int code);

#define WS_HEADER_MAX 10   // bytes of a header that we send (no mask)
#define WS_CONTROL_MAX 125 // bytes of a control frame's payload
#define WS_REASON_MAX 123
#define WS_ACCEPT_LEN 28

// Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 s. 4.2.2). False when
// the key is not base64 of 16 bytes.
bool ws_accept_key(struct view key, char out[WS_ACCEPT_LEN]);

// Is it an offer of Sec-WebSocket-Extensions as RFC 6455 s. 9.1 has them? offer: what
// stands between two commas; a name and parameters, whose values are tokens, quoted or
// not. One that is not fails the handshake; one of an extension that we do not know is
// only passed over.
bool ws_offer_valid(struct view offer);

// Writes the header of a whole (FIN) frame; returns its length. deflated: RSV1.
size_t ws_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, bool deflated, uint64_t len);
// Writes whole control frames; returns their length. The payload is at most
// WS_CONTROL_MAX bytes; a close reason is cut between two characters if too long.
// ws_close with WS_CLOSE_NONE writes a close without a payload.
size_t ws_control(uint8_t out[2 + WS_CONTROL_MAX], enum ws_opcode opcode, struct view payload);
size_t ws_close(uint8_t out[2 + WS_CONTROL_MAX], int code, struct view reason);

// Appends a whole frame as a client sends it, masked (RFC 6455 s. 5.3). The mask is to be
// random, for each frame another.
#define WS_MASK_LEN 4
void ws_add_masked(struct buffer *out, enum ws_opcode opcode, struct view payload,
                   const uint8_t mask[WS_MASK_LEN]);

// What a reader finds next in the other end's bytes.
enum ws_got {
    WS_GOT_MORE,  // all bytes are used and no item is whole
    WS_GOT_DATA,  // a piece of a text or binary message (it may be empty)
    WS_GOT_PING,  // item.at: the payload, to be sent back
    WS_GOT_PONG,  // item.at: the payload
    WS_GOT_CLOSE, // item.code (WS_CLOSE_NONE if it had none), item.at: the reason
    WS_GOT_BAD,   // item.code (1002, 1007, 1009) and item.why; nothing more can be read
};

struct ws_item {
    enum ws_opcode opcode; // of the message a WS_GOT_DATA belongs to: WS_TEXT or WS_BINARY
    bool message_start, message_end; // of WS_GOT_DATA
    bool deflated;                   // RSV1 stood on the message's first frame
    const char *at;                  // unmasked, in the caller's bytes or the reader: until the
                                     // next call at most
    size_t len;
    int code;
    const char *why; // a sentence, ASCII, at most WS_REASON_MAX characters
};

// The state between two calls. Zeroed at the start of a connection; when
// ws_reader_idle it may be forgotten and begun anew from zero, so that a quiet
// client holds none.
struct ws_reader {
    uint8_t header[14];
    uint8_t header_len; // bytes of a header that has begun; 0 between frames
    bool in_frame;      // the header is whole, `left` bytes of payload are due
    uint8_t frame_opcode;
    bool frame_fin;
    uint8_t mask[WS_MASK_LEN]; // zeros in what a server sends
    uint64_t frame_at, left;   // payload bytes read and due in this frame
    uint8_t message_opcode;    // WS_TEXT or WS_BINARY while a message is open, else 0
    bool message_deflated;
    bool message_begun; // a piece of it has been handed out
    uint64_t message_len;
    struct utf8_state utf8; // of an open text message that is not deflated
    uint8_t control_len;
    char control[WS_CONTROL_MAX];
};

struct ws_limits {
    uint64_t message_max; // bytes of a whole message as sent; over it: 1009, from the header on
    bool allow_deflate;   // RSV1 is taken on a message's first frame; else 1002
    bool from_server;     // frames must not be masked; else they must be
};

// Reads the next item of at[0..len); unmasks in place. *used says how many bytes
// were taken, whatever is returned; call again with the rest until WS_GOT_MORE,
// WS_GOT_CLOSE (nothing may follow it) or WS_GOT_BAD.
// Text is checked as UTF-8 as it comes, across pieces (1007), unless deflated.
// Refused with 1002: no mask (from_server: a mask), reserved bits or opcodes, control frames that are
// fragmented or over 125 bytes, a continuation of nothing, a new message inside
// one, a close payload of one byte, close codes that may not be sent (RFC 6455
// s. 7.4), a non-minimal length; 1007 for a close reason that is not UTF-8.
enum ws_got ws_read(struct ws_reader *r, const struct ws_limits *limits, char *at, size_t len,
                    size_t *used, struct ws_item *item);

// Of a frame as it goes out: is its message compressed (RSV1)?
static inline bool ws_is_deflated(struct view frame)
{
    return frame.len > 0 && (frame.at[0] & 0x40);
}

static inline bool ws_reader_idle(const struct ws_reader *r)
{
    return r->header_len == 0 && !r->in_frame && r->message_opcode == 0;
}
