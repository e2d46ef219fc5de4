#include "worker/page.h"

static const struct view json_type = { "application/json", 16 };

static void page_health(const struct http_request *req, struct page_state state, struct buffer *out)
{
    (void)state;
    http_reply(out, 200, json_type, VIEW("{\"status\":\"ok\",\"service\":\"broker\"}"), VIEW(""),
               req->keep_alive);
}

// For a load balancer: may clients be sent here?
static void page_ready(const struct http_request *req, struct page_state state, struct buffer *out)
{
    if (state.draining)
        http_refuse(out, 503, "unavailable", "the broker is shutting down",
                    VIEW("Retry-After: 1\r\n"), req->keep_alive);
    else if (!state.readable)
        http_refuse(out, 503, "unavailable", "Redis cannot be read", VIEW("Retry-After: 1\r\n"),
                    req->keep_alive);
    else
        http_reply(out, 200, json_type, VIEW("{\"status\":\"ready\",\"service\":\"broker\"}"),
                   VIEW(""), req->keep_alive);
}

static const struct {
    const char *path;
    void (*answer)(const struct http_request *, struct page_state, struct buffer *);
} pages[] = {
    { "/", page_health },
    { "/health", page_health },
    { "/ready", page_ready },
};

bool page_answer(const struct http_request *req, struct page_state state, struct buffer *out)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (!view_eq(req->path, view_of(pages[i].path)))
            continue;
        if (view_eq(req->method, VIEW("GET")))
            pages[i].answer(req, state, out);
        else
            page_method_not_allowed(out, req->keep_alive);
        return true;
    }
    return false;
}

void page_not_found(struct buffer *out, bool keep_alive)
{
    http_reply(out, 404, json_type, VIEW("{\"detail\":\"Not Found\"}"), VIEW(""), keep_alive);
}

void page_method_not_allowed(struct buffer *out, bool keep_alive)
{
    http_refuse(out, 405, "method_not_allowed", "only GET is allowed here", VIEW("Allow: GET\r\n"),
                keep_alive);
}
