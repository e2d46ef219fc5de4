// Commands about streams.
#include "inside.h"

#include <errno.h>
#include <stdio.h>

#define INVALID_ID "ERR Invalid stream ID specified as stream command argument"
#define BLOCKED_READ_MAX 1000 // entries, if no COUNT is given

static const struct eventid id_min = { 0, 0 }, id_max = { UINT64_MAX, UINT64_MAX };

// ---- ids ------------------------------------------------------------------------

// As strtoull takes it: zeros in front are allowed, and so is a plus.
static bool parse_part(const char *text, uint64_t *out)
{
    int64_t n;
    if (number_parse(view_of(text), &n)) {
        *out = (uint64_t)n;
        return n >= 0;
    }
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0';
}

struct id_form {
    uint64_t missing_seq; // of "5"
    bool strict;          // "-" and "+" are no ids
    bool *has_seq;        // NULL: "5-*" is none
};

static bool parse_id(struct view arg, const struct id_form *form, struct eventid *id)
{
    char text[128];
    if (arg.len >= sizeof(text))
        return false;
    if (arg.len > 0)
        memcpy(text, arg.at, arg.len);
    text[arg.len] = '\0';
    bool is_end = strcmp(text, "-") == 0 || strcmp(text, "+") == 0;
    if (is_end) {
        *id = text[0] == '-' ? id_min : id_max;
        return !form->strict;
    }
    char *dash = strchr(text, '-');
    if (dash)
        *dash++ = '\0';
    id->seq = form->missing_seq;
    if (form->has_seq)
        *form->has_seq = !(dash && strcmp(dash, "*") == 0);
    if (dash && form->has_seq && !*form->has_seq)
        id->seq = 0;
    else if (dash && !parse_part(dash, &id->seq))
        return false;
    return parse_part(text, &id->ms);
}

static bool parse_strict(struct view arg, struct eventid *id)
{
    return parse_id(arg, &(struct id_form){ .strict = true }, id);
}

// An end of a range; "(5-1" is beside that id.
static bool parse_end(struct view arg, uint64_t missing_seq, struct eventid *id, bool *exclusive)
{
    struct id_form form = { .missing_seq = missing_seq };
    *exclusive = arg.len > 1 && arg.at[0] == '(';
    if (*exclusive) {
        form.strict = true;
        arg.at++, arg.len--;
    }
    return parse_id(arg, &form, id);
}

// ---- the stream that is meant ---------------------------------------------------

// False: there is another type, and the error has been said. *s: NULL if there is none.
static bool get_stream(struct model_conn *c, struct view name, struct xstream **s)
{
    const struct key *k = key_find(c->model, c->db, name);
    *s = k ? k->stream : NULL;
    if (k == NULL || k->type == KEY_STREAM)
        return true;
    reply_error(&c->output, WRONG_TYPE);
    return false;
}

static void fail(struct model_conn *c, const char *error)
{
    reply_error(&c->output, error);
}

// ---- XADD, XTRIM ----------------------------------------------------------------

struct adding {
    struct xstream_trimming trimming;
    bool no_new_stream;
    bool has_limit;
    bool has_id, has_seq;
    struct eventid id;
    size_t id_at; // where the id stands
};

// MAXLEN|MINID [=|~] threshold; *i goes to its last word.
static const char *parse_threshold(size_t argc, const struct view *argv, size_t *i,
                                   struct xstream_trimming *t)
{
    bool by_len = view_eq_nocase(argv[*i], VIEW("MAXLEN"));
    int64_t n = 0;
    if (t->by != TRIM_NOT)
        return "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
    t->whole_nodes = false;
    if (argc - 1 - *i >= 2 &&
        (view_eq(argv[*i + 1], VIEW("~")) || view_eq(argv[*i + 1], VIEW("="))))
        t->whole_nodes = argv[++*i].at[0] == '~';
    ++*i;
    if (by_len && !number_parse(argv[*i], &n))
        return NOT_INTEGER;
    if (n < 0)
        return "ERR The MAXLEN argument must be >= 0.";
    if (!by_len && !parse_strict(argv[*i], &t->minid))
        return INVALID_ID;
    t->maxlen = (size_t)n;
    t->by = by_len ? TRIM_MAXLEN : TRIM_MINID;
    return NULL;
}

