#include "reply.h"

#include <stdarg.h>
#include <stdio.h>

#define ERROR_MAX 1024

size_t reply_digits(uint64_t n, char *at)
{
    char reversed[20];
    size_t len = 0;
    do
        reversed[len++] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    for (size_t i = 0; i < len; i++)
        at[i] = reversed[len - 1 - i];
    return len;
}

void reply_header(struct buffer *out, char kind, size_t n)
{
    buffer_reserve(out, 24);
    char *at = out->at + out->len;
    *at++ = kind;
    at += reply_digits(n, at);
    *at++ = '\r';
    *at++ = '\n';
    out->len = (size_t)(at - out->at);
}

void reply_status(struct buffer *out, const char *text)
{
    buffer_add(out, "+", 1);
    buffer_add_view(out, view_of(text));
    buffer_add(out, "\r\n", 2);
}

void reply_error(struct buffer *out, const char *text)
{
    buffer_add(out, "-", 1);
    buffer_add_view(out, view_of(text));
    buffer_add(out, "\r\n", 2);
}

// Line ends that came with a client's words would end the error too early.
void reply_errorf(struct buffer *out, const char *fmt, ...)
{
    char text[ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *at = text; *at; at++)
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    reply_error(out, text);
}

void reply_integer(struct buffer *out, int64_t n)
{
    if (n >= 0)
        reply_header(out, ':', (size_t)n);
    else
        buffer_printf(out, ":%lld\r\n", (long long)n);
}

void reply_bulk(struct buffer *out, struct view text)
{
    buffer_reserve(out, text.len + 26);
    reply_header(out, '$', text.len);
    buffer_add_view(out, text);
    buffer_add(out, "\r\n", 2);
}

void reply_text(struct buffer *out, const char *text)
{
    reply_bulk(out, view_of(text));
}

void reply_id(struct buffer *out, struct eventid id)
{
    char text[EVENTID_MAX];
    size_t len = reply_digits(id.ms, text);
    text[len++] = '-';
    len += reply_digits(id.seq, text + len);
    reply_bulk(out, (struct view){ text, len });
}

void reply_map(struct buffer *out, unsigned resp, size_t pairs)
{
    if (resp == 2)
        reply_header(out, '*', 2 * pairs);
    else
        reply_header(out, '%', pairs);
}

void reply_null(struct buffer *out, unsigned resp)
{
    buffer_add_view(out, resp == 2 ? VIEW("$-1\r\n") : VIEW("_\r\n"));
}

void reply_null_array(struct buffer *out, unsigned resp)
{
    buffer_add_view(out, resp == 2 ? VIEW("*-1\r\n") : VIEW("_\r\n"));
}

void reply_verbatim(struct buffer *out, unsigned resp, struct view text)
{
    if (resp == 2) {
        reply_bulk(out, text);
        return;
    }
    reply_header(out, '=', text.len + 4);
    buffer_add(out, "txt:", 4);
    buffer_add_view(out, text);
    buffer_add(out, "\r\n", 2);
}
