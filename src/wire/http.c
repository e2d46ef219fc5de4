#include "wire/http.h"

#include <stdio.h>
#include <time.h>

// A method is a word: whoever sends a longer one speaks something else.
#define METHOD_MAX 32

// ---- characters and views ---------------------------------------------------

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool http_is_token_character(char c) // RFC 9110 s. 5.6.2
{
    return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static bool is_visible(char c)
{
    return c > ' ' && c < 0x7f; // char may be signed or not: 0x80 and up is neither way in
}

static bool is_control(char c)
{
    return (uint8_t)c < ' ' || c == 0x7f;
}

static void view_drop(struct view *v, size_t len)
{
    v->at += len;
    v->len -= len;
}

// Takes what stands before the first `mark` off the front, and the mark too.
// Without one it takes nothing and says false.
static bool view_cut(struct view *v, char mark, struct view *before)
{
    const char *at = v->len ? memchr(v->at, mark, v->len) : NULL;
    if (at == NULL)
        return false;
    *before = (struct view){ v->at, (size_t)(at - v->at) };
    view_drop(v, before->len + 1);
    return true;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20; // to lower case
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// ---- hosts and origins (RFC 3986 s. 3.2) ------------------------------------

// The length of the host that `text` begins with: a name or an IPv4 address, which may
// be empty, or an address in brackets. The address itself is not judged.
static size_t host_len(struct view text)
{
    bool bracketed = text.len > 0 && text.at[0] == '[';
    size_t i = bracketed;
    for (; i < text.len; i++) {
        char c = text.at[i];
        bool escape = c == '%' && text.len - i > 2 && hex_value(text.at[i + 1]) >= 0 &&
                      hex_value(text.at[i + 2]) >= 0;
        if (escape)
            i += 2;
        else if (!is_alnum(c) && !is_one_of(c, bracketed ? "-._~!$&'()*+,;=:" : "-._~!$&'()*+,;="))
            break;
    }
    if (!bracketed)
        return i;
    return i > 1 && i < text.len && text.at[i] == ']' ? i + 1 : 0;
}

// uri-host [ ":" port ], where the port is digits, if any.
static bool is_host_and_port(struct view text)
{
    size_t i = host_len(text);
    if (i < text.len && text.at[i++] != ':')
        return false;
    while (i < text.len && is_digit(text.at[i]))
        i++;
    return i == text.len;
}

bool http_is_origin(struct view text)
{
    struct view scheme;
    if (!view_cut(&text, ':', &scheme) || !view_starts(text, VIEW("//")))
        return false;
    for (size_t i = 0; i < scheme.len; i++)
        if (!is_alnum(scheme.at[i]) && !is_one_of(scheme.at[i], "+-."))
            return false;
    view_drop(&text, 2);
    return scheme.len > 0 && !is_digit(scheme.at[0]) && host_len(text) > 0 &&
           is_host_and_port(text);
}

// ---- the request head -------------------------------------------------------
// The head is read line by line, and each line is judged as soon as it is whole.
// The steps say true, or false with the refusal in the request.

static bool refuse(struct http_request *req, int status, const char *why)
{
    req->status = status;
    req->why = why;
    return false;
}

// Looks at the method before its line is whole, so that whoever speaks TLS or
// what is plainly no HTTP hears so after a few bytes.
static bool check_method(struct http_request *req, struct view head)
{
    size_t i = 0;
    while (i < head.len && i <= METHOD_MAX && http_is_token_character(head.at[i]))
        i++;
    if (i > METHOD_MAX)
        return refuse(req, 400, "The method is too long.");
    if (i < head.len && (i == 0 || head.at[i] != ' '))
        return refuse(req, 400, "The request does not start with a method and a space.");
    return true;
}

// Takes one line off the front, without its CRLF.
static enum http_result next_line(struct http_request *req, struct view *rest, struct view *line)
{
    size_t i = 0;
    while (i < rest->len && (!is_control(rest->at[i]) || rest->at[i] == '\t'))
        i++;
    if (i == rest->len)
        return HTTP_MORE;
    if (rest->at[i] != '\r') {
        refuse(req, 400,
               rest->at[i] == '\n' ? "A line ends with a bare line feed."
                                   : "A control character stands in the head.");
        return HTTP_BAD;
    }
    if (i + 1 == rest->len)
        return HTTP_MORE;
    if (rest->at[i + 1] != '\n') {
        refuse(req, 400, "A carriage return stands without a line feed.");
        return HTTP_BAD;
    }
    *line = (struct view){ rest->at, i };
    view_drop(rest, i + 2);
    return HTTP_DONE;
}

static bool read_version(struct http_request *req, struct view v)
{
    if (v.len != 8 || !view_starts(v, VIEW("HTTP/")) || !is_digit(v.at[5]) || v.at[6] != '.' ||
        !is_digit(v.at[7]))
        return refuse(req, 400, "The request line does not end with an HTTP version.");
    if (v.at[5] != '1')
        return refuse(req, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    req->minor = v.at[7] - '0';
    return true;
}

// "http://host/path" is what a client sends to a proxy, but every server has to
// take it (RFC 9112 s. 3.2.2). Drops the host; what is left may be empty.
static bool drop_authority(struct view *target)
{
    struct view scheme, rest = *target;
    if (!view_cut(&rest, ':', &scheme) || !view_starts(rest, VIEW("//")) ||
        !(view_eq_nocase(scheme, VIEW("http")) || view_eq_nocase(scheme, VIEW("https"))))
        return false;
    view_drop(&rest, 2);
    struct view authority = { rest.at, 0 };
    while (authority.len < rest.len && !is_one_of(rest.at[authority.len], "/?"))
        authority.len++;
    view_drop(&rest, authority.len);
    *target = rest;
    return is_host_and_port(authority);
}

static bool read_target(struct http_request *req, struct view target)
{
    for (size_t i = 0; i < target.len; i++) {
        if (!is_visible(target.at[i]))
            return refuse(req, 400, "The request target has a character that must be escaped.");
    }
    if (!view_starts(target, VIEW("/")) && !view_eq(target, VIEW("*")) && !drop_authority(&target))
        return refuse(req, 400, "The request target is no path.");

    req->query = target;
    if (!view_cut(&req->query, '?', &req->path)) {
        req->path = target;
        view_drop(&req->query, target.len);
    }
    if (req->path.len == 0)
        req->path = VIEW("/"); // of http://host
    return true;
}

static bool read_request_line(struct http_request *req, struct view line)
{
    struct view target;
    if (!view_cut(&line, ' ', &req->method) || !view_cut(&line, ' ', &target))
        return refuse(req, 400, "The request line is not a method, a target and a version.");
    return read_version(req, line) && read_target(req, target);
}

static bool read_header(struct http_request *req, struct view line)
{
    struct http_header h;
    if (line.at[0] == ' ' || line.at[0] == '\t')
        return refuse(req, 400, "A header line starts with a space: folding is not allowed.");
    if (!view_cut(&line, ':', &h.name) || h.name.len == 0)
        return refuse(req, 400, "A header line has no name and colon.");
    for (size_t i = 0; i < h.name.len; i++) {
        if (!http_is_token_character(h.name.at[i]))
            return refuse(req, 400, "A header name has a space or another character in it.");
    }
    if (req->header_count == HTTP_HEADERS_MAX)
        return refuse(req, 431, "The request has more than 100 headers.");
    h.value = view_trim(line);
    req->headers[req->header_count++] = h;
    return true;
}

// ---- what the headers say together ------------------------------------------

static bool judge_host(struct http_request *req) // RFC 9112 s. 3.2
{
    size_t count = http_header_count(req, "Host");
    if (count > 1)
        return refuse(req, 400, "The request has more than one Host.");
    if (count == 0 && req->minor >= 1)
        return refuse(req, 400, "The request has no Host.");
    if (!is_host_and_port(http_header(req, "Host")))
        return refuse(req, 400, "Host is not a host, or a host and a port.");
    return true;
}

// *length is 0 when there is no Content-Length, or when it says so.
static bool read_content_length(struct http_request *req, uint64_t *length)
{
    bool seen = false;
    *length = 0;
    for (size_t i = 0; i < req->header_count; i++) {
        if (!view_eq_nocase(req->headers[i].name, VIEW("Content-Length")))
            continue;
        uint64_t value;
        if (!view_u64(req->headers[i].value, &value))
            return refuse(req, 400, "Content-Length is not a number.");
        if (seen && value != *length)
            return refuse(req, 400, "Two Content-Lengths differ.");
        seen = true;
        *length = value;
    }
    return true;
}

// Only `chunked` says where a body ends, and only as the last coding, applied once.
static bool ends_with_chunked(const struct http_request *req)
{
    struct http_list cursor = { 0 };
    struct view coding;
    bool chunked = false;
    while (http_header_next(req, "Transfer-Encoding", &cursor, &coding)) {
        if (chunked)
            return false;
        chunked = view_eq_nocase(coding, VIEW("chunked"));
    }
    return chunked;
}

// We read no body, yet must agree with every proxy on whether there is one: what
// we took for the next request could be one that somebody hid in a body (RFC 9112
// s. 6.1, 6.3).
static bool judge_body(struct http_request *req)
{
    uint64_t length;
    if (!read_content_length(req, &length))
        return false;
    bool coded = http_header_count(req, "Transfer-Encoding") > 0;
    if (coded && http_header_count(req, "Content-Length") > 0)
        return refuse(req, 400, "Content-Length and Transfer-Encoding exclude each other.");
    if (coded && req->minor == 0)
        return refuse(req, 400, "HTTP/1.0 has no Transfer-Encoding.");
    if (coded && !ends_with_chunked(req))
        return refuse(req, 400, "Transfer-Encoding does not end with chunked, once.");
    req->has_body = coded || length > 0;
    return true;
}

static bool judge_headers(struct http_request *req)
{
    if (!judge_host(req) || !judge_body(req))
        return false;
    req->keep_alive = !http_header_has(req, "Connection", "close") &&
                      (req->minor >= 1 || http_header_has(req, "Connection", "keep-alive"));
    return true;
}

// Takes the head off the front of *rest when it is whole.
static enum http_result read_head(struct http_request *req, struct view *rest)
{
    while (view_starts(*rest, VIEW("\r\n"))) // RFC 9112 s. 2.2
        view_drop(rest, 2);
    if (view_eq(*rest, VIEW("\r")))
        return HTTP_MORE; // of an empty line, perhaps
    if (!check_method(req, *rest))
        return HTTP_BAD;

    struct view line;
    enum http_result got = next_line(req, rest, &line);
    if (got == HTTP_DONE && !read_request_line(req, line))
        return HTTP_BAD;
    while (got == HTTP_DONE) {
        got = next_line(req, rest, &line);
        if (got == HTTP_DONE && line.len == 0)
            return judge_headers(req) ? HTTP_DONE : HTTP_BAD;
        if (got == HTTP_DONE && !read_header(req, line))
            return HTTP_BAD;
    }
    return got;
}

// Nothing after HTTP_HEAD_MAX is looked at, so that the answer to a long head
// does not depend on how much of it one read happened to bring.
enum http_result http_parse(struct http_request *req, struct view bytes, size_t *used)
{
    *req = (struct http_request){ 0 };
    *used = 0;
    bool full = bytes.len >= HTTP_HEAD_MAX;
    struct view rest = { bytes.at, full ? HTTP_HEAD_MAX : bytes.len };

    enum http_result result = read_head(req, &rest);
    if (result == HTTP_DONE)
        *used = (size_t)(rest.at - bytes.at);
    if (result == HTTP_MORE && full) {
        refuse(req, 431, "The request head is over 8 KiB.");
        return HTTP_BAD;
    }
    return result;
}

// ---- reading headers --------------------------------------------------------

struct view http_header(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->header_count; i++) {
        if (view_eq_nocase(req->headers[i].name, view_of(name)))
            return req->headers[i].value;
    }
    return (struct view){ 0 };
}

size_t http_header_count(const struct http_request *req, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < req->header_count; i++)
        count += view_eq_nocase(req->headers[i].name, view_of(name));
    return count;
}

// Up to the first comma that is not within a quoted string (RFC 9110 s. 5.6.4).
static size_t element_len(struct view list)
{
    bool quoted = false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.at[i];
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            i++;
        else if (c == ',' && !quoted)
            return i;
    }
    return list.len;
}

