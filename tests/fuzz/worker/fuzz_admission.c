// Whatever the head of a request says, it is admitted or refused, by name and with
// all that a refusal has; who is admitted had a token. Input: a byte of settings, the
// head, in which "$T" stands for a good token.
#include "base/json.h"
#include "base/utf8.h"
#include "wire/token.h"
#include "worker/admission.h"

#define NOW_MS INT64_C(1760000000500)

static char secret[] = "now", previous[] = "before", none[] = "", some[] = "https://a.example";

static void add_token(struct buffer *to, struct view stream)
{
    char token[TOKEN_MAX + 1];
    buffer_add(to, token, token_mint(stream, view_of(secret), 1760003600, false, token));
}

static void write_head(struct buffer *head, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] == '$' && i + 1 < size && data[i + 1] == 'T') {
            add_token(head, VIEW("btc"));
            i++;
        } else {
            buffer_add(head, data + i, 1);
        }
}

static void check_refusal(const struct refusal *no)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = {
        { 400, "bad_request" },      { 403, "token_missing" }, { 403, "token_malformed" },
        { 403, "token_invalid" },    { 403, "token_expired" }, { 403, "origin_forbidden" },
        { 426, "upgrade_required" },
    };
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        known = known || (no->status == codes[i].status && strcmp(no->code, codes[i].code) == 0);
    CHECK(known && no->detail && *no->detail && no->headers);

    struct buffer reply = { 0 };
    http_refuse(&reply, no->status, no->code, no->detail, view_of(no->headers), false);
    const char *body = memmem(reply.at, reply.len, "\r\n\r\n", 4);
    CHECK(body != NULL);
    body += 4;
    CHECK(json_valid((struct view){ body, (size_t)(reply.at + reply.len - body) }));
    buffer_free(&reply);
}

// No line but ours: nothing that the client wrote may part one.
static void check_lines(struct view text, size_t most)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) {
        CHECK(text.at[i] != '\0');
        CHECK((text.at[i] == '\r') == (i + 1 < text.len && text.at[i + 1] == '\n'));
        lines += text.at[i] == '\r';
    }
    CHECK(lines <= most);
}

// Who is admitted to streams has a token for each: there is one, of btc.
static void check_names(const struct admission *a)
{
    if (a->route != ROUTE_HUB) {
        CHECK(utf8_valid(buffer_view(&a->id)) && view_eq(buffer_view(&a->id), VIEW("btc")));
        CHECK(a->expiry_s == 1760003600);
        return;
    }
    CHECK(a->id.len == 0 && a->stream_count <= 1 && form_tells(a->form));
    if (a->stream_count == 1) {
        CHECK(view_eq(buffer_view(&a->streams[0]), VIEW("btc")));
        CHECK(a->expiry_s == 1760003600);
    }
}

static void check_admitted(const struct admission *a, const struct http_request *req,
                           const struct config *config)
{
    struct buffer out = { 0 };
    check_names(a);
    CHECK(a->form < FORM_COUNT && (a->form == FORM_SSE) == (a->route == ROUTE_SSE));
    CHECK(!form_is_deflated(a->form) || config->compression);
    CHECK(form_is_deflated(a->form) == (a->extension != NULL));
    CHECK(a->route != ROUTE_HISTORY || (a->limit >= 1 && a->limit <= HISTORY_LIMIT_MAX));
    CHECK(admission_origin_allowed(req, config));
    if (a->route == ROUTE_WS || a->route == ROUTE_HUB) {
        admission_write_handshake(a, req, config, VIEW("Date: now\r\n"), &out);
        check_lines(buffer_view(&out), 9);
        CHECK(memmem(out.at, out.len, "bond.token", 10) == NULL);
    }
    out.len = 0;
    admission_add_cors(&out, req, config);
    check_lines(buffer_view(&out), 2);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_request req;
    if (size == 0)
        return 0;
    struct config config = { .secret = secret,
                             .secret_previous = data[0] & 1 ? previous : none,
                             .allowed_origins = data[0] & 2 ? some : none,
                             .compression = (data[0] & 4) != 0,
                             .max_streams_per_client = 16 };
    struct buffer head = { 0 };
    struct view raw_id;
    size_t used;
    write_head(&head, data + 1, size - 1);
    buffer_add(&head, "", 0);
    if (http_parse(&req, (struct view){ head.at ? head.at : "", head.len }, &used) == HTTP_DONE) {
        enum route route = admission_route(req.path, &raw_id);
        struct admission a = { 0 };
        struct refusal no = { 0 };
        if (route != ROUTE_NONE) {
            CHECK((route == ROUTE_HUB) == (raw_id.len == 0));
            CHECK(raw_id.len == 0 || memchr(raw_id.at, '/', raw_id.len) == NULL);
            if (admission_read(&a, &req, route, raw_id, &config, NOW_MS, NOW_MS, &no))
                check_admitted(&a, &req, &config);
            else
                check_refusal(&no);
        }
        admission_done(&a);
    }
    buffer_free(&head);
    return 0;
}
