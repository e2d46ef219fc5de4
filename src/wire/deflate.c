#include "wire/deflate.h"

#include <zlib.h>

#define LEVEL 6 // it is done once for all clients
#define WINDOW_BITS 15
#define TAIL_LEN 4 // 00 00 ff ff, which a sync flush ends with and a frame leaves out

struct deflater {
    z_stream z;
};

struct inflater {
    z_stream z;
};

struct deflater *deflater_new(void)
{
    struct deflater *d = must_alloc(sizeof(*d));
    *d = (struct deflater){ 0 };
    CHECK(deflateInit2(&d->z, LEVEL, Z_DEFLATED, -WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    return d;
}

void deflater_free(struct deflater *d)
{
    if (d == NULL)
        return;
    deflateEnd(&d->z);
    free(d);
}

static void set_input(z_stream *z, struct view in)
{
    z->next_in = (Bytef *)(uintptr_t)in.at;
    z->avail_in = (uInt)in.len;
}

bool deflater_run(struct deflater *d, struct view text, struct buffer *out)
{
    if (text.len < 16 || text.len > UINT32_MAX)
        return false;
    CHECK(deflateReset(&d->z) == Z_OK);
    buffer_reserve(out, text.len + TAIL_LEN);
    set_input(&d->z, text);
    d->z.next_out = (Bytef *)out->at + out->len;
    d->z.avail_out = (uInt)(text.len + TAIL_LEN);
    int result = deflate(&d->z, Z_SYNC_FLUSH);
    // Room is left over only when all of it was flushed.
    if (result != Z_OK || d->z.avail_in > 0 || d->z.avail_out == 0)
        return false;
    size_t len = text.len + TAIL_LEN - d->z.avail_out;
    CHECK(len >= TAIL_LEN);
    len -= TAIL_LEN;
    if (len >= text.len)
        return false;
    out->len += len;
    return true;
}

struct inflater *inflater_new(void)
{
    struct inflater *i = must_alloc(sizeof(*i));
    *i = (struct inflater){ 0 };
    CHECK(inflateInit2(&i->z, -WINDOW_BITS) == Z_OK);
    return i;
}

void inflater_free(struct inflater *i)
{
    if (i == NULL)
        return;
    inflateEnd(&i->z);
    free(i);
}

// Feeds one piece. False when it is no deflate data, or more than `most` in all.
static enum inflate_result inflate_piece(struct inflater *i, struct view piece, size_t most,
                                         struct buffer *out)
{
    set_input(&i->z, piece);
    while (i->z.avail_in > 0) {
        if (out->len > most)
            return INFLATE_TOO_BIG;
        size_t room = most + 1 - out->len;
        room = room < 16 * KIB ? room : 16 * KIB;
        buffer_reserve(out, room);
        i->z.next_out = (Bytef *)out->at + out->len;
        i->z.avail_out = (uInt)room;
        int result = inflate(&i->z, Z_SYNC_FLUSH);
        out->len += room - i->z.avail_out;
        if (result == Z_STREAM_END)
            break; // BFINAL: legal (RFC 7692 s. 7.2.3.4), and what follows is padding
        if (result != Z_OK && !(result == Z_BUF_ERROR && i->z.avail_out == 0))
            return INFLATE_BAD;
    }
    return out->len > most ? INFLATE_TOO_BIG : INFLATE_OK;
}

enum inflate_result inflater_run(struct inflater *i, struct view packed, size_t max_bytes,
                                 struct buffer *out)
{
    static const char tail[TAIL_LEN] = { 0, 0, (char)0xff, (char)0xff };
    CHECK(inflateReset(&i->z) == Z_OK);
    size_t most = out->len + max_bytes;
    enum inflate_result result = inflate_piece(i, packed, most, out);
    if (result == INFLATE_OK)
        result = inflate_piece(i, (struct view){ tail, TAIL_LEN }, most, out);
    return result;
}

static struct view next_parameter(struct view *rest)
{
    const char *semicolon = memchr(rest->at, ';', rest->len);
    size_t len = semicolon ? (size_t)(semicolon - rest->at) : rest->len;
    struct view parameter = view_trim((struct view){ rest->at, len });
    size_t taken = semicolon ? len + 1 : len;
    *rest = (struct view){ rest->at + taken, rest->len - taken };
    return parameter;
}

static bool is_window(struct view value) // 8..15, maybe quoted
{
    if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"')
        value = (struct view){ value.at + 1, value.len - 2 };
    uint64_t bits;
    return view_u64(value, &bits) && bits >= 8 && bits <= WINDOW_BITS;
}

enum parameter {
    SERVER_NO_CONTEXT_TAKEOVER,
    CLIENT_NO_CONTEXT_TAKEOVER,
    CLIENT_MAX_WINDOW_BITS,
    SERVER_MAX_WINDOW_BITS,
};

// Notes a parameter in the set *seen. False: it is none that we can keep.
static bool take_parameter(struct view parameter, unsigned *seen)
{
    static const char *const names[] = { "server_no_context_takeover", "client_no_context_takeover",
                                         "client_max_window_bits", "server_max_window_bits" };
    const char *equals = memchr(parameter.at, '=', parameter.len);
    struct view name = parameter, value = { 0 };
    if (equals) {
        name = view_trim((struct view){ parameter.at, (size_t)(equals - parameter.at) });
        value = view_trim(
            (struct view){ equals + 1, parameter.len - (size_t)(equals + 1 - parameter.at) });
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!view_eq_nocase(name, view_of(names[i])))
            continue;
        if (*seen & 1u << i)
            return false; // twice
        *seen |= 1u << i;
        switch ((enum parameter)i) {
        case SERVER_NO_CONTEXT_TAKEOVER:
        case CLIENT_NO_CONTEXT_TAKEOVER: return !equals;
        case CLIENT_MAX_WINDOW_BITS: return !equals || is_window(value);
        case SERVER_MAX_WINDOW_BITS:
            return view_eq(value, VIEW("15")) || view_eq(value, VIEW("\"15\""));
        }
    }
    return false; // unknown parameters decline the offer (RFC 7692 s. 5.1)
}

const char *deflate_answer(struct view offer)
{
    struct view rest = view_trim(offer);
    unsigned seen = 0;
    if (rest.len == 0 || !view_eq_nocase(next_parameter(&rest), VIEW("permessage-deflate")))
        return NULL;
    while (rest.len > 0)
        if (!take_parameter(next_parameter(&rest), &seen))
            return NULL;
    return seen & 1u << SERVER_MAX_WINDOW_BITS ? DEFLATE_ANSWER_WINDOW : DEFLATE_ANSWER;
}
