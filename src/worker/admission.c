#include "worker/admission.h"

#include "base/utf8.h"
#include "wire/deflate.h"
#include "wire/token.h"
#include "worker/pace.h"

#define SSE_RETRY_MS 2000

static bool refuse(struct refusal *no, int status, const char *code, const char *detail,
                   const char *headers)
{
    *no = (struct refusal){ status, code, detail, headers };
    return false;
}

static bool bad_request(struct refusal *no, const char *detail)
{
    return refuse(no, 400, "bad_request", detail, "");
}

enum route admission_route(struct view path, struct view *raw_id)
{
    static const struct {
        struct view prefix;
        enum route route;
    } routes[] = {
        { { "/ws/", 4 }, ROUTE_WS },
        { { "/sse/", 5 }, ROUTE_SSE },
        { { "/history/", 9 }, ROUTE_HISTORY },
    };
    *raw_id = (struct view){ 0 };
    if (view_eq(path, VIEW("/ws")))
        return ROUTE_HUB;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct view prefix = routes[i].prefix;
        if (!view_starts(path, prefix))
            continue;
        *raw_id = (struct view){ path.at + prefix.len, path.len - prefix.len };
        if (raw_id->len > 0 && memchr(raw_id->at, '/', raw_id->len) == NULL)
            return routes[i].route;
    }
    return ROUTE_NONE;
}

// ---- the parts of a request -----------------------------------------------------

static bool decode(struct buffer *out, struct view raw, bool plus_is_space)
{
    buffer_reserve(out, raw.len + 1);
    ptrdiff_t len = http_unescape(raw, plus_is_space, out->at);
    out->len = len < 0 ? 0 : (size_t)len;
    return len >= 0;
}

// The decoded parameter; an absent one is empty.
static bool query_value(const struct http_request *req, const char *name, struct buffer *out)
{
    struct view raw;
    out->len = 0;
    return !http_query(req->query, name, &raw) || decode(out, raw, true);
}

// Is `item` in the comma-separated list?
static bool list_has(const char *list, struct view item)
{
    while (*list) {
        const char *comma = strchrnul(list, ',');
        if (view_eq(view_trim((struct view){ list, (size_t)(comma - list) }), item))
            return true;
        list = *comma ? comma + 1 : comma;
    }
    return false;
}

// A request without an Origin comes from no browser: nobody's page is speaking.
bool admission_origin_allowed(const struct http_request *req, const struct config *config)
{
    struct view origin = http_header(req, "Origin");
    return *config->allowed_origins == '\0' || origin.at == NULL ||
           list_has(config->allowed_origins, VIEW("*")) ||
           list_has(config->allowed_origins, origin);
}

void admission_add_cors(struct buffer *out, const struct http_request *req,
                        const struct config *config)
{
    struct view origin = http_header(req, "Origin");
    if (origin.at == NULL || !admission_origin_allowed(req, config))
        return;
    buffer_add_view(out, VIEW("Access-Control-Allow-Origin: "));
    buffer_add_view(out, origin);
    buffer_add_view(out, VIEW("\r\nVary: Origin\r\n"));
}

// The first offer of an extension that we can keep counts (RFC 7692 s. 5).
static bool check_offers(struct admission *a, const struct http_request *req,
                         const struct config *config, struct refusal *no)
{
    struct http_list cursor = { 0 };
    struct view offer;
    while (http_header_next(req, "Sec-WebSocket-Extensions", &cursor, &offer)) {
        if (!ws_offer_valid(offer))
            return bad_request(no, "Sec-WebSocket-Extensions is not a list of extensions");
        if (config->compression && a->extension == NULL)
            a->extension = deflate_answer(offer);
    }
    return true;
}

