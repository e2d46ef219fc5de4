#include "inside.h"

#include <stdlib.h>

// ---- keys and their values ------------------------------------------------------

static struct key *find(struct model *m, unsigned db, struct view name)
{
    return key_of_name(names_find(&m->keys, db, name));
}

struct key *key_find(struct model *m, unsigned db, struct view name)
{
    struct key *k = find(m, db, name);
    return k && k->type != KEY_NONE ? k : NULL;
}

static struct key *key_new(struct names *into, unsigned db, struct view name)
{
    struct key *k = must_alloc(sizeof(*k) + name.len);
    *k = (struct key){ .type = KEY_NONE };
    list_init(&k->waits);
    list_init(&k->in_ready);
    memcpy(k->text, name.at, name.len);
    names_add(into, &k->name, db, (struct view){ k->text, name.len });
    return k;
}

struct key *key_of(struct model *m, unsigned db, struct view name)
{
    struct key *k = find(m, db, name);
    return k ? k : key_new(&m->keys, db, name);
}

// A key that is ready keeps its place even without a value: it may get one again before
// the ready ones are looked at.
void key_settle(struct model *m, struct key *k)
{
    if (k->type != KEY_NONE || !list_empty(&k->waits) || !list_empty(&k->in_ready))
        return;
    names_remove(&m->keys, &k->name);
    free(k);
}

static void free_value(struct key *k)
{
    if (k->stream)
        xstream_free(k->stream);
    buffer_free(&k->string);
    k->stream = NULL;
    k->type = KEY_NONE;
}

// Whoever waits for a stream that goes is looked at as if something had been added. It finds
// nothing, but if there is a stream again at the end of the transaction, this key was first.
static void set_type(struct model *m, struct key *k, enum key_type type)
{
    if (k->type == KEY_STREAM)
        block_signal(m, k);
    m->value_count += (type != KEY_NONE) - (size_t)(k->type != KEY_NONE);
    free_value(k);
    k->type = type;
}

void key_set_string(struct model *m, struct key *k, struct view value)
{
    set_type(m, k, KEY_STRING);
    buffer_add_view(&k->string, value);
}

void key_set_stream(struct model *m, struct key *k, struct xstream *s)
{
    set_type(m, k, KEY_STREAM);
    k->stream = s ? s : xstream_new();
}

void key_drop_value(struct model *m, struct key *k)
{
    set_type(m, k, KEY_NONE);
    key_settle(m, k);
}

void key_move(struct model *m, struct key *from, struct key *to)
{
    set_type(m, to, from->type);
    to->stream = from->stream;
    to->string = from->string;
    from->stream = NULL;
    from->string = (struct buffer){ 0 };
    if (to->type == KEY_STREAM)
        block_signal(m, to);
    key_drop_value(m, from);
}

void keys_flush(struct model *m, int db)
{
    for (struct name *n = names_next(&m->keys, NULL), *next; n; n = next) {
        next = names_next(&m->keys, n);
        if (db < 0 || n->space == (unsigned)db)
            key_drop_value(m, key_of_name(n));
    }
}

static int compare_hashes(const void *a, const void *b)
{
    const struct key *x = *(struct key *const *)a, *y = *(struct key *const *)b;
    return x->name.hash < y->name.hash ? -1 : x->name.hash > y->name.hash;
}

struct key **keys_sorted(const struct model *m, unsigned db, size_t *count)
{
    struct key **keys = must_alloc((m->value_count + 1) * sizeof(struct key *));
    *count = 0;
    for (struct name *n = names_next(&m->keys, NULL); n; n = names_next(&m->keys, n))
        if (n->space == db && key_of_name(n)->type != KEY_NONE)
            keys[(*count)++] = key_of_name(n);
    qsort(keys, *count, sizeof(struct key *), compare_hashes);
    return keys;
}

size_t model_key_count(const struct model *m)
{
    return m->value_count;
}

size_t model_stream_len(const struct model *m, int db, struct view key)
{
    const struct key *k = key_of_name(names_find(&m->keys, (unsigned)db, key));
    return k && k->type == KEY_STREAM ? k->stream->len : 0;
}

// ---- snapshots ------------------------------------------------------------------

struct model_image {
    struct names keys;
};

static void copy_value(struct key *to, const struct key *from)
{
    to->type = from->type;
    if (from->type == KEY_STREAM)
        to->stream = xstream_copy(from->stream);
    buffer_add_view(&to->string, buffer_view(&from->string));
}

struct model_image *model_save(const struct model *m)
{
    struct model_image *image = must_alloc(sizeof(*image));
    names_init(&image->keys);
    for (struct name *n = names_next(&m->keys, NULL); n; n = names_next(&m->keys, n))
        if (key_of_name(n)->type != KEY_NONE)
            copy_value(key_new(&image->keys, n->space, n->text), key_of_name(n));
    return image;
}

void model_load(struct model *m, const struct model_image *image)
{
    keys_flush(m, -1);
    tracking_invalidate_all(m);
    for (struct name *n = names_next(&image->keys, NULL); n; n = names_next(&image->keys, n)) {
        copy_value(key_of(m, n->space, n->text), key_of_name(n));
        m->value_count++;
    }
    block_serve(m);
    model_end_turn(m);
}

void model_image_free(struct model_image *image)
{
    if (image == NULL)
        return;
    for (struct name *n = names_next(&image->keys, NULL), *next; n; n = next) {
        next = names_next(&image->keys, n);
        free_value(key_of_name(n));
        free(key_of_name(n));
    }
    names_done(&image->keys);
    free(image);
}

// ---- patterns -------------------------------------------------------------------

// [a-z] [^a] at p->at: does it match c? *p goes behind it.
static bool class_matches(struct view *p, char c)
{
    bool negated = p->len > 1 && p->at[1] == '^', found = false;
    size_t i = negated ? 2 : 1;
    for (; i < p->len && p->at[i] != ']'; i++) {
        if (p->at[i] == '\\' && i + 1 < p->len) {
            found |= p->at[++i] == c;
        } else if (i + 2 < p->len && p->at[i + 1] == '-') {
            char low = p->at[i], high = p->at[i + 2];
            found |= low <= high ? c >= low && c <= high : c >= high && c <= low;
            i += 2;
        } else {
            found |= p->at[i] == c;
        }
    }
    i += i < p->len;
    p->at += i, p->len -= i;
    return found != negated;
}

// The one character at the front of the pattern, which is not '*'. *p goes behind it.
static bool one_matches(struct view *p, char c)
{
    if (p->at[0] == '[')
        return class_matches(p, c);
    if (p->at[0] == '\\' && p->len > 1)
        p->at++, p->len--;
    else if (p->at[0] == '?')
        c = '?';
    bool matches = p->at[0] == c;
    p->at++, p->len--;
    return matches;
}

// As Redis's patterns: * ? [a-z] [^a] and a backslash before what is meant as it stands.
bool redis_glob_matches(struct view pattern, struct view text)
{
    struct view star = { 0 }, star_text = { 0 }; // where the last '*' may still take more
    bool has_star = false;
    while (text.len > 0 || pattern.len > 0) {
        if (pattern.len > 0 && pattern.at[0] == '*') {
            pattern.at++, pattern.len--;
            star = pattern, star_text = text, has_star = true;
            continue;
        }
        struct view rest = pattern;
        if (pattern.len > 0 && text.len > 0 && one_matches(&rest, text.at[0])) {
            pattern = rest;
            text.at++, text.len--;
            continue;
        }
        if (!has_star || star_text.len == 0)
            return false;
        star_text.at++, star_text.len--;
        pattern = star, text = star_text;
    }
    return true;
}
