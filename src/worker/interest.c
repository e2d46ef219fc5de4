#include "worker/interest.h"

struct bookmark {
    struct table_node by_stream;
    struct eventid after;
    size_t len;
    char stream[];
};

struct interest *interest_new(struct pattern *p, struct hub *h, uint8_t number)
{
    struct interest *i = must_alloc(sizeof(*i));
    *i = (struct interest){ .pattern = p, .hub = h, .number = number };
    table_init(&i->bookmarks);
    deadline_init(&i->join);
    list_init(&i->node);
    list_push(&p->idle, &i->node);
    pattern_join(p);
    return i;
}

static void drop_bookmark(struct interest *i, struct bookmark *mark)
{
    table_remove(&i->bookmarks, &mark->by_stream);
    i->bookmark_bytes -= sizeof(*mark) + mark->len;
    free(mark);
}

void interest_free(struct interest *i)
{
    for (struct table_node *node; (node = table_any(&i->bookmarks));)
        drop_bookmark(i, TABLE_ITEM(node, struct bookmark, by_stream));
    table_done(&i->bookmarks);
    deadline_cancel(&i->join);
    list_remove(&i->node);
    pattern_leave(i->pattern);
    free(i);
}

static void add_bookmark(struct interest *i, const char *stream, struct eventid after)
{
    size_t len = strlen(stream);
    struct bookmark *mark = must_alloc(sizeof(*mark) + len);
    *mark = (struct bookmark){ .after = after, .len = len };
    memcpy(mark->stream, stream, len);
    table_add(&i->bookmarks, &mark->by_stream, (struct view){ mark->stream, len });
    i->bookmark_bytes += sizeof(*mark) + len;
}

// A `null`, as `closing` has for streams in which there was nothing, is none.
bool interest_add_bookmarks(struct interest *i, const json_t *after, size_t most)
{
    const char *stream;
    json_t *value, *object = (json_t *)(uintptr_t)after;
    if (json_object_size(after) > most)
        return false;
    json_object_foreach(object, stream, value)
    {
        struct eventid id;
        const struct view text = { json_string_value(value), json_string_length(value) };
        if (json_is_null(value))
            continue;
        if (!json_is_string(value) || !eventid_parse(text, &id))
            return false;
        add_bookmark(i, stream, id);
    }
    return true;
}

struct start interest_start_in(struct interest *i, struct view stream)
{
    struct table_node *found = table_find(&i->bookmarks, stream);
    if (found == NULL)
        return i->start;
    struct bookmark *mark = TABLE_ITEM(found, struct bookmark, by_stream);
    const struct start start = { .kind = START_AFTER, .id = mark->after };
    drop_bookmark(i, mark);
    return start;
}