static const char *parse_limit(struct view arg, struct adding *a)
{
    int64_t n;
    if (!number_parse(arg, &n))
        return NOT_INTEGER;
    if (n < 0)
        return "ERR The LIMIT argument must be >= 0.";
    a->trimming.delete_max = (size_t)n;
    a->has_limit = true;
    return NULL;
}

static const char *check_limit(const struct model *m, struct adding *a, bool is_xadd)
{
    if (a->trimming.delete_max && a->trimming.by == TRIM_NOT)
        return "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    if (!is_xadd && a->trimming.by == TRIM_NOT)
        return "ERR syntax error, XTRIM must be called with a trimming strategy";
    if (a->has_limit && !a->trimming.whole_nodes)
        return "ERR syntax error, LIMIT cannot be used without the special ~ option";
    if (!a->has_limit && a->trimming.whole_nodes)
        a->trimming.delete_max = m->limits.entries_max ? 100 * m->limits.entries_max : 10000;
    return NULL;
}

// Up to the id of an XADD, or all of an XTRIM. NULL, or the error.
static const char *parse_adding(const struct model *m, size_t argc, const struct view *argv,
                                bool is_xadd, struct adding *a)
{
    *a = (struct adding){ 0 };
    const char *error = NULL;
    size_t i = 2;
    for (; i < argc && error == NULL; i++) {
        bool has_more = i + 1 < argc;
        if (is_xadd && view_eq(argv[i], VIEW("*"))) {
            break;
        } else if (has_more && (view_eq_nocase(argv[i], VIEW("MAXLEN")) ||
                                view_eq_nocase(argv[i], VIEW("MINID")))) {
            error = parse_threshold(argc, argv, &i, &a->trimming);
        } else if (has_more && view_eq_nocase(argv[i], VIEW("LIMIT"))) {
            error = parse_limit(argv[++i], a);
        } else if (is_xadd && view_eq_nocase(argv[i], VIEW("NOMKSTREAM"))) {
            a->no_new_stream = true;
        } else if (is_xadd) {
            struct id_form form = { .strict = true, .has_seq = &a->has_seq };
            if (!parse_id(argv[i], &form, &a->id))
                return INVALID_ID;
            a->has_id = true;
            break;
        } else {
            return SYNTAX_ERROR;
        }
    }
    a->id_at = i;
    return error ? error : check_limit(m, a, is_xadd);
}

static struct eventid next_id(const struct xstream *s, int64_t now_us)
{
    struct eventid now = { .ms = (uint64_t)(now_us / US_PER_MS) };
    return now.ms > s->last_id.ms ? now : eventid_behind(s->last_id);
}

// False: it would not be above the last one.
static bool choose_id(const struct xstream *s, int64_t now_us, const struct adding *a,
                      struct eventid *id)
{
    *id = a->has_id ? a->id : next_id(s, now_us);
    if (a->has_id && !a->has_seq && a->id.ms == s->last_id.ms) {
        *id = s->last_id;
        if (id->seq++ == UINT64_MAX)
            return false;
    }
    return eventid_cmp(*id, s->last_id) > 0;
}

static void add(struct model_conn *c, const struct adding *a, struct view name,
                const struct view *fields, size_t count)
{
    struct model *m = c->model;
    struct key *k = key_of(m, c->db, name);
    struct eventid id;
    if (k->type == KEY_NONE) {
        key_set_stream(m, k, NULL);
        block_signal(m, k);
    }
    if (eventid_cmp(k->stream->last_id, id_max) == 0) {
        fail(c, "ERR The stream has exhausted the last possible ID, unable to add more items");
        return;
    }
    if (!choose_id(k->stream, m->now_us, a, &id)) {
        fail(c, "ERR The ID specified in XADD is equal or smaller than the target stream top item");
        return;
    }
    xstream_add(k->stream, id, fields, count, &m->limits);
    reply_id(&c->output, id);
    tracking_invalidate(m, name);
    if (a->trimming.by != TRIM_NOT)
        xstream_trim(k->stream, &a->trimming);
    block_signal(m, k);
}

