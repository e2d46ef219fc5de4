#include "shared/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------

// Every number, its default and its bounds. What is in config.c and not here fails
// a test below.
static const struct {
    const char *env, *flag;
    size_t offset;
    int64_t initial, least, most;
} numbers[] = {
#define NUMBER(env, flag, field) env, flag, offsetof(struct config, field)
    { NUMBER("BOND_PORT", "--port", port), 8080, 0, 65535 },
    { NUMBER("BOND_ADMIN_PORT", "--admin-port", admin_port), 0, 0, 65535 },
    { NUMBER("BOND_WORKERS", "--workers", workers), 0, 0, 256 },
    { NUMBER("BOND_RING_SECONDS", "--ring-seconds", ring_seconds), 60, 1, 86400 },
    { NUMBER("BOND_RING_BYTES", "--ring-bytes", ring_bytes), 16777216, 65536, INT64_C(1) << 40 },
    { NUMBER("BOND_MEMORY_BYTES", "--memory-bytes", memory_bytes), 0, 0, INT64_C(1) << 50 },
    { NUMBER("BOND_OUTBOX_BYTES", "--outbox-bytes", outbox_bytes), 67108864, 1048576,
      INT64_C(1) << 40 },
    { NUMBER("BOND_EVENT_BYTES", "--event-bytes", event_bytes), 4194304, 1024, 1 << 29 },
    { NUMBER("BOND_MAX_CLIENTS", "--max-clients", max_clients), 0, 0, 100000000 },
    { NUMBER("BOND_MAX_CLIENTS_PER_IP", "--max-clients-per-ip", max_clients_per_ip), 0, 0,
      100000000 },
    { NUMBER("BOND_MAX_STREAMS_PER_CLIENT", "--max-streams-per-client", max_streams_per_client),
      1024, 1, 1000000 },
    { NUMBER("BOND_PATTERNS", "--patterns", patterns), 0, 0, 1 },
    { NUMBER("BOND_DISCOVER_SECONDS", "--discover-seconds", discover_seconds), 2, 1, 86400 },
    { NUMBER("BOND_TRUST_PROXY", "--trust-proxy", trust_proxy), 0, 0, 16 },
    { NUMBER("BOND_EXPIRE_LIVE", "--expire-live", expire_live), 0, 0, 1 },
    { NUMBER("BOND_COMPRESSION", "--compression", compression), 1, 0, 1 },
    { NUMBER("BOND_MAX_FOLLOWED", "--max-followed", max_followed), 100000, 1, 100000000 },
    { NUMBER("BOND_PING_SECONDS", "--ping-seconds", ping_seconds), 20, 1, 86400 },
    { NUMBER("BOND_PONG_SECONDS", "--pong-seconds", pong_seconds), 20, 1, 86400 },
    { NUMBER("BOND_HANDSHAKE_SECONDS", "--handshake-seconds", handshake_seconds), 10, 1, 86400 },
    { NUMBER("BOND_DRAIN_SECONDS", "--drain-seconds", drain_seconds), 10, 0, 86400 },
    { NUMBER("BOND_DRAIN_DELAY_SECONDS", "--drain-delay-seconds", drain_delay_seconds), 0, 0,
      86400 },
    { NUMBER("BOND_FLUSH_MS", "--flush-ms", flush_ms), 0, 0, 1000 },
    { NUMBER("BOND_STALE_MS", "--stale-ms", stale_ms), 1500, 100, 3600000 },
    { NUMBER("BOND_REDIS_TIMEOUT_MS", "--redis-timeout-ms", redis_timeout_ms), 5000, 100, 3600000 },
    { NUMBER("BOND_REDIS_CONNECTIONS", "--redis-connections", redis_connections), 2, 1, 2 },
    { NUMBER("BOND_SWEEP_SECONDS", "--sweep-seconds", sweep_seconds), 60, 1, 86400 },
    { NUMBER("BOND_STATUS_SECONDS", "--status-seconds", status_seconds), 60, 0, 86400 },
    { NUMBER("BOND_POLL_MS", "--poll-ms", poll_ms), 100, 1, 60000 },
};