static bool check_handshake(struct admission *a, const struct http_request *req,
                            const struct config *config, struct refusal *no)
{
    if (!http_header_has(req, "Connection", "upgrade") ||
        !http_header_has(req, "Upgrade", "websocket"))
        return refuse(no, 426, "upgrade_required",
                      "this is a WebSocket address: connect with ws:// or wss://",
                      "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    if (http_header_count(req, "Sec-WebSocket-Key") > 1 ||
        http_header_count(req, "Sec-WebSocket-Version") > 1) // RFC 6455 s. 11.3.1, 11.3.5
        return bad_request(no, "Sec-WebSocket-Key or Sec-WebSocket-Version stands there twice");
    if (!view_eq(http_header(req, "Sec-WebSocket-Version"), VIEW("13")))
        return refuse(no, 426, "upgrade_required",
                      "only version 13 of the WebSocket protocol is spoken here",
                      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    if (req->minor < 1 || req->has_body ||
        !ws_accept_key(http_header(req, "Sec-WebSocket-Key"), a->accept))
        return bad_request(no, "a WebSocket handshake is an HTTP/1.1 GET with a Sec-WebSocket-Key "
                               "of 16 bytes in base64");
    return check_offers(a, req, config, no);
}

// ---- the token ------------------------------------------------------------------

void admission_secrets(const struct config *config, struct view out[ADMISSION_SECRETS])
{
    out[0] = view_of(config->secret);
    out[1] = view_of(config->secret_previous);
}

// From the first place that has one: ?token=, Authorization: Bearer, the
// sub-protocol offer bond.token.<token>.
static bool find_token(const struct http_request *req, struct buffer *token)
{
    const struct view bearer = VIEW("Bearer "), offered = VIEW("bond.token.");
    struct view header = http_header(req, "Authorization"), element;
    struct http_list cursor = { 0 };
    if (!query_value(req, "token", token))
        return false;
    if (token->len == 0 && header.len > bearer.len &&
        view_eq_nocase((struct view){ header.at, bearer.len }, bearer))
        buffer_add_view(
            token, view_trim((struct view){ header.at + bearer.len, header.len - bearer.len }));
    while (token->len == 0 && http_header_next(req, "Sec-WebSocket-Protocol", &cursor, &element))
        if (view_starts(element, offered))
            buffer_add(token, element.at + offered.len, element.len - offered.len);
    return true;
}

enum token_verdict admission_verify(const struct config *config, struct view token,
                                    struct view scope, struct view stream, int64_t now_ms,
                                    int64_t *expiry_s)
{
    struct view secrets[ADMISSION_SECRETS];
    admission_secrets(config, secrets);
    enum token_verdict verdict = token_verify(token, scope.len ? scope : stream, secrets,
                                              ADMISSION_SECRETS, now_ms, expiry_s);
    if (verdict == TOKEN_OK && scope.len && !view_eq(scope, stream))
        return TOKEN_INVALID;
    return verdict;
}

static bool check_verdict(enum token_verdict verdict, struct refusal *no)
{
    return verdict == TOKEN_OK ||
           refuse(no, 403, token_verdict_name(verdict), token_verdict_sentence(verdict), "");
}

static bool check_token(struct admission *a, const struct http_request *req,
                        const struct config *config, int64_t now_ms, struct refusal *no)
{
    struct buffer token = { 0 }, scope = { 0 };
    enum token_verdict verdict = TOKEN_MALFORMED;
    if (find_token(req, &token) && query_value(req, "scope", &scope))
        verdict = admission_verify(config, buffer_view(&token), buffer_view(&scope),
                                   buffer_view(&a->id), now_ms, &a->expiry_s);
    buffer_free(&token);
    buffer_free(&scope);
    return check_verdict(verdict, no);
}

// ---- where to begin, and in what form -------------------------------------------

// An EventSource that reconnects asks for the same URL, with what it had last in
// Last-Event-ID: that goes before from and after.
static bool check_start(struct admission *a, const struct http_request *req, int64_t redis_now_ms,
                        struct refusal *no)
{
    struct buffer from = { 0 }, after = { 0 };
    const char *wrong = NULL;
    struct view last_event = http_header(req, "Last-Event-ID");
    if (!query_value(req, "from", &from) || !query_value(req, "after", &after))
        wrong = "a query parameter has a percent sign without two hex digits behind it";
    else if (a->route == ROUTE_SSE && last_event.len > 0)
        wrong = start_parse(VIEW(""), last_event, redis_now_ms, &a->start);
    else
        wrong = start_parse(buffer_view(&from), buffer_view(&after), redis_now_ms, &a->start);
    if (!wrong && a->route == ROUTE_HISTORY && from.len == 0 && after.len == 0)
        a->start.kind = START_FIRST; // history without a start is all there is
    buffer_free(&from);
    buffer_free(&after);
    return wrong ? bad_request(no, wrong) : true;
}

const char *admission_read_slow(struct view text, enum slow *slow)
{
    static const struct view names[] = { { "close", 5 }, { "skip", 4 }, { "latest", 6 } };
    *slow = SLOW_CLOSE;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!view_eq(text, names[i]))
            continue;
        *slow = (enum slow)i;
        return NULL;
    }
    return text.len == 0 ? NULL : "slow must be close, skip or latest";
}

const char *admission_read_every(struct view text, uint32_t *every_ms)
{
    *every_ms = 0;
    return text.len == 0 || every_parse(text, every_ms)
               ? NULL
               : "every must be a time from 10ms to 1h with its unit: 250ms, 1s, 5m";
}

