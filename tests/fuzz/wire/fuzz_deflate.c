// What a client sends unfolds to what it may and no more, or is refused; what we pack
// comes back as it was. Any text may be an offer. Input: a byte for the bound, the
// bytes.
#include "wire/deflate.h"
#include "wire/ws.h"

static void check_unpack(struct inflater *i, struct view packed, size_t max)
{
    struct buffer out = { 0 }, again = { 0 };
    buffer_add_view(&out, VIEW("before"));
    enum inflate_result result = inflater_run(i, packed, max, &out);
    CHECK(out.len >= 6 && memcmp(out.at, "before", 6) == 0);
    CHECK(out.len <= 6 + max + (result == INFLATE_OK ? 0 : 1));
    CHECK(out.cap <= 4 * (max + 16 * KIB));

    CHECK(inflater_run(i, packed, max, &again) == result); // nothing is left from before
    CHECK(again.len == out.len - 6 && memcmp(again.at ? again.at : "", out.at + 6, again.len) == 0);
    buffer_free(&out);
    buffer_free(&again);
}

static void check_pack(struct deflater *d, struct inflater *i, struct view text)
{
    struct buffer packed = { 0 }, back = { 0 };
    if (deflater_run(d, text, &packed)) {
        CHECK(packed.len < text.len);
        CHECK(inflater_run(i, buffer_view(&packed), text.len, &back) == INFLATE_OK);
        CHECK(view_eq(buffer_view(&back), text));
    } else {
        CHECK(packed.len == 0);
    }
    buffer_free(&packed);
    buffer_free(&back);
}

// Blanks around an offer do not matter, and a parameter that nobody knows declines it.
static void check_offer(struct view offer)
{
    struct buffer b = { 0 };
    bool valid = ws_offer_valid(offer);
    const char *answer = deflate_answer(offer); // of one that is malformed it means nothing
    buffer_add_view(&b, VIEW(" \t"));
    buffer_add_view(&b, offer);
    buffer_add_view(&b, VIEW(" "));
    CHECK(ws_offer_valid(buffer_view(&b)) == valid);
    CHECK(deflate_answer(buffer_view(&b)) == answer || !valid);
    buffer_add_view(&b, VIEW("; unknown"));
    CHECK(ws_offer_valid(buffer_view(&b)) || !valid);
    CHECK(deflate_answer(buffer_view(&b)) == NULL);
    buffer_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct deflater *d;
    static struct inflater *i;
    if (d == NULL) {
        d = deflater_new();
        i = inflater_new();
    }
    if (size < 2)
        return 0;
    char *at = must_alloc(size - 1); // its own: a byte too far is then seen
    memcpy(at, data + 1, size - 1);
    struct view bytes = { at, size - 1 };
    check_unpack(i, bytes, (size_t)data[0] * data[0]);
    check_pack(d, i, bytes);
    check_offer(bytes);
    free(at);
    return 0;
}
