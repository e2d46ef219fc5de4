// permessage-deflate (RFC 7692), one message at a time: no context is kept from one
// message to the next, so one deflated message serves every client, and a client
// costs no memory. zlib, because its sync flush is what every client reads.
// One thread each.
#pragma once

#include "base/base.h"

struct deflater;
struct inflater;

struct deflater *deflater_new(void);
void deflater_free(struct deflater *d);
// Appends the message's payload as it goes into a frame with RSV1 (without the
// 00 00 ff ff at its end). False when that would not be shorter than the text:
// nothing is appended then, and the message is to be sent plain.
bool deflater_run(struct deflater *d, struct view text, struct buffer *out);

struct inflater *inflater_new(void);
void inflater_free(struct inflater *i);
enum inflate_result { INFLATE_OK, INFLATE_BAD, INFLATE_TOO_BIG };
// Appends what a deflated message stands for, at most max_bytes (else TOO_BIG, so
// that no small message unfolds into a large one).
enum inflate_result inflater_run(struct inflater *i, struct view packed, size_t max_bytes,
                                 struct buffer *out);

// What to answer to one of a client's offers in Sec-WebSocket-Extensions (what stands
// between two commas; ws_offer_valid has said that it is one); NULL declines it. Taken
// is permessage-deflate with parameters that we can keep, so not with a window smaller
// than ours. Whoever limits our window, be it to what it is anyway, must hear so in the
// answer (s. 7.1.2.1).
const char *deflate_answer(struct view offer);
#define DEFLATE_ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define DEFLATE_ANSWER_WINDOW DEFLATE_ANSWER "; server_max_window_bits=15"