// slow= and every=
static bool check_pace(struct admission *a, const struct http_request *req, struct refusal *no)
{
    struct buffer slow = { 0 }, every = { 0 };
    const char *wrong = "slow or every has a percent sign without two hex digits after it";
    if (query_value(req, "slow", &slow) && query_value(req, "every", &every)) {
        wrong = admission_read_slow(buffer_view(&slow), &a->slow);
        if (!wrong)
            wrong = admission_read_every(buffer_view(&every), &a->every_ms);
    }
    buffer_free(&slow);
    buffer_free(&every);
    return wrong ? bad_request(no, wrong) : true;
}

static bool check_limit(struct admission *a, const struct http_request *req, struct refusal *no)
{
    struct buffer limit = { 0 };
    a->limit = HISTORY_LIMIT_DEFAULT;
    bool ok = query_value(req, "limit", &limit) &&
              (limit.len == 0 || (view_u64(buffer_view(&limit), &a->limit) && a->limit >= 1 &&
                                  a->limit <= HISTORY_LIMIT_MAX));
    buffer_free(&limit);
    return ok || bad_request(no, "limit must be a whole number from 1 to 10000");
}

static bool check_ws_form(struct admission *a, const struct http_request *req, struct refusal *no)
{
    struct buffer format = { 0 };
    struct http_list cursor = { 0 };
    struct view element;
    while (http_header_next(req, "Sec-WebSocket-Protocol", &cursor, &element))
        a->bond_v1 = a->bond_v1 || view_eq(element, VIEW("bond.v1"));
    bool ok = query_value(req, "format", &format);
    bool raw = view_eq(buffer_view(&format), VIEW("raw"));
    bool envelope = view_eq(buffer_view(&format), VIEW("envelope"));
    ok = ok && (raw || envelope || format.len == 0);
    buffer_free(&format);
    if (!ok)
        return bad_request(no, "format must be raw or envelope");
    if (raw && a->bond_v1)
        return bad_request(
            no, "the sub-protocol bond.v1 is the envelope, but format=raw was asked for");
    bool deflated = a->extension != NULL;
    a->form = envelope || a->bond_v1 ? (deflated ? FORM_ENVELOPE_DEFLATED : FORM_ENVELOPE)
                                     : (deflated ? FORM_RAW_DEFLATED : FORM_RAW);
    return true;
}

// ---- many streams on one socket -------------------------------------------------

// The options that later subscriptions begin with. They are looked at now, so that a
// mistake is told at once.
static bool read_defaults(struct admission *a, const struct http_request *req, int64_t redis_now_ms,
                          struct refusal *no)
{
    static const char *const names[] = { "scope", "from", "after", "slow", "every" };
    struct view *const views[] = { &a->options.scope, &a->options.from, &a->options.after,
                                   &a->options.slow, &a->options.every };
    bool ok = find_token(req, &a->texts[0]);
    a->options.token = buffer_view(&a->texts[0]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        ok = query_value(req, names[i], &a->texts[i + 1]) && ok;
        *views[i] = buffer_view(&a->texts[i + 1]);
    }
    if (!ok)
        return bad_request(no,
                           "a query parameter has a percent sign without two hex digits after it");
    if (a->options.scope.len > COMMAND_SCOPE_MAX)
        return bad_request(no, "a scope has at most 512 bytes");
    const char *wrong = admission_read_slow(a->options.slow, &a->slow);
    if (!wrong)
        wrong = admission_read_every(a->options.every, &a->every_ms);
    if (!wrong)
        wrong = start_parse(a->options.from, a->options.after, redis_now_ms, &a->start);
    return wrong ? bad_request(no, wrong) : true;
}

static struct buffer *add_stream(struct admission *a)
{
    a->streams = realloc(a->streams, (a->stream_count + 1) * sizeof(*a->streams));
    CHECK(a->streams != NULL);
    a->streams[a->stream_count] = (struct buffer){ 0 };
    return &a->streams[a->stream_count++];
}

static bool is_named_before(const struct admission *a, struct view name)
{
    for (size_t i = 0; i + 1 < a->stream_count; i++)
        if (view_eq(buffer_view(&a->streams[i]), name))
            return true;
    return false;
}

