#include "worker/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/deflate.h"
#include "wire/token.h"

// ---- how the tests speak ----------------------------------------------------
// Requests are literal heads; "$T" in one stands for a good token, "$B" for one that
// was signed with another secret, "$E" for one that has expired.

#define NOW_MS INT64_C(1760000000500)
#define REDIS_NOW_MS (NOW_MS + 3000)
#define EXPIRY_S INT64_C(1760003600)
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE                                                                                    \
    "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY
#define GET(target) "GET " target " HTTP/1.1\r\n"
#define WS(query, headers) GET("/ws/btc?" query) UPGRADE headers "\r\n"
#define SSE(query, headers) GET("/sse/btc?" query) "Host: h\r\n" headers "\r\n"
#define HISTORY(query, headers) GET("/history/btc?" query) "Host: h\r\n" headers "\r\n"

static char secret[] = "now", previous[] = "before", none[] = "";
static struct config config;
static struct http_request req;
static struct admission a;
static struct refusal no;
static struct buffer head, out;

static int set_up(void **state)
{
    (void)state;
    config = (struct config){
        .secret = secret, .secret_previous = none, .allowed_origins = none, .compression = 1
    };
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    admission_done(&a);
    buffer_free(&head);
    buffer_free(&out);
    return 0;
}

static void add_token(struct buffer *to, struct view key, int64_t expiry_s, bool full)
{
    char token[TOKEN_MAX + 1];
    buffer_add(to, token, token_mint(VIEW("btc"), key, expiry_s, full, token));
}

static void write_head(const char *text)
{
    head.len = 0;
    for (; *text; text++) {
        char what = *text == '$' ? *++text : '\0';
        switch (what) {
        case 'T': add_token(&head, view_of(secret), EXPIRY_S, false); break;
        case 'F': add_token(&head, view_of(secret), EXPIRY_S, true); break;
        case 'P': add_token(&head, view_of(previous), EXPIRY_S, false); break;
        case 'B': add_token(&head, VIEW("another"), EXPIRY_S, false); break;
        case 'E': add_token(&head, view_of(secret), 1760000000, false); break;
        default: buffer_add(&head, text, 1);
        }
    }
}

static enum route parse(const char *text, struct view *raw_id)
{
    size_t used;
    write_head(text);
    if (http_parse(&req, buffer_view(&head), &used) != HTTP_DONE)
        fail_msg("%s: %s", req.why, head.at);
    assert_int_equal(used, head.len);
    return admission_route(req.path, raw_id);
}

static bool read_head(const char *text)
{
    struct view raw_id;
    enum route route = parse(text, &raw_id);
    assert_int_not_equal(route, ROUTE_NONE);
    admission_done(&a);
    no = (struct refusal){ 0 };
    return admission_read(&a, &req, route, raw_id, &config, NOW_MS, REDIS_NOW_MS, &no);
}

static void assert_admits(const char *text)
{
    if (!read_head(text))
        fail_msg("refused, %d %s, %s: %.*s", no.status, no.code, no.detail, (int)head.len, head.at);
}

static void assert_refuses(const char *text, int status, const char *code)
{
    if (read_head(text))
        fail_msg("admitted: %.*s", (int)head.len, head.at);
    assert_int_equal(no.status, status);
    assert_string_equal(no.code, code);
    assert_non_null(no.detail);
    assert_non_null(no.headers);
    assert_true(strlen(no.detail) > 10);
    size_t len = strlen(no.headers);
    assert_true(len == 0 || strcmp(no.headers + len - 2, "\r\n") == 0);
    assert_null(strpbrk(no.detail, "\"\\\r\n")); // it goes into JSON as it is
}

// ---- routes -----------------------------------------------------------------

