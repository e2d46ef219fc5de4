// HTTP/1.1 request heads (RFC 9112) and replies. Pure: bytes in, result out; the
// request is views into the caller's bytes.
#pragma once

#include "base/base.h"

#define HTTP_HEAD_MAX (8 * KIB)
#define HTTP_HEADERS_MAX 100

enum http_result {
    HTTP_MORE, // not a whole head yet, and nothing wrong so far
    HTTP_DONE, // *used bytes were the head
    HTTP_BAD,  // answer req->status with req->why and close
};

struct http_header {
    struct view name, value; // value without blanks around it
};

struct http_request {
    struct view method;
    struct view path, query; // as sent, before and after the first '?'; without http://host
    int minor;               // HTTP/1.<minor>
    bool keep_alive;         // by version and Connection
    bool has_body;           // Content-Length over 0 or Transfer-Encoding: we read no bodies
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    int status;      // HTTP_BAD: 400, 431 (head over HTTP_HEAD_MAX, too many headers), 505
    const char *why; // HTTP_BAD: a sentence
};

// Reads one request head. Says HTTP_BAD as early as it can: a client that sends
// garbage is not read 8 KiB of it. Call it again with all the bytes so far when
// more have come: the answer does not depend on where the reads parted them.
// Strict where leniency lets requests be smuggled (obs-fold, space before the
// colon, bare CR or LF, control characters, two different Content-Lengths, both
// Content-Length and Transfer-Encoding, a last coding that is not `chunked`, no Host,
// two, or one that is no host); lenient in nothing but leading empty lines, which
// count among the head's bytes.
enum http_result http_parse(struct http_request *req, struct view bytes, size_t *used);

// The value of the only or first header of that name (case-insensitive); a view
// with at == NULL when there is none.
struct view http_header(const struct http_request *req, const char *name);
size_t http_header_count(const struct http_request *req, const char *name);
// Is `token` (case-insensitive) an element of the comma-separated lists of all
// headers of that name?
bool http_header_has(const struct http_request *req, const char *name, const char *token);

// The elements, one by one, of the comma-separated lists of all headers of that
// name, without blanks around them; empty ones are passed over, and a comma in a
// quoted string parts nothing. Start with a zeroed cursor; false at the end.
struct http_list {
    size_t header, offset;
};
bool http_header_next(const struct http_request *req, const char *name, struct http_list *cursor,
                      struct view *element);

// The raw value of a parameter of an application/x-www-form-urlencoded query: the
// first of that name. False when absent. `name` is compared as it stands, raw.
bool http_query(struct view query, const char *name, struct view *raw);
// The next one of that name; *query is what is left of the query then.
bool http_query_next(struct view *query, const char *name, struct view *raw);

// Percent-decodes into out (raw.len bytes are enough; it may be raw.at itself);
// '+' becomes a space only with plus_is_space (queries). Returns the length, or -1
// for a bad escape. What comes out may be any bytes, NUL too.
ptrdiff_t http_unescape(struct view raw, bool plus_is_space, char *out);
// The other way, for a path segment or query value: all but unreserved characters
// (RFC 3986 s. 2.3) become %XX. Appends to out.
void http_escape(struct buffer *out, struct view text);

bool http_is_token_character(char c); // RFC 9110 s. 5.6.2
// scheme://host or scheme://host:port, as in a browser's Origin: no path, no user.
bool http_is_origin(struct view text);

// The line of a Date header, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" (RFC 9110
// s. 6.6.1), for the `extra` of a reply. A server makes it for each reply: it is
// formatted once a second. Zeroed at first; one for each thread.
struct http_date {
    int64_t unix_s;
    char line[40];
};
#define HTTP_DATE_LAST_S INT64_C(253402300799) // the end of the year 9999
// The view is good until the next call. Times that have no such date get the nearest.
struct view http_date_line(struct http_date *date, int64_t unix_ms);

const char *http_status_text(int status); // "Forbidden"; "Unknown" for what we never send

// Appends a whole reply, with Content-Length and Connection: so not for a 101.
// extra: further header lines, each with its CRLF, or "". The body may be empty;
// Content-Type is left out then.
void http_reply(struct buffer *out, int status, struct view content_type, struct view body,
                struct view extra, bool keep_alive);
// The head of a reply whose body comes piece by piece: in chunks (RFC 9112 s. 7.1), each
// of which the caller frames, or, not chunked, up to the connection's end.
void http_reply_head(struct buffer *out, int status, struct view content_type, struct view extra,
                     bool chunked, bool keep_alive);
// A refusal: {"error":code,"detail":detail} and a newline. Both are texts of ours:
// plain ASCII without quotes, backslashes or control characters.
void http_refuse(struct buffer *out, int status, const char *code, const char *detail,
                 struct view extra, bool keep_alive);