void on_xadd(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct adding a;
    struct xstream *s;
    const char *error = parse_adding(c->model, argc, argv, true, &a);
    size_t fields_at = a.id_at + 1;
    if (error == NULL && (argc < fields_at + 2 || (argc - fields_at) % 2 != 0))
        error = "ERR wrong number of arguments for 'xadd' command";
    if (error == NULL && a.has_id && a.has_seq && eventid_is_none(a.id))
        error = "ERR The ID specified in XADD must be greater than 0-0";
    if (error) {
        fail(c, error);
        return;
    }
    if (!get_stream(c, argv[1], &s))
        return;
    if (s == NULL && a.no_new_stream)
        reply_null(&c->output, c->resp);
    else
        add(c, &a, argv[1], argv + fields_at, argc - fields_at);
}

void on_xtrim(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct adding a;
    struct xstream *s;
    const char *error = parse_adding(c->model, argc, argv, false, &a);
    if (error) {
        fail(c, error);
        return;
    }
    if (!get_stream(c, argv[1], &s))
        return;
    size_t gone = s ? xstream_trim(s, &a.trimming) : 0;
    if (gone > 0)
        tracking_invalidate(c->model, argv[1]);
    reply_integer(&c->output, (int64_t)gone);
}

// ---- XDEL, XSETID, XLEN ---------------------------------------------------------

void on_xdel(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct xstream *s;
    struct eventid id;
    int64_t count = 0;
    if (!get_stream(c, argv[1], &s))
        return;
    for (size_t i = 2; s && i < argc; i++)
        if (!parse_strict(argv[i], &id)) {
            fail(c, INVALID_ID);
            return;
        }
    for (size_t i = 2; s && i < argc; i++)
        count += parse_strict(argv[i], &id) && xstream_delete(s, id);
    if (count > 0)
        tracking_invalidate(c->model, argv[1]);
    reply_integer(&c->output, count);
}

struct setting {
    struct eventid id, max_deleted;
    int64_t added; // -1: not given
};

static const char *parse_setting(size_t argc, const struct view *argv, struct setting *set)
{
    *set = (struct setting){ .added = -1 };
    if (!parse_strict(argv[2], &set->id))
        return INVALID_ID;
    for (size_t i = 3; i < argc; i += 2) {
        bool has_more = i + 1 < argc;
        if (has_more && view_eq_nocase(argv[i], VIEW("ENTRIESADDED"))) {
            if (!number_parse(argv[i + 1], &set->added))
                return NOT_INTEGER;
            if (set->added < 0)
                return "ERR entries_added must be positive";
        } else if (has_more && view_eq_nocase(argv[i], VIEW("MAXDELETEDID"))) {
            if (!parse_strict(argv[i + 1], &set->max_deleted))
                return INVALID_ID;
            if (eventid_cmp(set->id, set->max_deleted) < 0)
                return "ERR The ID specified in XSETID is smaller than the provided "
                       "max_deleted_entry_id";
        } else {
            return SYNTAX_ERROR;
        }
    }
    return NULL;
}

static const char *check_setting(const struct xstream *s, const struct setting *set)
{
    if (s->len > 0 && eventid_cmp(set->id, xstream_top(s)) < 0)
        return "ERR The ID specified in XSETID is smaller than the target stream top item";
    if (s->len > 0 && set->added != -1 && s->len > (uint64_t)set->added)
        return "ERR The entries_added specified in XSETID is smaller than the target stream length";
    return NULL;
}

void on_xsetid(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct setting set;
    struct xstream *s;
    const char *error = parse_setting(argc, argv, &set);
    if (error == NULL && !get_stream(c, argv[1], &s))
        return;
    if (error == NULL)
        error = s ? check_setting(s, &set) : NO_SUCH_KEY;
    if (error) {
        fail(c, error);
        return;
    }
    s->last_id = set.id;
    if (set.added != -1)
        s->added = (uint64_t)set.added;
    if (!eventid_is_none(set.max_deleted))
        s->max_deleted = set.max_deleted;
    reply_status(&c->output, "OK");
}

void on_xlen(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    struct xstream *s;
    if (get_stream(c, argv[1], &s))
        reply_integer(&c->output, s ? (int64_t)s->len : 0);
}

// ---- XRANGE, XREVRANGE ----------------------------------------------------------

// *count: -1: all. NULL, or the error.
static const char *parse_count(size_t argc, const struct view *argv, int64_t *count)
{
    *count = -1;
    for (size_t i = 4; i < argc; i += 2) {
        if (!view_eq_nocase(argv[i], VIEW("COUNT")) || i + 1 == argc)
            return SYNTAX_ERROR;
        if (!number_parse(argv[i + 1], count))
            return NOT_INTEGER;
        *count = *count < 0 ? 0 : *count;
    }
    return NULL;
}