static const struct {
    const char *env, *flag;
    size_t offset;
    const char *initial;
} texts[] = {
    { NUMBER("REDIS_URL", "--redis-url", redis_url_text), "redis://localhost:6379" },
    { NUMBER("BOND_SECRET", "--secret", secret), CONFIG_DEFAULT_SECRET },
    { NUMBER("BOND_SECRET_PREVIOUS", "--secret-previous", secret_previous), "" },
    { NUMBER("BOND_ALLOWED_ORIGINS", "--allowed-origins", allowed_origins), "" },
    { NUMBER("BOND_HOST", "--host", host), "0.0.0.0" },
    { NUMBER("BOND_ADMIN_TOKEN", "--admin-token", admin_token), "" },
    { NUMBER("BOND_ADMIN_HOST", "--admin-host", admin_host), "127.0.0.1" },
    { NUMBER("BOND_LOG_LEVEL", "--log-level", log_level), "info" },
    { NUMBER("BOND_LOG_FORMAT", "--log-format", log_format), "logfmt" },
    { NUMBER("BOND_STREAM_PREFIX", "--stream-prefix", stream_prefix), "stream:" },
    { NUMBER("BOND_DATA_FIELD", "--data-field", data_field), "data" },
#undef NUMBER
};

static struct config c;

static int64_t number(size_t i)
{
    return *(const int64_t *)(const void *)((const char *)&c + numbers[i].offset);
}

static const char *text(size_t i)
{
    return *(char *const *)(const void *)((const char *)&c + texts[i].offset);
}

static int set_up(void **state)
{
    (void)state;
    clearenv();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_done(&c);
    clearenv();
    return 0;
}

// Loads with these flags (a list that ends with NULL); what was loaded is freed.
static char *try_flags(const char *const *flags)
{
    char *argv[8];
    int argc = 0;
    for (; flags[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)flags[argc];
    config_done(&c);
    return config_load(&c, argc, argv);
}

#define FLAGS(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })
#define LOAD(...) load(FLAGS(__VA_ARGS__))
#define REFUSE(why, ...) assert_refused(why, FLAGS(__VA_ARGS__))

static void load(const char *const *flags)
{
    char *wrong = try_flags(flags);
    if (wrong)
        fail_msg("%s", wrong);
}

static void assert_refused(const char *why, const char *const *flags)
{
    char *wrong = try_flags(flags);
    if (!wrong)
        fail_msg("taken, though: %s", why);
    if (!strstr(wrong, why))
        fail_msg("'%s' is not in: %s", why, wrong);
    assert_null(strchr(wrong, '\n'));
    free(wrong);
    const struct config none = { 0 };
    assert_memory_equal(&c, &none, sizeof(c)); // nothing is left to be freed
}

static void print(char out[32], int64_t value)
{
    snprintf(out, 32, "%lld", (long long)value);
}

// ---- defaults ---------------------------------------------------------------

static void everything_has_a_default(void **state)
{
    (void)state;
    LOAD();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].offset != offsetof(struct config, memory_bytes) &&
            number(i) != numbers[i].initial)
            fail_msg("%s is %lld", numbers[i].env, (long long)number(i));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_string_equal(text(i), texts[i].initial);
    assert_int_equal(c.say_level, SAY_INFO);
    assert_int_equal(c.say_format, SAY_LOGFMT);
    assert_string_equal(c.redis_url.host, "localhost");
    assert_int_equal(c.redis_url.port, 6379);
    assert_true(c.memory_bytes > 0); // half of what there is
}

static void help_lists_all_settings(void **state)
{
    (void)state;
    struct buffer out = { 0 };
    size_t lines = 0;
    config_describe(&out);
    buffer_add(&out, "", 1);
    for (const char *p = out.at; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, ARRAY_LEN(numbers) + ARRAY_LEN(texts));
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        assert_non_null(strstr(out.at, numbers[i].env));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_non_null(strstr(out.at, texts[i].env));
    buffer_free(&out);
}

// ---- where values come from -------------------------------------------------

