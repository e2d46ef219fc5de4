#include "worker/page.h"

#define METHODS "GET, HEAD, OPTIONS" // of each page

static const struct view json_type = { "application/json", 16 };

static void refuse(const struct http_request *req, int status, const char *code, const char *detail,
                   struct view date, struct view header, struct buffer *out)
{
    struct buffer headers = { 0 };
    buffer_add_view(&headers, date);
    buffer_add_view(&headers, header);
    http_refuse(out, status, code, detail, buffer_view(&headers), req->keep_alive);
    buffer_free(&headers);
}

static void page_health(const struct http_request *req, struct page_state state, struct buffer *out)
{
    http_reply(out, 200, json_type, VIEW("{\"status\":\"ok\",\"service\":\"broker\"}\n"),
               state.date, req->keep_alive);
}

// For a load balancer: may clients be sent here?
static void page_ready(const struct http_request *req, struct page_state state, struct buffer *out)
{
    if (state.leaving || !state.readable)
        refuse(req, 503, "unavailable",
               state.leaving ? "the broker is shutting down" : "Redis cannot be read", state.date,
               VIEW("Retry-After: 1\r\n"), out);
    else
        http_reply(out, 200, json_type, VIEW("{\"status\":\"ready\",\"service\":\"broker\"}\n"),
                   state.date, req->keep_alive);
}

static void tell_methods(const struct http_request *req, struct view date, struct buffer *out)
{
    struct buffer headers = { 0 };
    buffer_add_view(&headers, date);
    buffer_add_view(&headers, VIEW("Allow: " METHODS "\r\n"));
    http_reply(out, 204, VIEW(""), VIEW(""), buffer_view(&headers), req->keep_alive);
    buffer_free(&headers);
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
        if (view_eq(req->method, VIEW("GET")) || view_eq(req->method, VIEW("HEAD")))
            pages[i].answer(req, state, out);
        else if (view_eq(req->method, VIEW("OPTIONS")))
            tell_methods(req, state.date, out);
        else
            page_method_not_allowed(req, METHODS, state.date, out);
        return true;
    }
    return false;
}

void page_not_found(const struct http_request *req, struct view date, struct buffer *out)
{
    http_reply(out, 404, json_type, VIEW("{\"detail\":\"Not Found\"}\n"), date, req->keep_alive);
}

void page_method_not_allowed(const struct http_request *req, const char *allow, struct view date,
                             struct buffer *out)
{
    struct buffer header = { 0 };
    buffer_printf(&header, "Allow: %s\r\n", allow);
    refuse(req, 405, "method_not_allowed", "this path does not have that method: see Allow", date,
           buffer_view(&header), out);
    buffer_free(&header);
}