static void paths_lead_to_streams(void **state)
{
    (void)state;
    static const struct {
        const char *path, *id;
        enum route route;
    } cases[] = {
        { "/ws/btc", "btc", ROUTE_WS },
        { "/sse/btc", "btc", ROUTE_SSE },
        { "/history/btc", "btc", ROUTE_HISTORY },
        { "/ws/a%2Fb", "a%2Fb", ROUTE_WS },
        { "/ws/ws", "ws", ROUTE_WS },
        { "/ws/", "", ROUTE_NONE },
        { "/ws", "", ROUTE_HUB },
        { "/ws/a/b", "", ROUTE_NONE },
        { "/ws/a/", "", ROUTE_NONE },
        { "/ws//a", "", ROUTE_NONE },
        { "/WS/a", "", ROUTE_NONE },
        { "/sse/", "", ROUTE_NONE },
        { "/history/", "", ROUTE_NONE },
        { "/", "", ROUTE_NONE },
        { "", "", ROUTE_NONE },
        { "/other/a", "", ROUTE_NONE },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct view raw_id = { "", 0 };
        assert_int_equal(admission_route(view_of(cases[i].path), &raw_id), cases[i].route);
        if (cases[i].route != ROUTE_NONE)
            assert_true(view_eq(raw_id, view_of(cases[i].id)));
    }
}

static void a_streams_id_is_percent_encoded_utf8(void **state)
{
    (void)state;
    config.compression = 0;
    assert_admits(GET("/ws/%62t%63?token=$T") UPGRADE "\r\n");
    assert_true(view_eq(buffer_view(&a.id), VIEW("btc")));
    assert_refuses(GET("/ws/bt%zz?token=$T") UPGRADE "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/bt%?token=$T") UPGRADE "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/bt%ff?token=$T") UPGRADE "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/b+c?token=$T") UPGRADE "\r\n", 403, "token_invalid"); // no space
    assert_true(view_eq(buffer_view(&a.id), VIEW("b+c")));
}

// ---- the handshake ----------------------------------------------------------

static void the_handshake_is_answered_by_its_key(void **state)
{
    (void)state;
    assert_admits(WS("token=$T", ""));
    assert_memory_equal(a.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN); // RFC 6455
    assert_int_equal(a.form, FORM_RAW);
    assert_int_equal(a.start.kind, START_LIVE);
    assert_int_equal(a.expiry_s, EXPIRY_S);
    assert_int_equal(a.slow, SLOW_CLOSE);
}

static void without_an_upgrade_it_is_required(void **state)
{
    (void)state;
    static const char *const heads[] = {
        GET("/ws/btc?token=$T") "Host: h\r\n\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nConnection: Upgrade\r\n\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nUpgrade: websocket\r\n\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" KEY
                                "\r\n",
        GET("/ws/btc?token=$T") "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                "Sec-WebSocket-Version: 8\r\n" KEY "\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        assert_refuses(heads[i], 426, "upgrade_required");
        assert_non_null(strstr(no.headers, "Upgrade: websocket\r\n"));
    }
    assert_non_null(strstr(no.headers, "Sec-WebSocket-Version: 13\r\n"));
}

static void a_bad_handshake_is_a_bad_request(void **state)
{
    (void)state;
#define HANDSHAKE                                                                                  \
    "Host: h\r\nConnection: upgrade, keep-alive\r\nUpgrade: WebSocket\r\n"                         \
    "Sec-WebSocket-Version: 13\r\n"
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE "Sec-WebSocket-Key: abc\r\n\r\n", 400,
                   "bad_request");
    assert_refuses("GET /ws/btc?token=$T HTTP/1.0\r\n" HANDSHAKE KEY "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE KEY "Content-Length: 5\r\n\r\n", 400,
                   "bad_request");
    assert_admits(GET("/ws/btc?token=$T") HANDSHAKE KEY "Content-Length: 0\r\n\r\n");
    // RFC 6455 s. 11.3.1, 11.3.5: at most once, the same or not.
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE KEY KEY "\r\n", 400, "bad_request");
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE KEY "Sec-WebSocket-Version: 13\r\n\r\n", 400,
                   "bad_request");
    assert_refuses(GET("/ws/btc?token=$T") HANDSHAKE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 400,
                   "bad_request");