static void the_environment_goes_before_defaults(void **state)
{
    (void)state;
    setenv("BOND_PING_SECONDS", "5", 1);
    setenv("BOND_HOST", "::", 1);
    setenv("REDIS_URL", "rediss://:pw@redis.example:7000/3", 1);
    LOAD();
    assert_int_equal(c.ping_seconds, 5);
    assert_string_equal(c.host, "::");
    assert_string_equal(c.redis_url_text, "rediss://:pw@redis.example:7000/3");
    assert_true(c.redis_url.tls);
    assert_string_equal(c.redis_url.host, "redis.example");
    assert_int_equal(c.redis_url.db, 3);
}

static void flags_go_before_the_environment(void **state)
{
    (void)state;
    setenv("BOND_PING_SECONDS", "5", 1);
    setenv("BOND_HOST", "::", 1);
    setenv("PORT", "7000", 1);
    LOAD("--ping-seconds", "7", "--host=127.0.0.1", "--port=9000");
    assert_int_equal(c.ping_seconds, 7);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 9000);
}

static void each_setting_has_a_variable_and_a_flag_and_reaches_its_bounds(void **state)
{
    (void)state;
    char value[32], flag[64];
    const char *room = "--memory-bytes=1125899906842624"; // no ring is larger than that
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const bool is_room = numbers[i].offset == offsetof(struct config, memory_bytes);
        print(value, numbers[i].most);
        setenv(numbers[i].env, value, 1);
        LOAD(is_room ? "--workers=1" : room);
        assert_int_equal(number(i), numbers[i].most);
        print(value, is_room ? 262144 : numbers[i].least); // 0 would be half of what there is
        snprintf(flag, sizeof(flag), "%s=%s", numbers[i].flag, value);
        LOAD(room, flag);
        assert_int_equal(number(i), is_room ? 262144 : numbers[i].least);
        unsetenv(numbers[i].env);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const bool is_level = texts[i].offset == offsetof(struct config, log_level);
        const bool is_format = texts[i].offset == offsetof(struct config, log_format);
        const char *one = is_level ? "warn" : is_format ? "json" : "redis://one"; // an origin too
        const char *two = is_level ? "error" : is_format ? "logfmt" : "redis://two";
        setenv(texts[i].env, one, 1);
        LOAD();
        assert_string_equal(text(i), one);
        snprintf(flag, sizeof(flag), "%s=%s", texts[i].flag, two);
        LOAD(flag);
        assert_string_equal(text(i), two);
        unsetenv(texts[i].env);
    }
}

static void the_last_of_two_flags_counts(void **state)
{
    (void)state;
    LOAD("--workers=2", "--workers", "3", "--secret=a", "--secret=b");
    assert_int_equal(c.workers, 3);
    assert_string_equal(c.secret, "b");
}

static void a_value_may_hold_an_equals_sign_or_look_like_a_flag(void **state)
{
    (void)state;
    LOAD("--secret=a=b=", "--data-field", "--x=y");
    assert_string_equal(c.secret, "a=b=");
    assert_string_equal(c.data_field, "--x=y");
}

static void an_empty_variable_is_not_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        setenv(numbers[i].env, "", 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].offset != offsetof(struct config, secret))
            setenv(texts[i].env, "", 1);
    setenv("PORT", "", 1);
    everything_has_a_default(NULL);
}

// Not set, it is the default; set to nothing, somebody meant another.
static void an_empty_secret_is_refused(void **state)
{
    (void)state;
    setenv("BOND_SECRET", "", 1);
    REFUSE("BOND_SECRET is empty");
    REFUSE("BOND_SECRET is empty", "--secret=mine"); // a flag does not hide it
    setenv("BOND_SECRET", "mine", 1);
    LOAD();
    assert_string_equal(c.secret, "mine");
}

static void other_variables_do_not_matter(void **state)
{
    (void)state;
    setenv("BOND_PORTS", "x", 1);
    setenv("bond_port", "x", 1);
    setenv("RING_SECONDS", "x", 1);
    setenv("BOND_REDIS_URL", "x", 1);
    everything_has_a_default(NULL);
}

static struct buffer told; // "NAME near;" for each unknown name

static void note_unknown(struct view name, const char *near)
{
    buffer_printf(&told, VIEW_FMT " %s;", VIEW_ARG(name), near ? near : "?");
}