bool http_header_next(const struct http_request *req, const char *name, struct http_list *cursor,
                      struct view *element)
{
    for (; cursor->header < req->header_count; cursor->header++, cursor->offset = 0) {
        const struct http_header *h = &req->headers[cursor->header];
        if (!view_eq_nocase(h->name, view_of(name)))
            continue;
        while (cursor->offset < h->value.len) {
            struct view rest = { h->value.at + cursor->offset, h->value.len - cursor->offset };
            size_t len = element_len(rest);
            cursor->offset += len + 1;
            *element = view_trim((struct view){ rest.at, len });
            if (element->len)
                return true;
        }
    }
    return false;
}

bool http_header_has(const struct http_request *req, const char *name, const char *token)
{
    struct http_list cursor = { 0 };
    struct view element;
    while (http_header_next(req, name, &cursor, &element)) {
        if (view_eq_nocase(element, view_of(token)))
            return true;
    }
    return false;
}

// ---- queries and escapes ----------------------------------------------------

bool http_query_next(struct view *query, const char *name, struct view *raw)
{
    while (query->len) {
        struct view pair, key;
        if (!view_cut(query, '&', &pair)) {
            pair = *query;
            view_drop(query, query->len);
        }
        if (!view_cut(&pair, '=', &key)) {
            key = pair;
            view_drop(&pair, pair.len);
        }
        if (view_eq(key, view_of(name))) {
            *raw = pair;
            return true;
        }
    }
    return false;
}

