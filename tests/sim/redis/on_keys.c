// Commands about keys, whatever they hold.
#include "inside.h"

static void changed(struct model_conn *c, struct view name)
{
    tracking_invalidate(c->model, name);
}

void on_del(struct model_conn *c, size_t argc, const struct view *argv)
{
    int64_t count = 0;
    for (size_t i = 1; i < argc; i++) {
        struct key *k = key_find(c->model, c->db, argv[i]);
        if (k == NULL)
            continue;
        key_drop_value(c->model, k);
        changed(c, argv[i]);
        count++;
    }
    reply_integer(&c->output, count);
}

void on_exists(struct model_conn *c, size_t argc, const struct view *argv)
{
    int64_t count = 0;
    for (size_t i = 1; i < argc; i++)
        count += key_find(c->model, c->db, argv[i]) != NULL;
    reply_integer(&c->output, count);
}

static const char *const type_names[] = { "none", "string", "stream" };

void on_type(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    const struct key *k = key_find(c->model, c->db, argv[1]);
    reply_status(&c->output, type_names[k ? k->type : KEY_NONE]);
}

void on_rename(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    struct key *from = key_find(c->model, c->db, argv[1]);
    if (from == NULL) {
        reply_error(&c->output, NO_SUCH_KEY);
        return;
    }
    reply_status(&c->output, "OK");
    if (view_eq(argv[1], argv[2]))
        return;
    struct key *to = key_of(c->model, c->db, argv[2]);
    key_move(c->model, from, to);
    changed(c, argv[1]);
    changed(c, argv[2]);
}

void on_set(struct model_conn *c, size_t argc, const struct view *argv)
{
    if (argc != 3) {
        reply_error(&c->output, SYNTAX_ERROR);
        return;
    }
    key_set_string(c->model, key_of(c->model, c->db, argv[1]), argv[2]);
    changed(c, argv[1]);
    reply_status(&c->output, "OK");
}

void on_get(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    const struct key *k = key_find(c->model, c->db, argv[1]);
    if (k == NULL)
        reply_null(&c->output, c->resp);
    else if (k->type != KEY_STRING)
        reply_error(&c->output, WRONG_TYPE);
    else
        reply_bulk(&c->output, buffer_view(&k->string));
}

// ---- all keys -------------------------------------------------------------------

static void flush(struct model_conn *c, size_t argc, const struct view *argv, int db)
{
    bool has_word = argc == 2 && (view_eq_nocase(argv[1], VIEW("SYNC")) ||
                                  view_eq_nocase(argv[1], VIEW("ASYNC")));
    if (argc > 1 && !has_word) {
        reply_error(&c->output, SYNTAX_ERROR);
        return;
    }
    tracking_invalidate_all(c->model);
    keys_flush(c->model, db);
    reply_status(&c->output, "OK");
}

void on_flushall(struct model_conn *c, size_t argc, const struct view *argv)
{
    flush(c, argc, argv, -1);
}

void on_flushdb(struct model_conn *c, size_t argc, const struct view *argv)
{
    flush(c, argc, argv, (int)c->db);
}

static void write_keys(struct buffer *out, struct key **keys, size_t count)
{
    reply_header(out, '*', count);
    for (size_t i = 0; i < count; i++)
        reply_bulk(out, keys[i]->name.text);
}

void on_keys(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    size_t count, kept = 0;
    struct key **keys = keys_sorted(c->model, c->db, &count);
    for (size_t i = 0; i < count; i++)
        if (redis_glob_matches(argv[1], keys[i]->name.text))
            keys[kept++] = keys[i];
    write_keys(&c->output, keys, kept);
    free(keys);
}

struct scan {
    uint64_t cursor;
    size_t count;
    struct view pattern, type; // no bytes at all: any
};

// NULL, or the error.
static const char *scan_parse(size_t argc, const struct view *argv, struct scan *scan)
{
    *scan = (struct scan){ .count = 10 };
    if (!view_u64(argv[1], &scan->cursor))
        return "ERR invalid cursor";
    for (size_t i = 2; i < argc; i += 2) {
        if (i + 1 == argc)
            return SYNTAX_ERROR;
        int64_t n;
        if (view_eq_nocase(argv[i], VIEW("MATCH"))) {
            scan->pattern = argv[i + 1];
        } else if (view_eq_nocase(argv[i], VIEW("TYPE"))) {
            scan->type = argv[i + 1];
        } else if (!view_eq_nocase(argv[i], VIEW("COUNT"))) {
            return SYNTAX_ERROR;
        } else if (!number_parse(argv[i + 1], &n)) {
            return NOT_INTEGER;
        } else if (n < 1) {
            return SYNTAX_ERROR;
        } else {
            scan->count = (size_t)n;
        }
    }
    return NULL;
}

static bool is_scanned(const struct scan *scan, const struct key *k)
{
    return (!scan->pattern.at || redis_glob_matches(scan->pattern, k->name.text)) &&
           (!scan->type.at || view_eq_nocase(scan->type, view_of(type_names[k->type])));
}

// The cursor is a place in the order of hashes, so keys that come and go change nothing for
// the others. What does not match is left out of a page, as in Redis: a page may be empty.
static uint64_t place_of(const struct key *k)
{
    return k->name.hash >> 1;
}

void on_scan(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct scan scan;
    const char *error = scan_parse(argc, argv, &scan);
    if (error) {
        reply_error(&c->output, error);
        return;
    }
    size_t count, kept = 0, i = 0, seen = 0;
    struct key **keys = keys_sorted(c->model, c->db, &count);
    while (i < count && place_of(keys[i]) < scan.cursor)
        i++;
    for (; i < count && (seen < scan.count || place_of(keys[i]) == place_of(keys[i - 1]));
         i++, seen++)
        if (is_scanned(&scan, keys[i]))
            keys[kept++] = keys[i];
    char cursor[20];
    size_t len = reply_digits(i < count ? place_of(keys[i]) : 0, cursor);
    reply_header(&c->output, '*', 2);
    reply_bulk(&c->output, (struct view){ cursor, len });
    write_keys(&c->output, keys, kept);
    free(keys);
}
