#include "base/utf8.h"

static bool is_continuation(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

// How many bytes at the start are ASCII, give or take the last seven: eight at a
// time, because nearly all that we check is nothing else.
static size_t ascii_words(const char *at, size_t len)
{
    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

// The bounds of the second byte are what keeps out overlong forms (after E0 and
// F0; C0 and C1 are nothing else), surrogates (ED) and all beyond U+10FFFF (F4).
static bool begin_character(struct utf8_state *s, uint8_t lead)
{
    if (lead < 0x80)
        return true;
    if (lead < 0xc2 || lead > 0xf4)
        return false;
    s->need = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    s->low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    s->high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static bool continue_character(struct utf8_state *s, uint8_t c)
{
    if (c < s->low || c > s->high)
        return false;
    s->need--;
    s->low = 0x80;
    s->high = 0xbf;
    return true;
}

bool utf8_feed(struct utf8_state *s, struct view piece)
{
    size_t i = 0;
    while (i < piece.len) {
        if (s->need == 0) {
            i += ascii_words(piece.at + i, piece.len - i);
            if (i < piece.len && !begin_character(s, (uint8_t)piece.at[i++]))
                return false;
        } else if (!continue_character(s, (uint8_t)piece.at[i++])) {
            return false;
        }
    }
    return true;
}

bool utf8_whole(const struct utf8_state *s)
{
    return s->need == 0;
}

bool utf8_valid(struct view text)
{
    struct utf8_state s = { 0 };
    return utf8_feed(&s, text) && utf8_whole(&s);
}

struct view utf8_prefix(struct view text, size_t max)
{
    if (text.len <= max)
        return text;
    size_t len = max;
    while (len > 0 && is_continuation((uint8_t)text.at[len]))
        len--;
    return (struct view){ text.at, len };
}
