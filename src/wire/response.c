#include "wire/response.h"

#include "wire/http.h"

static enum response_result bad(struct response *r, const char *why)
{
    r->why = why;
    return RESPONSE_BAD;
}

// HTTP/1.1 101 Switching Protocols: the reason may be empty, and its space may be missing.
static bool read_status_line(struct response *r, struct view line)
{
    if (!view_starts(line, VIEW("HTTP/1.")) || line.len < 12 || line.at[8] != ' ')
        return false;
    uint64_t status;
    if (!view_u64((struct view){ line.at + 9, 3 }, &status) || status < 100 || status > 599)
        return false;
    r->status = (int)status;
    return line.len == 12 || line.at[12] == ' ';
}

static const char *read_header(struct response *r, struct view line)
{
    const char *colon = line.len ? memchr(line.at, ':', line.len) : NULL;
    if (!colon || colon == line.at)
        return "a header line has no name";
    if (r->header_count == RESPONSE_HEADERS_MAX)
        return "it has over 100 headers";
    struct view name = { line.at, (size_t)(colon - line.at) };
    for (size_t i = 0; i < name.len; i++)
        if (!http_is_token_character(name.at[i]))
            return "the name of a header is none";
    struct view value = { colon + 1, line.len - name.len - 1 };
    r->headers[r->header_count++] = (struct response_header){ name, view_trim(value) };
    return NULL;
}

static const char *read_length(struct response *r)
{
    struct view length = response_header(r, "Content-Length");
    r->body_len = UINT64_MAX;
    if (r->status < 200 || r->status == 204 || r->status == 304)
        r->body_len = 0;
    else if (length.at && !response_header(r, "Transfer-Encoding").at &&
             !view_u64(length, &r->body_len))
        return "its Content-Length is no number";
    return NULL;
}

// Takes a line and its end, CRLF or, as some write it, LF. False: it is not whole.
static bool next_line(struct view *bytes, struct view *line)
{
    const char *end = bytes->len ? memchr(bytes->at, '\n', bytes->len) : NULL;
    if (!end)
        return false;
    *line = (struct view){ bytes->at, (size_t)(end - bytes->at) };
    *bytes = (struct view){ end + 1, bytes->len - line->len - 1 };
    if (line->len && line->at[line->len - 1] == '\r')
        line->len--;
    return true;
}

static enum response_result incomplete(struct response *r, struct view bytes)
{
    static const char start[] = "HTTP/1.";
    size_t len = bytes.len < sizeof(start) - 1 ? bytes.len : sizeof(start) - 1;
    if (len && memcmp(bytes.at, start, len) != 0)
        return bad(r, "what answers is no web server");
    if (bytes.len >= RESPONSE_HEAD_MAX)
        return bad(r, "its head is over 16 KiB");
    return RESPONSE_MORE;
}

enum response_result response_parse(struct response *r, struct view bytes, size_t *used)
{
    *r = (struct response){ 0 };
    struct view left = bytes, line;
    if (!next_line(&left, &line))
        return incomplete(r, bytes);
    if (!read_status_line(r, line))
        return bad(r, "what answers is no web server");
    while (next_line(&left, &line)) {
        const char *why = line.len ? read_header(r, line) : read_length(r);
        *used = bytes.len - left.len;
        if (why || *used > RESPONSE_HEAD_MAX)
            return bad(r, why ? why : "its head is over 16 KiB");
        if (line.len == 0)
            return RESPONSE_DONE;
    }
    return incomplete(r, bytes);
}

struct view response_header(const struct response *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (view_eq_nocase(r->headers[i].name, view_of(name)))
            return r->headers[i].value;
    return (struct view){ 0 };
}

int64_t response_retry_after_s(const struct response *r, int64_t most)
{
    uint64_t seconds;
    if (!view_u64(response_header(r, "Retry-After"), &seconds))
        return -1;
    return seconds < (uint64_t)most ? (int64_t)seconds : most;
}
