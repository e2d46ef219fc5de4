#include "cli/target.h"

#include <stdio.h>

#include "base/utf8.h"
#include "wire/http.h"

static const struct {
    struct view scheme;
    bool tls;
} schemes[] = {
    { { "ws://", 5 }, false },
    { { "wss://", 6 }, true },
    { { "http://", 7 }, false },
    { { "https://", 8 }, true },
};

static char *copy(struct view text)
{
    char *out = must_alloc(text.len + 1);
    memcpy(out, text.at, text.len);
    out[text.len] = '\0';
    return out;
}

static void skip(struct view *v, size_t len)
{
    *v = (struct view){ v->at + len, v->len - len };
}

bool target_is_url(const char *text)
{
    return strstr(text, "://") != NULL;
}

// What is in front of any of these characters; the rest stays in *text.
static struct view take_until(struct view *text, const char *ends)
{
    size_t len = 0;
    while (len < text->len && !strchr(ends, text->at[len]))
        len++;
    struct view taken = { text->at, len };
    skip(text, len);
    return taken;
}

// ---- a URL's parts --------------------------------------------------------------

static const char *read_scheme(struct view *text, struct target *out)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct view scheme = schemes[i].scheme;
        if (text->len > scheme.len &&
            view_eq_nocase((struct view){ text->at, scheme.len }, scheme)) {
            out->tls = schemes[i].tls;
            skip(text, scheme.len);
            return NULL;
        }
    }
    return "a URL begins with ws://, wss://, http:// or https://";
}

static const char *read_port(struct view authority, struct target *out)
{
    uint64_t port = out->tls ? 443 : 80;
    if (authority.len && (authority.at[0] != ':' ||
                          !view_u64((struct view){ authority.at + 1, authority.len - 1 }, &port) ||
                          port == 0 || port > 65535))
        return "the URL's port is none";
    out->port = (int)port;
    return NULL;
}

static const char *read_authority(struct view authority, struct target *out)
{
    out->host_header = copy(authority);
    if (authority.len && memchr(authority.at, '@', authority.len))
        return "a URL of a broker has no user: tokens are given as token=";
    struct view host;
    if (authority.len && authority.at[0] == '[') {
        skip(&authority, 1);
        host = take_until(&authority, "]");
        if (authority.len == 0)
            return "the URL's address lacks its ]";
        skip(&authority, 1);
    } else {
        host = take_until(&authority, ":");
    }
    for (size_t i = 0; i < host.len; i++)
        if (host.at[i] <= ' ' || host.at[i] > '~' || strchr("\"<>\\^`{|}", host.at[i]))
            return "the URL's host has a character that no host has";
    if (host.len == 0)
        return "the URL has no host";
    out->host = copy(host);
    return read_port(authority, out);
}

static bool takes_name(struct view raw, struct buffer *name)
{
    buffer_reserve(name, raw.len + 1);
    ptrdiff_t len = http_unescape(raw, false, name->at);
    name->len = len > 0 ? (size_t)len : 0;
    return len > 0 && utf8_valid(buffer_view(name));
}

static bool is_sendable(struct view text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~')
            return false;
    return true;
}

// The last segment is the stream's id, and the one before it says which route it is.
static const char *read_path(struct view path, struct target *out)
{
    static const char *const routes[] = { "/ws", "/sse", "/history" };
    const char *slash = path.len ? memrchr(path.at, '/', path.len) : NULL;
    struct view before = { path.at, slash ? (size_t)(slash - path.at) : 0 };
    for (size_t i = 0; slash && i < ARRAY_LEN(routes); i++) {
        struct view route = view_of(routes[i]);
        if (before.len < route.len ||
            !view_eq((struct view){ before.at + before.len - route.len, route.len }, route))
            continue;
        struct view id = { slash + 1, path.len - before.len - 1 };
        if (!is_sendable(path) || !takes_name(id, &out->name))
            return "the URL's stream id is not percent-encoded UTF-8, or is empty";
        buffer_add(&out->path, path.at, before.len - route.len);
        buffer_add_view(&out->path, VIEW("/ws/"));
        buffer_add_view(&out->path, id);
        return NULL;
    }
    return "the URL leads to no stream: one is at ws://HOST:PORT/ws/STREAM?token=…";
}

