// A guest's replies over plain HTTP: server-sent events, read line by line as an EventSource
// does, and a page of history.
#include <stdio.h>

#include "guest.h"
#include "text.h"

// ---- server-sent events -------------------------------------------------------------------

static void dispatch(struct guest *g)
{
    struct view data = buffer_view(&g->sse_data);
    struct eventid id = { 0, 0 };
    bool has_id = g->sse_id[0] && eventid_parse(view_of(g->sse_id), &id);
    if (g->sse_id[0] && !has_id && strcmp(g->sse_id, "0-0") != 0)
        guest_complain(g, "was sent an odd id", view_of(g->sse_id));
    if (g->sse_has_data && g->sse_event[0] == '\0')
        guest_note_event(g, data, has_id, id);
    else if (strcmp(g->sse_event, "gap") == 0)
        guest_note_gap(g, data);
    else if (strcmp(g->sse_event, "live") == 0)
        guest_note_live(g, data);
    else if (strcmp(g->sse_event, "source") == 0)
        guest_note_source(g, data);
    else if (g->sse_event[0])
        guest_complain(g, "was sent an odd event", view_of(g->sse_event));
    g->sse_event[0] = g->sse_id[0] = '\0';
    g->sse_data.len = 0;
    g->sse_has_data = false;
}

static void keep_text(char *to, size_t size, struct view text)
{
    snprintf(to, size, "%.*s", VIEW_ARG(text));
}

static void take_line(struct guest *g, struct view line)
{
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0) {
        dispatch(g);
    } else if (text_eat(&line, "data: ")) {
        if (g->sse_has_data)
            buffer_add(&g->sse_data, "\n", 1);
        buffer_add_view(&g->sse_data, line);
        g->sse_has_data = true;
    } else if (text_eat(&line, "id: ")) {
        keep_text(g->sse_id, sizeof(g->sse_id), line);
    } else if (text_eat(&line, "event: ")) {
        keep_text(g->sse_event, sizeof(g->sse_event), line);
    } else if (text_eat(&line, "data:")) { // an empty one
        if (g->sse_has_data)
            buffer_add(&g->sse_data, "\n", 1);
        g->sse_has_data = true;
    } else if (line.at[0] != ':' && !text_eat(&line, "retry: ")) {
        guest_complain(g, "was sent an odd line", line);
    }
}

bool guest_take_sse(struct guest *g)
{
    const char *end;
    while (g->taken < g->in.len &&
           (end = memchr(g->in.at + g->taken, '\n', g->in.len - g->taken)) != NULL) {
        struct view line = { g->in.at + g->taken, (size_t)(end - g->in.at) - g->taken };
        g->taken += line.len + 1;
        take_line(g, line);
    }
    buffer_drop(&g->in, g->taken);
    g->taken = 0;
    return true;
}

// ---- history ------------------------------------------------------------------------------
//
// {"stream":S,"events":[{"id":ID,"data":…},…],"last":ID|null,"complete":true|false}

static bool take_chunks(struct guest *g, struct buffer *body)
{
    size_t at = g->taken;
    for (;;) {
        const char *end = at < g->in.len ? memmem(g->in.at + at, g->in.len - at, "\r\n", 2) : NULL;
        if (end == NULL)
            return false;
        size_t size = strtoul(g->in.at + at, NULL, 16), start = (size_t)(end - g->in.at) + 2;
        if (g->in.len < start + size + 2)
            return false;
        if (size == 0)
            return true;
        buffer_add(body, g->in.at + start, size);
        at = start + size + 2;
    }
}

// One event of the page; the entries come in Redis's order, each once, and what lies between
// two of them has left Redis.
static bool take_page_event(struct guest *g, struct view *rest, int *before, struct eventid *id)
{
    static struct buffer plain;
    bool has_id, intact = false;
    size_t len = 0;
    if (!(text_eat(rest, "{\"id\":") && text_eat_id(rest, &has_id, id) && has_id &&
          text_eat(rest, ",\"data\":")))
        return false;
    while (len < rest->len &&
           !(rest->at[len] == '}' && (rest->len == len + 1 || rest->at[len + 1] == ']' ||
                                      (rest->at[len + 1] == ',' && rest->at[len + 2] == '{'))))
        len++;
    struct view data = { rest->at, len };
    struct owner *was = memory_use(NULL);
    bool quoted = text_unquote(data, &plain);
    memory_use(was);
    int at = publisher_read_event(g->stream, quoted ? buffer_view(&plain) : data, &intact);
    if (at < 0 || !intact || eventid_cmp(g->stream->truth.entries[at].id, *id) != 0)
        guest_complain(g, "was sent a page with an event that Redis was not given", data);
    if (at <= *before && g->stream->truth.clock_ids && g->stream->truth.thrown_back_count == 0)
        guest_complain(g, "was sent a page out of order", data);
    *before = at;
    if (rest->len < len + 1)
        return false;
    rest->at += len + 1, rest->len -= len + 1;
    return true;
}

static void take_page(struct guest *g, struct view page)
{
    struct view rest = page;
    struct eventid id = { 0, 0 }, last;
    bool has_last;
    int before = -1;
    bool good = text_eat(&rest, "{\"stream\":\"") && text_eat(&rest, g->stream->name) &&
                text_eat(&rest, "\",\"events\":[");
    while (good && rest.len > 0 && rest.at[0] == '{') {
        good = take_page_event(g, &rest, &before, &id);
        text_eat(&rest, ",");
    }
    good = good && text_eat(&rest, "],\"last\":") && text_eat_id(&rest, &has_last, &last) &&
           eventid_cmp(last, id) == 0 &&
           (text_eat(&rest, ",\"complete\":true}") || text_eat(&rest, ",\"complete\":false}"));
    text_eat(&rest, "\n");
    if (!good || rest.len > 0)
        guest_complain(g, "was sent an odd page", page);
}

bool guest_take_history(struct guest *g)
{
    struct buffer body = { 0 };
    bool whole = take_chunks(g, &body);
    if (whole)
        take_page(g, buffer_view(&body));
    buffer_free(&body);
    return !whole;
}