#undef HANDSHAKE
}

static void other_routes_need_no_upgrade(void **state)
{
    (void)state;
    assert_admits(SSE("token=$T", ""));
    assert_int_equal(a.form, FORM_SSE);
    assert_admits(HISTORY("token=$T", ""));
    assert_int_equal(a.form, FORM_RAW);
    assert_admits("GET /sse/btc?token=$T HTTP/1.0\r\n\r\n");
}

// ---- tokens -----------------------------------------------------------------

static void each_verdict_has_its_name(void **state)
{
    (void)state;
    assert_refuses(WS("", ""), 403, "token_missing");
    assert_refuses(WS("token=", ""), 403, "token_missing");
    assert_refuses(WS("token=x", ""), 403, "token_malformed");
    assert_refuses(WS("token=%zz", ""), 403, "token_malformed");
    assert_refuses(WS("token=$B", ""), 403, "token_invalid");
    assert_refuses(WS("token=$E", ""), 403, "token_expired");
    assert_refuses(SSE("", ""), 403, "token_missing");
    assert_refuses(HISTORY("token=$B", ""), 403, "token_invalid");
    assert_refuses(GET("/ws/eth?token=$T") UPGRADE "\r\n", 403, "token_invalid");
}

static void a_token_may_stand_in_three_places(void **state)
{
    (void)state;
    assert_admits(WS("token=$T", ""));
    assert_admits(WS("token=$F", ""));
    assert_admits(WS("from=last&token=$T", ""));
    assert_admits(WS("", "Authorization: Bearer $T\r\n"));
    assert_admits(WS("", "authorization: bearer   $T  \r\n"));
    assert_admits(WS("", "Sec-WebSocket-Protocol: bond.v1, bond.token.$T\r\n"));
    assert_admits(WS("", "Sec-WebSocket-Protocol: bond.token.$T\r\n"));
    assert_admits(WS("", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: bond.token.$T\r\n"));
    assert_admits(SSE("", "Authorization: Bearer $T\r\n"));
    assert_admits(HISTORY("", "Authorization: Bearer $T\r\n"));
}

// The first place that has one is the one that counts.
static void a_token_is_taken_from_the_query_before_the_header(void **state)
{
    (void)state;
    assert_admits(WS("token=$T", "Authorization: Bearer $B\r\n"));
    assert_refuses(WS("token=$B", "Authorization: Bearer $T\r\n"), 403, "token_invalid");
    assert_admits(WS("token=", "Authorization: Bearer $T\r\n"));
    assert_admits(WS("", "Authorization: Bearer $T\r\nSec-WebSocket-Protocol: bond.token.$B\r\n"));
    assert_refuses(WS("", "Authorization: Bearer $B\r\nSec-WebSocket-Protocol: bond.token.$T\r\n"),
                   403, "token_invalid");
    assert_admits(WS("", "Authorization: Basic eDp5\r\nSec-WebSocket-Protocol: bond.token.$T\r\n"));
    assert_refuses(WS("", "Sec-WebSocket-Protocol: bond.token.$B, bond.token.$T\r\n"), 403,
                   "token_invalid");
    assert_refuses(WS("token=$B&token=$T", ""), 403, "token_invalid");
}

static void text_that_is_nearly_a_token_is_none(void **state)
{
    (void)state;
    assert_refuses(WS("", "Authorization: Bearer\r\n"), 403, "token_missing");
    assert_refuses(WS("", "Authorization: Bearer \r\n"), 403, "token_missing");
    assert_refuses(WS("", "Authorization: Basic $T\r\n"), 403, "token_missing");
    assert_refuses(WS("", "Authorization: $T\r\n"), 403, "token_missing");
    assert_refuses(WS("", "Sec-WebSocket-Protocol: bond.token.\r\n"), 403, "token_missing");
    assert_refuses(WS("", "Sec-WebSocket-Protocol: $T\r\n"), 403, "token_missing");
    assert_refuses(WS("Token=$T", ""), 403, "token_missing");
}

static void a_token_is_good_to_its_last_millisecond(void **state)
{
    (void)state;
    struct view raw_id;
    enum route route = parse(SSE("token=$T", ""), &raw_id);
    assert_true(admission_read(&a, &req, route, raw_id, &config, EXPIRY_S * 1000, 0, &no));
    admission_done(&a);
    assert_false(admission_read(&a, &req, route, raw_id, &config, EXPIRY_S * 1000 + 1, 0, &no));
    assert_string_equal(no.code, "token_expired");
}

static void the_previous_secret_is_taken_while_it_is_set(void **state)
{
    (void)state;
    struct view secrets[ADMISSION_SECRETS];
    assert_refuses(WS("token=$P", ""), 403, "token_invalid");
    config.secret_previous = previous;
    assert_admits(WS("token=$P", ""));
    assert_admits(WS("token=$T", ""));
    admission_secrets(&config, secrets);
    assert_true(view_eq(secrets[0], VIEW("now")));
    assert_true(view_eq(secrets[1], VIEW("before")));
}

// ---- origins ----------------------------------------------------------------

#define ORIGIN "Origin: https://a.example\r\n"

static void assert_cors(const char *expected)
{
    out.len = 0;
    admission_add_cors(&out, &req, &config);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
}

static void all_origins_may_connect_unless_some_are_named(void **state)
{
    (void)state;
    assert_admits(WS("token=$T", ORIGIN));
    assert_cors("Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n");
    char all[] = "*";
    config.allowed_origins = all;
    assert_admits(WS("token=$T", ORIGIN));
    assert_cors("Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n");
    assert_admits(WS("token=$T", "Origin: null\r\n"));
}

static void only_the_named_origins_may_connect(void **state)
{
    (void)state;
    char named[] = "https://b.example , https://a.example";
    config.allowed_origins = named;
    assert_admits(SSE("token=$T", ORIGIN));
    assert_cors("Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n");
    static const char *const others[] = {
        SSE("token=$T", "Origin: https://c.example\r\n"),
        SSE("token=$T", "Origin: http://a.example\r\n"),
        SSE("token=$T", "Origin: https://a.example:8443\r\n"),
        SSE("token=$T", "Origin: https://a.example.evil\r\n"),
        SSE("token=$T", "Origin: https://a.exampl\r\n"),
        SSE("token=$T", "Origin: null\r\n"),
        SSE("token=$T", "Origin: *\r\n"),
        SSE("token=$T", "Origin:\r\n"),
        WS("token=$T", "Origin: https://c.example\r\n"),
        HISTORY("token=$T", "Origin: https://c.example\r\n"),
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_refuses(others[i], 403, "origin_forbidden");
        assert_cors("");
    }
}

static void a_request_without_an_origin_is_from_no_page(void **state)
{
    (void)state;
    char named[] = "https://b.example";
    config.allowed_origins = named;
    assert_admits(WS("token=$T", ""));
    assert_cors("");
    assert_admits(SSE("token=$T", ""));
    assert_cors("");
}

// The page learns that it may not connect, not whether its token was good.
static void an_origin_is_looked_at_before_the_token(void **state)
{
    (void)state;
    char named[] = "https://b.example";
    config.allowed_origins = named;
    assert_refuses(WS("token=$B", ORIGIN), 403, "origin_forbidden");
}

// ---- where to begin ---------------------------------------------------------

static void from_and_after_are_read(void **state)
{
    (void)state;
    assert_admits(WS("token=$T&from=last", ""));
    assert_int_equal(a.start.kind, START_LAST);
    assert_admits(WS("token=$T&from=first", ""));
    assert_int_equal(a.start.kind, START_FIRST);
    assert_admits(WS("token=$T&from=now-2s", ""));
    assert_int_equal(a.start.kind, START_TIME);
    assert_int_equal(a.start.at_ms, REDIS_NOW_MS - 2000); // by Redis's clock
    assert_admits(WS("token=$T&from=17-3", ""));
    assert_int_equal(a.start.kind, START_ID);
    assert_admits(WS("token=$T&after=17%2D3", ""));
    assert_int_equal(a.start.kind, START_AFTER);
    assert_int_equal(a.start.id.ms, 17);
    assert_int_equal(a.start.id.seq, 3);
    assert_admits(WS("token=$T&from=&after=", ""));
    assert_int_equal(a.start.kind, START_LIVE);
}

static void a_start_that_does_not_parse_is_a_bad_request(void **state)
{
    (void)state;
    assert_refuses(WS("token=$T&from=yesterday", ""), 400, "bad_request");
    assert_non_null(strstr(no.detail, "expected"));
    assert_refuses(WS("token=$T&after=17", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&from=1-1&after=1-1", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&from=%zz", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&after=%", ""), 400, "bad_request");
    assert_refuses(SSE("token=$T&from=yesterday", ""), 400, "bad_request");
    assert_refuses(SSE("token=$T", "Last-Event-ID: x\r\n"), 400, "bad_request");
    assert_refuses(HISTORY("token=$T&after=x", ""), 400, "bad_request");
}

// An EventSource asks for the same URL each time.
static void the_last_event_id_goes_before_the_url(void **state)
{
    (void)state;
    assert_admits(SSE("token=$T&from=first", "Last-Event-ID: 17-3\r\n"));
    assert_int_equal(a.start.kind, START_AFTER);
    assert_int_equal(a.start.id.ms, 17);
    assert_admits(SSE("token=$T&after=9-9", "Last-Event-ID: 17-3\r\n"));
    assert_int_equal(a.start.id.ms, 17);
    assert_admits(SSE("token=$T&after=9-9", "Last-Event-ID:\r\n"));
    assert_int_equal(a.start.id.ms, 9);
    assert_admits(WS("token=$T&after=9-9", "Last-Event-ID: 17-3\r\n")); // no event stream
    assert_int_equal(a.start.id.ms, 9);
}

static void a_history_begins_at_the_first(void **state)
{
    (void)state;
    assert_admits(HISTORY("token=$T", ""));
    assert_int_equal(a.start.kind, START_FIRST);
    assert_admits(HISTORY("token=$T&from=last", ""));
    assert_int_equal(a.start.kind, START_LAST);
    assert_admits(HISTORY("token=$T&after=17-3", ""));
    assert_int_equal(a.start.kind, START_AFTER);
}

static void a_history_has_a_limit(void **state)
{
    (void)state;
    assert_admits(HISTORY("token=$T", ""));
    assert_int_equal(a.limit, HISTORY_LIMIT_DEFAULT);
    assert_admits(HISTORY("token=$T&limit=", ""));
    assert_int_equal(a.limit, HISTORY_LIMIT_DEFAULT);
    assert_admits(HISTORY("token=$T&limit=1", ""));
    assert_int_equal(a.limit, 1);
    assert_admits(HISTORY("token=$T&limit=10000", ""));
    assert_int_equal(a.limit, HISTORY_LIMIT_MAX);
    static const char *const heads[] = {
        HISTORY("token=$T&limit=0", ""),
        HISTORY("token=$T&limit=10001", ""),
        HISTORY("token=$T&limit=-1", ""),
        HISTORY("token=$T&limit=x", ""),
        HISTORY("token=$T&limit=1.5", ""),
        HISTORY("token=$T&limit=%zz", ""),
        HISTORY("token=$T&limit=99999999999999999999999", ""),
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        assert_refuses(heads[i], 400, "bad_request");
    assert_admits(WS("token=$T&limit=x", "")); // not its parameter
}

static void slow_is_close_or_skip(void **state)
{
    (void)state;
    assert_admits(WS("token=$T&slow=skip", ""));
    assert_int_equal(a.slow, SLOW_SKIP);
    assert_admits(WS("token=$T&slow=close", ""));
    assert_int_equal(a.slow, SLOW_CLOSE);
    assert_admits(SSE("token=$T&slow=skip", ""));
    assert_int_equal(a.slow, SLOW_SKIP);
    assert_refuses(WS("token=$T&slow=down", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&slow=SKIP", ""), 400, "bad_request");
    assert_refuses(SSE("token=$T&slow=%s", ""), 400, "bad_request");
}

// ---- forms ------------------------------------------------------------------

#define DEFLATE "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
#define BOND_V1 "Sec-WebSocket-Protocol: bond.v1\r\n"

static void assert_form(const char *text, enum form form, bool bond_v1)
{
    assert_admits(text);
    assert_int_equal(a.form, form);
    assert_int_equal(a.bond_v1, bond_v1);
}

static void the_format_parameter_chooses_the_form(void **state)
{
    (void)state;
    assert_form(WS("token=$T", ""), FORM_RAW, false);
    assert_form(WS("token=$T&format=", ""), FORM_RAW, false);
    assert_form(WS("token=$T&format=raw", ""), FORM_RAW, false);
    assert_form(WS("token=$T&format=envelope", ""), FORM_ENVELOPE, false);
    assert_form(WS("token=$T", BOND_V1), FORM_ENVELOPE, true);
    assert_form(WS("token=$T&format=envelope", BOND_V1), FORM_ENVELOPE, true);
    assert_form(WS("token=$T", "Sec-WebSocket-Protocol: x, bond.v1\r\n"), FORM_ENVELOPE, true);
    assert_form(WS("token=$T", "Sec-WebSocket-Protocol: bond.v2, Bond.v1\r\n"), FORM_RAW, false);
    assert_refuses(WS("token=$T&format=json", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&format=%zz", ""), 400, "bad_request");
    assert_refuses(WS("token=$T&format=raw", BOND_V1), 400, "bad_request");
}

static void an_offer_of_deflate_chooses_a_deflated_form(void **state)
{
    (void)state;
    assert_form(WS("token=$T", DEFLATE), FORM_RAW_DEFLATED, false);
    assert_form(WS("token=$T&format=envelope", DEFLATE), FORM_ENVELOPE_DEFLATED, false);
    assert_form(WS("token=$T", BOND_V1 DEFLATE), FORM_ENVELOPE_DEFLATED, true);
    // The first offer that we can keep: RFC 7692 s. 5.
    assert_form(WS("token=$T", "Sec-WebSocket-Extensions: x, permessage-deflate; "
                               "server_max_window_bits=10, permessage-deflate\r\n"),
                FORM_RAW_DEFLATED, false);
    assert_form(WS("token=$T", "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: "
                               "permessage-deflate\r\n"),
                FORM_RAW_DEFLATED, false);
    assert_form(WS("token=$T", "Sec-WebSocket-Extensions: permessage-deflate; mux\r\n"), FORM_RAW,
                false);
    config.compression = 0;
    assert_form(WS("token=$T", DEFLATE), FORM_RAW, false);
}

// RFC 6455 s. 9.1: then the handshake fails, whether we compress or not.
static void a_malformed_offer_is_a_bad_request(void **state)
{
    (void)state;
#define OFFERS "Sec-WebSocket-Extensions: "
    assert_refuses(WS("token=$T", OFFERS "permessage-deflate;\r\n"), 400, "bad_request");
    assert_refuses(WS("token=$T", OFFERS "permessage-deflate, a b\r\n"), 400, "bad_request");
    assert_refuses(WS("token=$T", OFFERS "a; b=\"c, d\r\n"), 400, "bad_request");
    assert_refuses(WS("token=$T", DEFLATE OFFERS "=\r\n"), 400, "bad_request");
    assert_refuses(WS("", OFFERS "=\r\n"), 400, "bad_request"); // before the token
    config.compression = 0;
    assert_refuses(WS("token=$T", OFFERS "permessage-deflate;\r\n"), 400, "bad_request");
    assert_form(WS("token=$T", OFFERS ", ,\r\n"), FORM_RAW, false); // empty elements are none
    assert_admits(SSE("token=$T", OFFERS "=\r\n"));
#undef OFFERS
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

// ---- the reply --------------------------------------------------------------

static void assert_handshake(const char *text, const char *expected)
{
    assert_admits(text);
    out.len = 0;
    admission_write_handshake(&a, &req, &config, VIEW(DATE), &out);
    buffer_add(&out, "", 1);
    assert_string_equal(out.at, expected);
}

#define SWITCHING                                                                                  \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" DATE

static void a_websocket_is_switched_to(void **state)
{
    (void)state;
    assert_handshake(WS("token=$T", ""), SWITCHING "\r\n");
    assert_handshake(WS("token=$T", DEFLATE),
                     SWITCHING "Sec-WebSocket-Extensions: " DEFLATE_ANSWER "\r\n\r\n");
    assert_handshake(WS("token=$T", BOND_V1 DEFLATE),
                     SWITCHING "Sec-WebSocket-Protocol: bond.v1\r\n"
                               "Sec-WebSocket-Extensions: " DEFLATE_ANSWER "\r\n\r\n");
    assert_handshake(WS("token=$T", "Sec-WebSocket-Extensions: permessage-deflate; "
                                    "server_max_window_bits=15\r\n"),
                     SWITCHING "Sec-WebSocket-Extensions: " DEFLATE_ANSWER_WINDOW "\r\n\r\n");
}

// The offer of a token is never echoed: it would stand in a log somewhere.
static void only_bond_v1_is_echoed(void **state)
{
    (void)state;
    assert_handshake(WS("", "Sec-WebSocket-Protocol: bond.token.$T, bond.v1\r\n"),
                     SWITCHING "Sec-WebSocket-Protocol: bond.v1\r\n\r\n");
    assert_handshake(WS("", "Sec-WebSocket-Protocol: bond.token.$T\r\n"), SWITCHING "\r\n");
}

static void an_event_streams_first_block_begins_with_retry(void **state)
{
    (void)state;
    assert_handshake(
        SSE("token=$T", ""),
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n" DATE
        "\r\nretry: 2000\n");
    assert_handshake(
        SSE("token=$T", ORIGIN),
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n" DATE
        "Access-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\n"
        "\r\nretry: 2000\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(paths_lead_to_streams),
        TEST(a_streams_id_is_percent_encoded_utf8),
        TEST(the_handshake_is_answered_by_its_key),
        TEST(without_an_upgrade_it_is_required),
        TEST(a_bad_handshake_is_a_bad_request),
        TEST(other_routes_need_no_upgrade),
        TEST(each_verdict_has_its_name),
        TEST(a_token_may_stand_in_three_places),
        TEST(a_token_is_taken_from_the_query_before_the_header),
        TEST(text_that_is_nearly_a_token_is_none),
        TEST(a_token_is_good_to_its_last_millisecond),
        TEST(the_previous_secret_is_taken_while_it_is_set),
        TEST(all_origins_may_connect_unless_some_are_named),
        TEST(only_the_named_origins_may_connect),
        TEST(a_request_without_an_origin_is_from_no_page),
        TEST(an_origin_is_looked_at_before_the_token),
        TEST(from_and_after_are_read),
        TEST(a_start_that_does_not_parse_is_a_bad_request),
        TEST(the_last_event_id_goes_before_the_url),
        TEST(a_history_begins_at_the_first),
        TEST(a_history_has_a_limit),
        TEST(slow_is_close_or_skip),
        TEST(the_format_parameter_chooses_the_form),
        TEST(an_offer_of_deflate_chooses_a_deflated_form),
        TEST(a_malformed_offer_is_a_bad_request),
        TEST(a_websocket_is_switched_to),
        TEST(only_bond_v1_is_echoed),
        TEST(an_event_streams_first_block_begins_with_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