bool http_query(struct view query, const char *name, struct view *raw)
{
    return http_query_next(&query, name, raw);
}

ptrdiff_t http_unescape(struct view raw, bool plus_is_space, char *out)
{
    ptrdiff_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.at[i];
        if (c == '%') {
            int high = raw.len - i > 2 ? hex_value(raw.at[i + 1]) : -1;
            int low = high >= 0 ? hex_value(raw.at[i + 2]) : -1;
            if (low < 0)
                return -1;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    return len;
}

void http_escape(struct buffer *out, struct view text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
            buffer_add(out, &c, 1);
        else
            buffer_printf(out, "%%%02X", (unsigned)(uint8_t)c);
    }
}

// ---- replies ----------------------------------------------------------------

const char *http_status_text(int status)
{
    switch (status) {
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
    }
}

// gmtime_r and these rather than strftime, whose names a locale may change.
struct view http_date_line(struct http_date *date, int64_t unix_ms)
{
    static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    int64_t unix_s = unix_ms < 0 ? 0 : unix_ms / MS_PER_S;
    if (unix_s > HTTP_DATE_LAST_S)
        unix_s = HTTP_DATE_LAST_S;
    if (date->line[0] == '\0' || date->unix_s != unix_s) {
        const time_t time = (time_t)unix_s;
        struct tm t;
        CHECK(gmtime_r(&time, &t) != NULL);
        date->unix_s = unix_s;
        snprintf(date->line, sizeof(date->line), "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                 days[t.tm_wday], t.tm_mday, months[t.tm_mon], t.tm_year + 1900, t.tm_hour,
                 t.tm_min, t.tm_sec);
    }
    return view_of(date->line);
}

