#include "wire/resp.h"

// One element: a leaf as a whole, or the line that opens an aggregate. A reply is
// a sequence of these, so that neither scanning nor walking needs recursion.
struct element {
    struct resp_node node;
    size_t size;       // bytes of it
    uint64_t children; // elements that belong to it
    bool attribute;    // the last child is the reply that it stands before
};

// *line is what stands before the CRLF that ends it. A CR or LF alone ends nothing.
static enum resp_result read_line(struct view bytes, struct view *line)
{
    size_t window = bytes.len < RESP_LINE_MAX ? bytes.len : RESP_LINE_MAX;
    const char *cr = window ? memchr(bytes.at, '\r', window) : NULL;
    if (!cr)
        return bytes.len >= RESP_LINE_MAX ? RESP_BAD : RESP_MORE;

    *line = (struct view){ bytes.at, (size_t)(cr - bytes.at) };
    if (line->len && memchr(line->at, '\n', line->len))
        return RESP_BAD;
    if (line->len + 1 == bytes.len)
        return RESP_MORE;
    return cr[1] == '\n' ? RESP_DONE : RESP_BAD;
}

static bool parse_integer(struct view text, int64_t *out)
{
    bool negative = text.len && text.at[0] == '-';
    if (negative || (text.len && text.at[0] == '+'))
        text.at++, text.len--;

    uint64_t value;
    if (!view_u64(text, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static bool parse_length(struct view line, uint64_t *out)
{
    return view_u64(line, out) && *out <= RESP_LEN_MAX;
}

// $5\r\nhello\r\n, and the same with '=' (verbatim: "txt:" first) and '!' (error).
// `bytes` is all that there is, `line` the length in its first line.
static enum resp_result read_bulk(char kind, struct view bytes, struct view line, struct element *e)
{
    uint64_t len;
    if (kind == '$' && view_eq(line, VIEW("-1"))) {
        e->node.type = RESP_NULL;
        return RESP_DONE;
    }
    if (!parse_length(line, &len) || (kind == '=' && len < 4))
        return RESP_BAD;

    size_t begin = e->size;
    e->size += len + 2;
    if (bytes.len < e->size)
        return RESP_MORE;
    if (memcmp(bytes.at + begin + len, "\r\n", 2) != 0)
        return RESP_BAD;

    e->node.type = kind == '!' ? RESP_ERROR : RESP_STRING;
    e->node.text = (struct view){ bytes.at + begin, len };
    if (kind == '=') {
        if (e->node.text.at[3] != ':')
            return RESP_BAD;
        e->node.text.at += 4, e->node.text.len -= 4;
    }
    return RESP_DONE;
}

static enum resp_result open_aggregate(char kind, struct view line, struct element *e)
{
    uint64_t n;
    if (kind == '*' && view_eq(line, VIEW("-1"))) {
        e->node.type = RESP_NULL;
        return RESP_DONE;
    }
    if (!parse_length(line, &n))
        return RESP_BAD;

    bool pairs = kind == '%' || kind == '|';
    e->node.type = kind == '%' ? RESP_MAP : kind == '>' ? RESP_PUSH : RESP_ARRAY;
    e->node.count = pairs ? 2 * n : n;
    e->attribute = kind == '|';
    e->children = e->node.count + e->attribute;
    return RESP_DONE;
}

static enum resp_result read_element(struct view bytes, struct element *e)
{
    if (bytes.len == 0)
        return RESP_MORE;
    char kind = bytes.at[0];
    if (!memchr("+-:,#_($=!*~%>|", kind, 15))
        return RESP_BAD;

    struct view line;
    enum resp_result result = read_line((struct view){ bytes.at + 1, bytes.len - 1 }, &line);
    if (result != RESP_DONE)
        return result;
    *e = (struct element){ .size = 1 + line.len + 2 };

    switch (kind) {
    case '+':
    case '-':
        e->node.type = kind == '+' ? RESP_STRING : RESP_ERROR;
        e->node.text = line;
        return RESP_DONE;
    case '(':
    case ',':
        e->node.type = kind == '(' ? RESP_STRING : RESP_DOUBLE;
        e->node.text = line;
        return line.len ? RESP_DONE : RESP_BAD;
    case ':':
        e->node.type = RESP_INTEGER;
        return parse_integer(line, &e->node.integer) ? RESP_DONE : RESP_BAD;
    case '#':
        e->node.type = RESP_BOOL;
        e->node.integer = view_eq(line, VIEW("t"));
        return e->node.integer || view_eq(line, VIEW("f")) ? RESP_DONE : RESP_BAD;
    case '_': e->node.type = RESP_NULL; return line.len ? RESP_BAD : RESP_DONE;
    case '$':
    case '=':
    case '!': return read_bulk(kind, bytes, line, e);
    default: return open_aggregate(kind, line, e);
    }
}

enum resp_result resp_scan(struct resp_scan *scan, struct view bytes, size_t *used)
{
    do {
        struct element e;
        enum resp_result result =
            read_element((struct view){ bytes.at + scan->at, bytes.len - scan->at }, &e);
        if (result != RESP_DONE)
            return result;
        if (e.node.type == RESP_PUSH && scan->depth > 0)
            return RESP_BAD;
        scan->at += e.size;

        if (e.children) {
            if (scan->depth == RESP_DEPTH_MAX)
                return RESP_BAD;
            scan->left[scan->depth++] = e.children;
            continue;
        }
        // A leaf ends; so does each aggregate of which it was the last.
        while (scan->depth && --scan->left[scan->depth - 1] == 0)
            scan->depth--;
    } while (scan->depth);

    *used = scan->at;
    return RESP_DONE;
}

struct resp_reader resp_open(struct view reply)
{
    return (struct resp_reader){ reply.at, reply.at + reply.len };
}

static bool take(struct resp_reader *r, struct element *e)
{
    if (read_element((struct view){ r->at, (size_t)(r->end - r->at) }, e) != RESP_DONE)
        return false;
    r->at += e->size;
    return true;
}

static void skip_elements(struct resp_reader *r, uint64_t count)
{
    for (struct element e; count && take(r, &e); count += e.children)
        count--;
}

bool resp_next(struct resp_reader *r, struct resp_node *node)
{
    struct element e;
    while (take(r, &e)) {
        if (!e.attribute) {
            *node = e.node;
            return true;
        }
        skip_elements(r, e.node.count); // what it stands before comes next
    }
    return false;
}

void resp_skip(struct resp_reader *r, const struct resp_node *node)
{
    skip_elements(r, node->count);
}

void resp_command(struct buffer *out, size_t argc, const struct view *argv)
{
    buffer_printf(out, "*%zu\r\n", argc);
    for (size_t i = 0; i < argc; i++) {
        buffer_printf(out, "$%zu\r\n", argv[i].len);
        buffer_add_view(out, argv[i]);
        buffer_add_view(out, VIEW("\r\n"));
    }
}
