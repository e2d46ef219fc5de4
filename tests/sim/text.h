// Reading what the broker writes, member by member, in the order that docs/protocol.md says.
#pragma once

#include "wire/eventid.h"

static inline bool text_eat(struct view *text, const char *word)
{
    size_t len = strlen(word);
    if (text->len < len || memcmp(text->at, word, len) != 0)
        return false;
    text->at += len, text->len -= len;
    return true;
}

static inline bool text_eat_until(struct view *text, char end, struct view *out)
{
    const char *at = text->len ? memchr(text->at, end, text->len) : NULL;
    if (at == NULL)
        return false;
    *out = (struct view){ text->at, (size_t)(at - text->at) };
    text->len -= out->len + 1;
    text->at = at + 1;
    return true;
}

static inline bool text_eat_id(struct view *text, bool *has, struct eventid *id) // or null
{
    struct view inner;
    *id = (struct eventid){ 0, 0 };
    *has = false;
    if (text_eat(text, "null"))
        return true;
    *has = text_eat(text, "\"") && text_eat_until(text, '"', &inner) && eventid_parse(inner, id);
    return *has;
}

static inline bool text_eat_number(struct view *text, int64_t *out) // or null: -1
{
    size_t len = 0;
    uint64_t value;
    *out = -1;
    if (text_eat(text, "null"))
        return true;
    while (len < text->len && text->at[len] >= '0' && text->at[len] <= '9')
        len++;
    if (!view_u64((struct view){ text->at, len }, &value))
        return false;
    *out = (int64_t)value;
    text->at += len, text->len -= len;
    return true;
}

// A JSON string's text, into out; false: it is none. What JSON escapes, of our events' letters.
static inline bool text_unquote(struct view json, struct buffer *out)
{
    out->len = 0;
    if (json.len < 2 || json.at[0] != '"' || json.at[json.len - 1] != '"')
        return false;
    for (size_t i = 1; i + 1 < json.len; i++) {
        char c = json.at[i];
        if (c == '\\' && i + 2 < json.len) {
            c = json.at[++i];
            c = c == 'n' ? '\n' : c;
        }
        buffer_add(out, &c, 1);
    }
    return true;
}