static const char *parse_range(size_t argc, const struct view *argv, bool backwards,
                               struct eventid *from, struct eventid *to, int64_t *count)
{
    bool exclusive;
    if (!parse_end(argv[backwards ? 3 : 2], 0, from, &exclusive))
        return INVALID_ID;
    if (exclusive && eventid_cmp(*from, id_max) == 0)
        return "ERR invalid start ID for the interval";
    if (exclusive)
        *from = eventid_behind(*from);
    if (!parse_end(argv[backwards ? 2 : 3], UINT64_MAX, to, &exclusive))
        return INVALID_ID;
    if (exclusive && eventid_is_none(*to))
        return "ERR invalid end ID for the interval";
    if (exclusive)
        *to = eventid_before(*to);
    return parse_count(argc, argv, count);
}

static void range(struct model_conn *c, size_t argc, const struct view *argv, bool backwards)
{
    struct eventid from, to;
    int64_t count;
    struct xstream *s;
    const char *error = parse_range(argc, argv, backwards, &from, &to, &count);
    if (error) {
        fail(c, error);
        return;
    }
    if (!get_stream(c, argv[1], &s))
        return;
    if (s == NULL)
        reply_header(&c->output, '*', 0);
    else if (count == 0)
        reply_null_array(&c->output, c->resp);
    else
        xstream_write_range(s, from, to, count < 0 ? 0 : (size_t)count, backwards, &c->output);
}

void on_xrange(struct model_conn *c, size_t argc, const struct view *argv)
{
    range(c, argc, argv, false);
}

void on_xrevrange(struct model_conn *c, size_t argc, const struct view *argv)
{
    range(c, argc, argv, true);
}

// ---- XREAD ----------------------------------------------------------------------

struct reading {
    bool blocks;
    int64_t until_ms; // 0: for ever
    size_t count;     // 0: all
    size_t streams;
    const struct view *names, *ids;
};

static const char *parse_block(struct view arg, int64_t now_us, struct reading *r)
{
    int64_t ms, now_ms = now_us / US_PER_MS;
    if (!number_parse(arg, &ms))
        return "ERR timeout is not an integer or out of range";
    if (ms < 0)
        return "ERR timeout is negative";
    if (ms > INT64_MAX - now_ms)
        return "ERR timeout is out of range";
    r->blocks = true;
    r->until_ms = ms ? ms + now_ms : 0;
    return NULL;
}

static const char *parse_reading(const struct model *m, size_t argc, const struct view *argv,
                                 struct reading *r)
{
    *r = (struct reading){ 0 };
    for (size_t i = 1; i < argc; i++) {
        size_t more = argc - i - 1;
        const char *error = NULL;
        int64_t n;
        if (more && view_eq_nocase(argv[i], VIEW("BLOCK"))) {
            error = parse_block(argv[++i], m->now_us, r);
        } else if (more && view_eq_nocase(argv[i], VIEW("COUNT"))) {
            error = number_parse(argv[++i], &n) ? NULL : NOT_INTEGER;
            r->count = error || n < 0 ? 0 : (size_t)n;
        } else if (more && view_eq_nocase(argv[i], VIEW("STREAMS"))) {
            if (more % 2 != 0)
                return "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' "
                       "must be specified.";
            r->streams = more / 2;
            r->names = argv + i + 1;
            r->ids = r->names + r->streams;
            return NULL;
        } else if (more >= 2 && view_eq_nocase(argv[i], VIEW("GROUP"))) {
            error = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD "
                    "instead.";
        } else {
            error = SYNTAX_ERROR;
        }
        if (error)
            return error;
    }
    return SYNTAX_ERROR;
}

// Behind which entries to read. False: an error has been said.
static bool resolve_ids(struct model_conn *c, const struct reading *r, struct eventid *after)
{
    for (size_t i = 0; i < r->streams; i++) {
        struct xstream *s;
        if (!get_stream(c, r->names[i], &s))
            return false;
        if (view_eq(r->ids[i], VIEW("$"))) {
            after[i] = s ? s->last_id : id_min;
        } else if (view_eq(r->ids[i], VIEW(">"))) {
            fail(c, "ERR The > ID can be specified only when calling XREADGROUP using the GROUP "
                    "<group> <consumer> option.");
            return false;
        } else if (!parse_strict(r->ids[i], &after[i])) {
            fail(c, INVALID_ID);
            return false;
        }
    }
    return true;
}

