#include "cli/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// What a URL leads to: "tls host port header stream request", or the sentence.
static void assert_leads(const char *url, const struct target_start *start, const char *expected)
{
    struct target t;
    struct buffer said = { 0 };
    const char *wrong = target_of_url(url, &t);
    if (wrong) {
        buffer_printf(&said, "%s", wrong);
    } else {
        buffer_printf(&said, "%s %s %d %s " VIEW_FMT " ", t.tls ? "tls" : "plain", t.host, t.port,
                      t.host_header, VIEW_ARG(buffer_view(&t.name)));
        target_request(&t, start, &said);
    }
    buffer_add(&said, "", 1);
    assert_string_equal(said.at, expected);
    buffer_free(&said);
    target_done(&t);
}

static const struct target_start nowhere = { 0 };

static void urls_lead_to_streams(void **state)
{
    (void)state;
    assert_leads("ws://localhost:8080/ws/btc", &nowhere,
                 "plain localhost 8080 localhost:8080 btc /ws/btc?slow=skip");
    assert_leads("wss://broker.example/ws/btc?token=1.2", &nowhere,
                 "tls broker.example 443 broker.example btc /ws/btc?token=1.2&slow=skip");
    assert_leads("HTTP://a/ws/b", &nowhere, "plain a 80 a b /ws/b?slow=skip");
    assert_leads("https://a/sse/b", &nowhere, "tls a 443 a b /ws/b?slow=skip");
    assert_leads("http://a/history/b?limit=5", &nowhere, "plain a 80 a b /ws/b?slow=skip");
    assert_leads("ws://[::1]:81/ws/b", &nowhere, "plain ::1 81 [::1]:81 b /ws/b?slow=skip");
    assert_leads("ws://a/behind/a/proxy/ws/b", &nowhere,
                 "plain a 80 a b /behind/a/proxy/ws/b?slow=skip");
    assert_leads("ws://a/ws/b%2Fc%20d#fragment", &nowhere,
                 "plain a 80 a b/c d /ws/b%2Fc%20d?slow=skip");
}

static void a_request_says_where_to_begin(void **state)
{
    (void)state;
    const char *url = "ws://a/ws/b?from=first&token=t&format=raw&slow=close";
    assert_leads(url, &nowhere, "plain a 80 a b /ws/b?token=t&slow=close&from=first");
    assert_leads(url, &(struct target_start){ .from = "now-1s" },
                 "plain a 80 a b /ws/b?token=t&slow=close&from=now-1s");
    assert_leads(url, &(struct target_start){ .from = "now-1s", .after = "5-0" },
                 "plain a 80 a b /ws/b?token=t&slow=close&after=5-0");
    assert_leads("ws://a/ws/b?after=1-0&from=first", &nowhere,
                 "plain a 80 a b /ws/b?after=1-0&slow=skip");
    assert_leads("ws://a/ws/b", &(struct target_start){ .from = "a b&c", .token = "1.2" },
                 "plain a 80 a b /ws/b?token=1.2&from=a%20b%26c&slow=skip");
}

static void urls_that_lead_nowhere_are_refused(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "ws://",
        "ftp://a/ws/b",
        "ws:///ws/b",
        "ws://a",
        "ws://a/",
        "ws://a/ws",
        "ws://a/ws/",
        "ws://a/wss/b",
        "ws://a/ws/b/c",
        "ws://a:/ws/b",
        "ws://a:0/ws/b",
        "ws://a:65536/ws/b",
        "ws://a:x/ws/b",
        "ws://u@a/ws/b",
        "ws://[::1/ws/b",
        "ws://[::1]x/ws/b",
        "ws://a b/ws/b",
        "ws://a/ws/%ff",
        "ws://a/ws/%",
        "ws://a/ws/b c",
        "ws://a/ws/b?x=\r\nEvil: 1",
        "ws://a\r\n/ws/b",
        "ws://?a/ws/b",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct target t;
        if (!target_of_url(urls[i], &t))
            fail_msg("taken: %s", urls[i]);
        target_done(&t);
    }
}

static void assert_stream(char *host, const char *stream, const char *expected)
{
    struct target t;
    struct buffer said = { 0 };
    const struct config config = { .host = host, .port = 8080 };
    target_of_stream(&config, stream, &t);
    buffer_printf(&said, "%s %d %s ", t.host, t.port, t.host_header);
    target_request(&t, &nowhere, &said);
    buffer_add(&said, "", 1);
    assert_string_equal(said.at, expected);
    assert_true(t.is_minted);
    buffer_free(&said);
    target_done(&t);
}

static void a_stream_is_asked_for_at_our_own_broker(void **state)
{
    (void)state;
    assert_stream((char[]){ "0.0.0.0" }, "btc", "127.0.0.1 8080 127.0.0.1:8080 /ws/btc?slow=skip");
    assert_stream((char[]){ "::" }, "a/b", "127.0.0.1 8080 127.0.0.1:8080 /ws/a%2Fb?slow=skip");
    assert_stream((char[]){ "::1" }, "x", "::1 8080 [::1]:8080 /ws/x?slow=skip");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_lead_to_streams),
        cmocka_unit_test(a_request_says_where_to_begin),
        cmocka_unit_test(urls_that_lead_nowhere_are_refused),
        cmocka_unit_test(a_stream_is_asked_for_at_our_own_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
