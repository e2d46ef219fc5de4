#include "worker/answer.h"

#include "base/clock.h"
#include "worker/access.h"
#include "worker/date.h"
#include "worker/hub_client.h"
#include "worker/page.h"
#include "worker/reporting.h"
#include "worker/requests.h"
#include "worker/subscription.h"

#define SAY_EVERY_MS 1000

// The X-Forwarded-For of a request may stand in several lines: they are one list.
static struct in6_addr address_of(const struct client *c, const struct http_request *req)
{
    int64_t hops = c->all->config->trust_proxy;
    struct buffer list = { 0 };
    struct http_list cursor = { 0 };
    struct view element;
    while (hops > 0 && http_header_next(req, "X-Forwarded-For", &cursor, &element)) {
        if (list.len)
            buffer_add_view(&list, VIEW(","));
        buffer_add_view(&list, element);
    }
    struct in6_addr address = door_address(c->fd, buffer_view(&list), hops);
    buffer_free(&list);
    return address;
}

static void say_refused(const struct client *c, const struct http_request *req,
                        const struct refusal *no, struct view stream, uint64_t not_said)
{
    char address[DOOR_ADDRESS_MAX];
    struct in6_addr from = address_of(c, req);
    door_show_address(&from, address);
    say(no->status == 503 ? SAY_WARN : SAY_INFO, "refused", SAY_I("status", no->status),
        SAY_S("code", no->code), SAY_S("address", address), SAY_V("stream", stream),
        SAY_S("detail", no->detail), SAY_NOT_SAID(not_said));
}

// Every refusal of a request for a stream goes through here: a reply with its
// code, a counter, a log line (rate-limited, for a bad client comes back).
static void refuse(struct client *c, const struct http_request *req, const struct refusal *no,
                   struct view stream)
{
    static struct say_limit limit;
    struct clients *all = c->all;
    struct buffer headers = { 0 };
    uint64_t missed;
    buffer_add_view(&headers, date_line(clock_wall_ms()));
    buffer_add_view(&headers, view_of(no->headers));
    admission_add_cors(&headers, req, all->config); // so that a page can read the reason
    http_refuse(client_reply(c), no->status, no->code, no->detail, buffer_view(&headers),
                req->keep_alive);
    buffer_free(&headers);
    clients_count_refusal(all, no->code);
    if (say_limited(&limit, all->loop->now_ms, SAY_EVERY_MS, &missed))
        say_refused(c, req, no, stream, missed);
}

static bool has_room(const struct clients *all, struct refusal *no)
{
    if (all->draining)
        *no = (struct refusal){ 503, "unavailable", "the broker is shutting down",
                                "Retry-After: 1\r\n" };
    else if (atomic_load_explicit(all->total, memory_order_relaxed) > all->max)
        *no =
            (struct refusal){ 503, "unavailable", "the broker has as many clients as it can serve",
                              "Retry-After: 5\r\n" };
    else
        return true;
    return false;
}

// An address that sends one bad token after another gets its refusals late, and at
// last none: guessing is to be slow, and cost us little.
static void slow_down(struct client *c, const struct http_request *req)
{
    struct in6_addr address = address_of(c, req);
    switch (door_bad_token(c->all->door, address, c->all->loop->now_ms)) {
    case DOOR_OPEN: break;
    case DOOR_SLOW: client_hold(c, address); break;
    case DOOR_SHUT: client_shut(c, "too many bad tokens"); break;
    }
}

// Tokens that come in-band count by address, too.
static bool enter_door(struct client *c, const struct http_request *req, enum route route,
                       struct visitor **visitor, struct refusal *no)
{
    const struct config *config = c->all->config;
    int64_t max = config->max_clients_per_ip ? config->max_clients_per_ip : INT64_MAX;
    *visitor = NULL;
    if (max == INT64_MAX && !config->expire_live && route != ROUTE_HUB)
        return true;
    *visitor = door_enter(c->all->door, address_of(c, req), max);
    if (*visitor == NULL)
        *no = (struct refusal){ 429, "too_many_clients",
                                "this address has as many connections as it may have",
                                "Retry-After: 5\r\n" };
    return *visitor != NULL;
}