void http_reply(struct buffer *out, int status, struct view content_type, struct view body,
                struct view extra, bool keep_alive)
{
    buffer_printf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    if (body.len)
        buffer_printf(out, "Content-Type: " VIEW_FMT "\r\n", VIEW_ARG(content_type));
    if (status != 204) // which has no body, nor a length (RFC 9110 s. 8.6)
        buffer_printf(out, "Content-Length: %zu\r\n", body.len);
    buffer_printf(out, "Connection: %s\r\n", keep_alive ? "keep-alive" : "close");
    buffer_add_view(out, extra);
    buffer_add_view(out, VIEW("\r\n"));
    buffer_add_view(out, body);
}

void http_reply_head(struct buffer *out, int status, struct view content_type, struct view extra,
                     bool chunked, bool keep_alive)
{
    buffer_printf(out, "HTTP/1.1 %d %s\r\nContent-Type: " VIEW_FMT "\r\n", status,
                  http_status_text(status), VIEW_ARG(content_type));
    if (chunked)
        buffer_add_view(out, VIEW("Transfer-Encoding: chunked\r\n"));
    buffer_printf(out, "Connection: %s\r\n", keep_alive ? "keep-alive" : "close");
    buffer_add_view(out, extra);
    buffer_add_view(out, VIEW("\r\n"));
}

void http_refuse(struct buffer *out, int status, const char *code, const char *detail,
                 struct view extra, bool keep_alive)
{
    struct buffer body = { 0 };
    buffer_printf(&body, "{\"error\":\"%s\",\"detail\":\"%s\"}\n", code, detail);
    http_reply(out, status, VIEW("application/json"), buffer_view(&body), extra, keep_alive);
    buffer_free(&body);
}