static void assert_unknown(const char *expected)
{
    told.len = 0;
    config_each_unknown(note_unknown);
    buffer_add(&told, "", 1);
    assert_string_equal(told.at, expected);
    buffer_free(&told);
}

static void names_that_look_like_ours_are_told(void **state)
{
    (void)state;
    assert_unknown("");
    setenv("BOND_RING_SECOND", "5", 1);
    assert_unknown("BOND_RING_SECOND BOND_RING_SECONDS;");
    setenv("BOND_FRUIT_BASKET", "secret", 1);
    setenv("BOND_REDIS_URL", "x", 1);
    setenv("BOND_", "x", 1);
    assert_unknown("BOND_RING_SECOND BOND_RING_SECONDS;BOND_FRUIT_BASKET ?;"
                   "BOND_REDIS_URL REDIS_URL;BOND_ ?;");
}

static void names_of_the_api_or_of_others_are_not_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        setenv(numbers[i].env, "0", 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        setenv(texts[i].env, "x", 1);
    setenv("BOND_MAX_STREAMS", "5", 1);
    setenv("BOND_TOKEN_TTL", "3600", 1);
    setenv("WS_HOST", "x", 1);
    setenv("bond_port", "80", 1);
    setenv("RING_SECONDS", "5", 1);
    assert_unknown("");
}

// ---- the port ---------------------------------------------------------------

static void port_is_read_where_bond_port_is_not_set(void **state)
{
    (void)state;
    setenv("PORT", "7000", 1);
    LOAD();
    assert_int_equal(c.port, 7000);
}

static void bond_port_goes_before_port(void **state)
{
    (void)state;
    setenv("PORT", "7000", 1);
    setenv("BOND_PORT", "9000", 1);
    LOAD();
    assert_int_equal(c.port, 9000);
    setenv("PORT", "none", 1); // somebody else's then
    LOAD();
    assert_int_equal(c.port, 9000);
}

static void an_empty_bond_port_leaves_it_to_port(void **state)
{
    (void)state;
    setenv("PORT", "7000", 1);
    setenv("BOND_PORT", "", 1);
    LOAD();
    assert_int_equal(c.port, 7000);
}

static void a_bad_port_is_named_as_it_was_spelled(void **state)
{
    (void)state;
    setenv("PORT", "http", 1);
    REFUSE("PORT is \"http\"");
    char *wrong = try_flags(FLAGS());
    assert_memory_equal(wrong, "PORT", 4);
    free(wrong);
    setenv("BOND_PORT", "65536", 1);
    REFUSE("BOND_PORT is \"65536\"");
    REFUSE("BOND_PORT is \"65536\"", "--port=1"); // a flag does not hide it
}

// ---- numbers ----------------------------------------------------------------

static void assert_number_refused(size_t i, const char *value)
{
    char expected[160];
    snprintf(expected, sizeof(expected),
             "%s is \"%s\", but must be a whole number from %lld to %lld", numbers[i].env, value,
             (long long)numbers[i].least, (long long)numbers[i].most);
    if (*value) { // an empty variable is none
        setenv(numbers[i].env, value, 1);
        REFUSE(expected);
        unsetenv(numbers[i].env);
    }
    snprintf(expected, sizeof(expected), "%s is \"%s\", but", numbers[i].flag, value);
    REFUSE(expected, numbers[i].flag, value);
}

static void numbers_beyond_their_bounds_are_refused(void **state)
{
    (void)state;
    char value[32];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        print(value, numbers[i].least - 1);
        assert_number_refused(i, value);
        print(value, numbers[i].most + 1);
        assert_number_refused(i, value);
    }
}

static void a_time_may_have_a_unit(void **state)
{
    (void)state;
    LOAD("--ring-seconds=5m", "--ping-seconds=3000ms", "--stale-ms=2s", "--sweep-seconds=1h");
    assert_int_equal(c.ring_seconds, 300);
    assert_int_equal(c.ping_seconds, 3);
    assert_int_equal(c.stale_ms, 2000);
    assert_int_equal(c.sweep_seconds, 3600);
    setenv("BOND_DRAIN_SECONDS", "2m", 1);
    LOAD();
    assert_int_equal(c.drain_seconds, 120);
}