static void answer_stream(struct client *c, const struct http_request *req, enum route route,
                          struct view raw_id)
{
    struct clients *all = c->all;
    struct admission a = { 0 };
    struct refusal no;
    struct visitor *visitor = NULL;
    int64_t now_ms = clock_wall_ms();
    if (all->draining && route == ROUTE_SSE) { // an EventSource tries again, but for a status
        client_shut(c, "drain");
        return;
    }
    bool admitted =
        admission_read(&a, req, route, raw_id, all->config, now_ms, clients_redis_now_ms(all), &no);
    if (admitted && has_room(all, &no) && enter_door(c, req, route, &visitor, &no)) {
        struct buffer head = { 0 };
        if (route == ROUTE_HISTORY) {
            buffer_add_view(&head, date_line(now_ms));
            buffer_add_view(&head, VIEW("Cache-Control: no-store\r\n"));
            admission_add_cors(&head, req, all->config);
        } else
            admission_write_handshake(&a, req, all->config, date_line(now_ms), &head);
        if (route == ROUTE_HUB)
            hub_open(c, &a, buffer_view(&head), visitor);
        else
            subscription_join(c, &a, buffer_view(&head), visitor);
        buffer_free(&head);
    } else {
        refuse(c, req, &no, buffer_view(&a.id));
        if (view_starts(view_of(no.code), VIEW("token_")))
            slow_down(c, req);
    }
    admission_done(&a);
}

static const char *route_methods(enum route route)
{
    return route == ROUTE_WS || route == ROUTE_HUB ? "GET" : "GET, OPTIONS";
}

// What a browser asks before it lets a page send a header of its own.
static void answer_preflight(struct client *c, const struct http_request *req, enum route route)
{
    struct buffer headers = { 0 };
    buffer_add_view(&headers, date_line(clock_wall_ms()));
    buffer_printf(&headers, "Allow: %s\r\n", route_methods(route));
    size_t before = headers.len;
    admission_add_cors(&headers, req, c->all->config);
    if (headers.len > before)
        buffer_add_view(&headers,
                        VIEW("Access-Control-Allow-Methods: GET\r\n"
                             "Access-Control-Allow-Headers: Authorization, Last-Event-ID\r\n"
                             "Access-Control-Max-Age: 600\r\n"));
    http_reply(client_reply(c), 204, VIEW(""), VIEW(""), buffer_view(&headers), req->keep_alive);
    buffer_free(&headers);
}

// For operators: a report, if the caller may have it.
static void answer_report(struct client *c, const struct http_request *req, enum report_kind kind)
{
    struct refusal no;
    const char *wrong;
    if (!view_eq(req->method, VIEW("GET"))) {
        page_method_not_allowed(req, "GET", date_line(clock_wall_ms()), client_reply(c));
        return;
    }
    if (!access_check(req, c->all->config, door_is_loopback(c->fd), &no)) {
        refuse(c, req, &no, VIEW(""));
        if (view_eq(view_of(no.code), VIEW("token_invalid")))
            slow_down(c, req);
        return;
    }
    struct report *report = report_new(kind, req, &wrong);
    no = (struct refusal){ 400, "bad_request", wrong, "" };
    if (report && reporting_start(c, report))
        return;
    if (report)
        no = (struct refusal){ 503, "unavailable", "too many lists of streams are being made",
                               "Retry-After: 1\r\n" };
    refuse(c, req, &no, VIEW(""));
}

static void answer_page(struct client *c, const struct http_request *req)
{
    const struct page_state state = {
        .readable = pulse_readable(c->all->pulse, clock_mono_ms()),
        .leaving = c->all->draining || atomic_load(&c->all->pulse->leaving),
        .date = date_line(clock_wall_ms()),
    };
    static const struct refusal not_found = { 404, "not_found",
                                              "no such path: streams are at /ws/{stream_id}", "" };
    if (page_answer(req, state, client_reply(c)))
        return;
    if (http_header_has(req, "Upgrade", "websocket"))
        refuse(c, req, &not_found, VIEW(""));
    else
        page_not_found(req, state.date, client_reply(c));
}

// An answer to HEAD has no body (RFC 9110 s. 9.3.2); `reply` is where it begins.
static void drop_body(struct buffer *out, size_t reply)
{
    const char *end = memmem(out->at + reply, out->len - reply, "\r\n\r\n", 4);
    CHECK(end != NULL);
    out->len = (size_t)(end + 4 - out->at);
}

void answer_request(struct client *c, const struct http_request *req)
{
    struct view raw_id;
    size_t reply = client_reply(c)->len;
    enum report_kind report;
    bool for_operators = c->admin || c->all->config->admin_port == 0;
    enum route route = c->admin ? ROUTE_NONE : admission_route(req->path, &raw_id);
    if (for_operators && report_route(req->path, &report)) {
        answer_report(c, req, report);
        if (c->state != CLIENT_HEAD)
            return;
    } else if (route == ROUTE_NONE)
        answer_page(c, req);
    else if (view_eq(req->method, VIEW("GET")))
        answer_stream(c, req, route, raw_id);
    else if (route != ROUTE_WS && route != ROUTE_HUB && view_eq(req->method, VIEW("OPTIONS")))
        answer_preflight(c, req, route);
    else
        page_method_not_allowed(req, route_methods(route), date_line(clock_wall_ms()),
                                client_reply(c));
    if (view_eq(req->method, VIEW("HEAD")) && c->state != CLIENT_DEAD)
        drop_body(client_reply(c), reply);
}