static void keep_pair(struct buffer *query, struct view pair)
{
    if (query->len)
        buffer_add_view(query, VIEW("&"));
    buffer_add_view(query, pair);
}

static void keep_first(struct buffer *kept, struct view value)
{
    if (kept->len == 0)
        buffer_add_view(kept, value);
}

static const char *read_query(struct view query, struct target *out)
{
    if (!is_sendable(query))
        return "the URL's query has a character that must be percent-encoded";
    while (query.len) {
        struct view pair = take_until(&query, "&"), value = pair;
        if (query.len)
            skip(&query, 1);
        struct view name = take_until(&value, "=");
        if (value.len)
            skip(&value, 1);
        if (view_eq(name, VIEW("from")))
            keep_first(&out->from, value);
        else if (view_eq(name, VIEW("after")))
            keep_first(&out->after, value);
        else if (!view_eq(name, VIEW("format")) && !view_eq(name, VIEW("limit")))
            keep_pair(&out->query, pair);
        out->says_what_is_slow |= view_eq(name, VIEW("slow"));
    }
    return NULL;
}

const char *target_of_url(const char *text, struct target *out)
{
    *out = (struct target){ 0 };
    struct view left = view_of(text);
    const char *wrong = read_scheme(&left, out);
    if (wrong)
        return wrong;
    struct view authority = take_until(&left, "/?#");
    struct view path = take_until(&left, "?#");
    if (left.len && left.at[0] == '?')
        skip(&left, 1);
    struct view query = take_until(&left, "#"); // what is behind it is for browsers
    wrong = read_authority(authority, out);
    if (!wrong)
        wrong = read_path(path, out);
    return wrong ? wrong : read_query(query, out);
}

// ---- a stream of our own broker -------------------------------------------------

void target_of_stream(const struct config *config, const char *stream, struct target *out)
{
    bool any = strcmp(config->host, "0.0.0.0") == 0 || strcmp(config->host, "::") == 0;
    const char *host = any ? "127.0.0.1" : config->host;
    struct buffer header = { 0 };
    buffer_printf(&header, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, (int)config->port);
    *out = (struct target){ .host = copy(view_of(host)),
                            .port = (int)config->port,
                            .host_header = copy(buffer_view(&header)),
                            .is_minted = true };
    buffer_free(&header);
    buffer_add_view(&out->name, view_of(stream));
    buffer_add_view(&out->path, VIEW("/ws/"));
    http_escape(&out->path, view_of(stream));
}

void target_done(struct target *t)
{
    free(t->host);
    free(t->host_header);
    buffer_free(&t->path);
    buffer_free(&t->query);
    buffer_free(&t->from);
    buffer_free(&t->after);
    buffer_free(&t->name);
}

// ---- a request ------------------------------------------------------------------

static void add_parameter(struct buffer *query, const char *name, struct view escaped)
{
    buffer_printf(query, "%s%s=", query->len ? "&" : "", name);
    buffer_add_view(query, escaped);
}

static void add_text_parameter(struct buffer *query, const char *name, const char *text)
{
    struct buffer escaped = { 0 };
    http_escape(&escaped, view_of(text));
    add_parameter(query, name, buffer_view(&escaped));
    buffer_free(&escaped);
}

static void add_start(struct buffer *query, const struct target *t, const struct target_start *s)
{
    if (s->after)
        add_text_parameter(query, "after", s->after);
    else if (s->from)
        add_text_parameter(query, "from", s->from);
    else if (t->after.len)
        add_parameter(query, "after", buffer_view(&t->after));
    else if (t->from.len)
        add_parameter(query, "from", buffer_view(&t->from));
}

// Who reads slowly is to be told what it misses, and not to be closed.
void target_request(const struct target *t, const struct target_start *start, struct buffer *out)
{
    struct buffer query = { 0 };
    buffer_add_view(&query, buffer_view(&t->query));
    if (start->token)
        add_text_parameter(&query, "token", start->token);
    add_start(&query, t, start);
    if (!t->says_what_is_slow)
        add_parameter(&query, "slow", VIEW("skip"));
    buffer_add_view(out, buffer_view(&t->path));
    buffer_add_view(out, VIEW("?"));
    buffer_add_view(out, buffer_view(&query));
    buffer_free(&query);
}