static void a_time_is_a_whole_number_of_the_settings_unit_within_its_bounds(void **state)
{
    (void)state;
    REFUSE("--ring-seconds is \"1500ms\"", "--ring-seconds=1500ms");
    REFUSE("--ring-seconds is \"2d\"", "--ring-seconds=2d");
    REFUSE("--flush-ms is \"2s\"", "--flush-ms=2s");
    REFUSE("--workers is \"2s\", but must be a whole number from 0 to 256 (", "--workers=2s");
}

static void text_that_is_no_whole_number_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "abc",
                                       "-1",
                                       "+200",
                                       "200 ",
                                       " 200",
                                       "0200",
                                       "1e3",
                                       "1.5",
                                       "2w",
                                       "0x1",
                                       "1_0",
                                       "9223372036854775808",
                                       "18446744073709551616",
                                       "99999999999999999999999" };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        for (size_t b = 0; b < ARRAY_LEN(bad); b++)
            assert_number_refused(i, bad[b]);
}

// ---- texts ------------------------------------------------------------------

static void a_redis_url_must_be_one(void **state)
{
    (void)state;
    setenv("REDIS_URL", "localhost:6379", 1);
    REFUSE("REDIS_URL cannot be used: ");
    LOAD("--redis-url=unix:///run/redis.sock");
    assert_true(c.redis_url.unix_socket);
    REFUSE("REDIS_URL", "--redis-url=");
    setenv("REDIS_URL", "redis://:hunter2/x@host", 1);
    char *wrong = try_flags(FLAGS());
    assert_non_null(wrong);
    assert_null(strstr(wrong, "hunter2"));
    free(wrong);
}

static void a_secret_and_a_data_field_may_not_be_empty(void **state)
{
    (void)state;
    REFUSE("BOND_SECRET is empty", "--secret=");
    REFUSE("BOND_DATA_FIELD is empty", "--data-field", "");
    LOAD("--stream-prefix=");
    assert_string_equal(c.stream_prefix, "");
}

static void origins_have_a_scheme_and_no_path(void **state)
{
    (void)state;
    static const char *const good[] = {
        "*",
        "null",
        "https://a.example",
        "https://a.example, http://localhost:3000 ,null,*",
        "https://a.example,",
        " , ",
    };
    static const char *const bad[] = {
        "a.example", "https://a.example, b.example:80", "https://a.example/", "NULL", "https://",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        LOAD("--allowed-origins", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        REFUSE("BOND_ALLOWED_ORIGINS has \"", "--allowed-origins", bad[i]);
    REFUSE("\"b.example:80\"", "--allowed-origins", bad[1]);
}

static void a_prefix_is_utf8(void **state)
{
    (void)state;
    setenv("BOND_STREAM_PREFIX", "\xff:", 1);
    REFUSE("BOND_STREAM_PREFIX is not UTF-8");
    setenv("BOND_STREAM_PREFIX", "\xc3\xa9:", 1);
    LOAD();
    assert_string_equal(c.stream_prefix, "\xc3\xa9:");
}

static void levels_and_formats_are_chosen_from_a_list(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        enum say_level level;
    } levels[] = { { "--log-level=debug", SAY_DEBUG },
                   { "--log-level=info", SAY_INFO },
                   { "--log-level=warn", SAY_WARN },
                   { "--log-level=error", SAY_ERROR } };
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        LOAD(levels[i].flag);
        assert_int_equal(c.say_level, levels[i].level);
    }
    LOAD("--log-format=json");
    assert_int_equal(c.say_format, SAY_JSON);

    REFUSE("BOND_LOG_LEVEL is \"WARN\", but must be one of: debug, info, warn, error",
           "--log-level=WARN");
    REFUSE("BOND_LOG_LEVEL is \"\"", "--log-level=");
    setenv("BOND_LOG_FORMAT", "xml", 1);
    REFUSE("BOND_LOG_FORMAT is \"xml\", but must be one of: logfmt, json");
}

// ---- flags ------------------------------------------------------------------

static void an_unknown_flag_is_named(void **state)
{
    (void)state;
    REFUSE("--no-such-flag is no setting; `bond-broker help` lists them", "--no-such-flag", "80");
    REFUSE("serve is no setting", "serve");
    REFUSE(" is no setting; ", "");
    REFUSE(" is no setting; ", "=");
}