static bool has_news(struct model_conn *c, struct view name, struct eventid after,
                     struct xstream **s)
{
    const struct key *k = key_find(c->model, c->db, name);
    *s = k ? k->stream : NULL;
    return *s && (*s)->len > 0 && eventid_cmp(xstream_top(*s), after) > 0;
}

// False: there is nothing to read.
static bool read_now(struct model_conn *c, const struct reading *r, const struct eventid *after)
{
    struct xstream *s;
    size_t count = 0;
    for (size_t i = 0; i < r->streams; i++)
        count += has_news(c, r->names[i], after[i], &s);
    if (count == 0)
        return false;
    reply_header(&c->output, c->resp == 2 ? '*' : '%', count);
    for (size_t i = 0; i < r->streams; i++) {
        if (!has_news(c, r->names[i], after[i], &s))
            continue;
        if (c->resp == 2)
            reply_header(&c->output, '*', 2);
        reply_bulk(&c->output, r->names[i]);
        xstream_write_range(s, eventid_behind(after[i]), id_max, r->count, false, &c->output);
    }
    return true;
}

void on_xread(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct reading r;
    const char *error = parse_reading(c->model, argc, argv, &r);
    if (error) {
        fail(c, error);
        return;
    }
    struct eventid few[8], *after = few;
    if (r.streams > ARRAY_LEN(few))
        after = must_alloc(r.streams * sizeof(*after));
    if (resolve_ids(c, &r, after) && !read_now(c, &r, after)) {
        if (r.blocks && !c->in_exec)
            block_on(c, r.names, after, r.streams, r.count ? r.count : BLOCKED_READ_MAX,
                     r.until_ms);
        else
            reply_null_array(&c->output, c->resp);
    }
    if (after != few)
        free(after);
}

// ---- XINFO ----------------------------------------------------------------------

static void tell_number(struct buffer *out, const char *name, uint64_t n)
{
    reply_text(out, name);
    reply_integer(out, (int64_t)n);
}

static void tell_id(struct buffer *out, const char *name, struct eventid id)
{
    reply_text(out, name);
    reply_id(out, id);
}

static void tell_edge(struct model_conn *c, const char *name, const struct xstream *s, bool last)
{
    reply_text(&c->output, name);
    if (!xstream_write_edge(s, last, &c->output))
        reply_null(&c->output, c->resp);
}

static void tell_stream(struct model_conn *c, const struct xstream *s)
{
    struct buffer *out = &c->output;
    bool counts = c->model->major >= 7;
    reply_map(out, c->resp, counts ? 10 : 7);
    tell_number(out, "length", s->len);
    tell_number(out, "radix-tree-keys", s->node_count);
    tell_number(out, "radix-tree-nodes", xstream_radix_nodes(s));
    tell_id(out, "last-generated-id", s->last_id);
    if (counts) {
        tell_id(out, "max-deleted-entry-id", s->max_deleted);
        tell_number(out, "entries-added", s->added);
        tell_id(out, "recorded-first-entry-id", s->first_id);
    }
    tell_number(out, "groups", 0);
    tell_edge(c, "first-entry", s, false);
    tell_edge(c, "last-entry", s, true);
}

// False: no stream, and the error has been said.
static bool get_existing(struct model_conn *c, struct view name, struct xstream **s)
{
    if (!get_stream(c, name, s))
        return false;
    if (*s == NULL)
        fail(c, NO_SUCH_KEY);
    return *s != NULL;
}

void on_xinfo_stream(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct xstream *s;
    if (!get_existing(c, argv[2], &s))
        return;
    if (argc > 3) // FULL is not known here
        reply_errorf(&c->output,
                     "ERR unknown subcommand or wrong number of arguments for '" VIEW_FMT
                     "'. Try XINFO HELP.",
                     VIEW_ARG(argv[1]));
    else
        tell_stream(c, s);
}

void on_xinfo_groups(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    struct xstream *s;
    if (get_existing(c, argv[2], &s))
        reply_header(&c->output, '*', 0);
}