static bool read_stream(struct admission *a, struct view raw, const struct config *config,
                        int64_t now_ms, struct refusal *no)
{
    struct buffer *name = add_stream(a);
    if (!decode(name, raw, true) || !utf8_valid(buffer_view(name)) || name->len == 0 ||
        name->len > COMMAND_NAME_MAX)
        return bad_request(no, "streams are ids of 1 to 512 bytes of percent-encoded UTF-8, with "
                               "commas between them");
    if (a->stream_count > (size_t)config->max_streams_per_client)
        return bad_request(no, "streams names more than BOND_MAX_STREAMS_PER_CLIENT");
    if (is_named_before(a, buffer_view(name)))
        return bad_request(no, "streams names one twice");
    return check_verdict(admission_verify(config, a->options.token, a->options.scope,
                                          buffer_view(name), now_ms, &a->expiry_s),
                         no);
}

// Split at the commas first, then decoded: %2C is a part of a name.
static bool read_streams(struct admission *a, const struct http_request *req,
                         const struct config *config, int64_t now_ms, struct refusal *no)
{
    struct view query = req->query, list;
    while (http_query_next(&query, "streams", &list))
        while (list.len > 0) {
            const char *comma = memchr(list.at, ',', list.len);
            size_t len = comma ? (size_t)(comma - list.at) : list.len, used = len + (comma != NULL);
            if (!read_stream(a, (struct view){ list.at, len }, config, now_ms, no))
                return false;
            list = (struct view){ list.at + used, list.len - used };
        }
    return true;
}

static bool read_hub(struct admission *a, const struct http_request *req,
                     const struct config *config, int64_t now_ms, int64_t redis_now_ms,
                     struct refusal *no)
{
    struct view format;
    if (!read_defaults(a, req, redis_now_ms, no) || !check_ws_form(a, req, no))
        return false;
    if (http_query(req->query, "format", &format) && view_eq(format, VIEW("raw")))
        return bad_request(no, "a socket of many streams speaks the envelope");
    a->form = a->extension ? FORM_ENVELOPE_DEFLATED : FORM_ENVELOPE;
    return read_streams(a, req, config, now_ms, no);
}

// ---- all of it ------------------------------------------------------------------

bool admission_read(struct admission *a, const struct http_request *req, enum route route,
                    struct view raw_id, const struct config *config, int64_t now_ms,
                    int64_t redis_now_ms, struct refusal *no)
{
    *a = (struct admission){ .route = route, .form = route == ROUTE_SSE ? FORM_SSE : FORM_RAW };
    if (!decode(&a->id, raw_id, false) || !utf8_valid(buffer_view(&a->id)))
        return bad_request(no, "the stream id is not percent-encoded UTF-8");
    if ((route == ROUTE_WS || route == ROUTE_HUB) && !check_handshake(a, req, config, no))
        return false;
    if (!admission_origin_allowed(req, config))
        return refuse(no, 403, "origin_forbidden",
                      "pages of this origin may not connect: see BOND_ALLOWED_ORIGINS", "");
    if (route == ROUTE_HUB)
        return read_hub(a, req, config, now_ms, redis_now_ms, no);
    if (!check_token(a, req, config, now_ms, no) || !check_start(a, req, redis_now_ms, no))
        return false;
    switch (route) {
    case ROUTE_WS: return check_pace(a, req, no) && check_ws_form(a, req, no);
    case ROUTE_SSE: return check_pace(a, req, no);
    case ROUTE_HISTORY: return check_limit(a, req, no);
    case ROUTE_HUB:
    case ROUTE_NONE: break;
    }
    CHECK(!"a route");
    return false;
}

void admission_done(struct admission *a)
{
    buffer_free(&a->id);
    for (size_t i = 0; i < HUB_OPTIONS; i++)
        buffer_free(&a->texts[i]);
    for (size_t i = 0; i < a->stream_count; i++)
        buffer_free(&a->streams[i]);
    free(a->streams);
}

// `retry` has no empty line behind it: it counts as soon as its line is read, and belongs
// to the block of the first event. A block without data is an event to some clients.
void admission_write_handshake(const struct admission *a, const struct http_request *req,
                               const struct config *config, struct view date, struct buffer *out)
{
    if (a->route == ROUTE_SSE) {
        buffer_printf(out,
                      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                      "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n");
        buffer_add_view(out, date);
        admission_add_cors(out, req, config);
        buffer_printf(out, "\r\nretry: %d\n", SSE_RETRY_MS);
        return;
    }
    buffer_printf(out,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n",
                  WS_ACCEPT_LEN, a->accept);
    buffer_add_view(out, date);
    if (a->bond_v1)
        buffer_printf(out, "Sec-WebSocket-Protocol: bond.v1\r\n");
    if (a->extension)
        buffer_printf(out, "Sec-WebSocket-Extensions: %s\r\n", a->extension);
    buffer_add_view(out, VIEW("\r\n"));
}