static void a_misspelt_flag_is_told_what_was_probably_meant(void **state)
{
    (void)state;
    REFUSE("--prot is no setting (did you mean --port?); `bond-broker help` lists them", "--prot",
           "80");
    REFUSE("--bond-port is no setting (did you mean --port?)", "--bond-port=80");
    REFUSE("--PORT is no setting (did you mean --port?)", "--PORT=80");
    REFUSE("--por is no setting (did you mean --port?)", "--por=80");
    REFUSE("--ping_seconds is no setting (did you mean --ping-seconds?)", "--ping_seconds=80");
    REFUSE("-port is no setting (did you mean --port?)", "-port=80");
    REFUSE("BOND_PORT is no setting (did you mean --port?)", "BOND_PORT=80");
}

static void the_value_of_an_unknown_flag_is_not_repeated(void **state)
{
    (void)state;
    char *wrong = try_flags(FLAGS("--secert=hunter2"));
    assert_non_null(wrong);
    assert_null(strstr(wrong, "hunter2"));
    free(wrong);
}

static void a_flag_needs_a_value(void **state)
{
    (void)state;
    REFUSE("--port needs a value", "--workers=1", "--port");
    REFUSE("--secret needs a value", "--secret");
    REFUSE("--port is \"--workers\"", "--port", "--workers");
}

// ---- what one value says about another --------------------------------------

static void no_ring_is_larger_than_the_memory_of_all(void **state)
{
    (void)state;
    LOAD("--memory-bytes=300000", "--ring-bytes=400000");
    assert_int_equal(c.memory_bytes, 300000);
    assert_int_equal(c.ring_bytes, 300000);
    LOAD("--memory-bytes=300000", "--ring-bytes=200000");
    assert_int_equal(c.memory_bytes, 300000);
    assert_int_equal(c.ring_bytes, 200000);
    REFUSE("BOND_MEMORY_BYTES is 5", "--memory-bytes=5");
}

static void nothing_is_left_when_it_is_done(void **state)
{
    (void)state;
    const struct config none = { 0 };
    LOAD("--redis-url=redis://bob:pw@host");
    config_done(&c);
    assert_memory_equal(&c, &none, sizeof(c));
    config_done(&c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(everything_has_a_default),
        TEST(help_lists_all_settings),
        TEST(the_environment_goes_before_defaults),
        TEST(flags_go_before_the_environment),
        TEST(each_setting_has_a_variable_and_a_flag_and_reaches_its_bounds),
        TEST(the_last_of_two_flags_counts),
        TEST(a_value_may_hold_an_equals_sign_or_look_like_a_flag),
        TEST(an_empty_variable_is_not_set),
        TEST(an_empty_secret_is_refused),
        TEST(other_variables_do_not_matter),
        TEST(names_that_look_like_ours_are_told),
        TEST(names_of_the_api_or_of_others_are_not_told),
        TEST(port_is_read_where_bond_port_is_not_set),
        TEST(bond_port_goes_before_port),
        TEST(an_empty_bond_port_leaves_it_to_port),
        TEST(a_bad_port_is_named_as_it_was_spelled),
        TEST(numbers_beyond_their_bounds_are_refused),
        TEST(a_time_may_have_a_unit),
        TEST(a_time_is_a_whole_number_of_the_settings_unit_within_its_bounds),
        TEST(text_that_is_no_whole_number_is_refused),
        TEST(a_redis_url_must_be_one),
        TEST(a_secret_and_a_data_field_may_not_be_empty),
        TEST(origins_have_a_scheme_and_no_path),
        TEST(a_prefix_is_utf8),
        TEST(levels_and_formats_are_chosen_from_a_list),
        TEST(an_unknown_flag_is_named),
        TEST(a_misspelt_flag_is_told_what_was_probably_meant),
        TEST(the_value_of_an_unknown_flag_is_not_repeated),
        TEST(a_flag_needs_a_value),
        TEST(no_ring_is_larger_than_the_memory_of_all),
        TEST(nothing_is_left_when_it_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
