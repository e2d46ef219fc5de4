#include "redis/greeting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A greeting begins with options; what it `says` is its commands in one line, and
// Redis `answers` in RESP. The last answer says what comes of it.

#define SECRET "hunter2"

static struct greeting greeting;
static struct greeting_options options;
static struct buffer said;

static void begins_with(struct greeting_options given)
{
    options = given;
    said.len = 0;
    greeting_begin(&greeting, &options, &said);
}

static void tell_command(struct resp_reader *r, struct buffer *out)
{
    struct resp_node array, word;
    assert_true(resp_next(r, &array));
    assert_int_equal(array.type, RESP_ARRAY);
    for (size_t i = 0; i < array.count; i++) {
        assert_true(resp_next(r, &word));
        buffer_printf(out, "%s" VIEW_FMT, i ? " " : "", VIEW_ARG(word.text));
    }
}

// All that was said since the last call, as "PING | SELECT 3".
static void says(const char *expected)
{
    struct buffer line = { 0 };
    struct view rest = buffer_view(&said);
    size_t used;
    for (; rest.len; rest.at += used, rest.len -= used) {
        struct resp_scan scan = { 0 };
        assert_int_equal(resp_scan(&scan, rest, &used), RESP_DONE);
        struct resp_reader r = resp_open(rest);
        buffer_printf(&line, "%s", line.len ? " | " : "");
        tell_command(&r, &line);
    }
    buffer_add(&line, "", 1);
    assert_string_equal(line.at, expected);
    buffer_free(&line);
    said.len = 0;
}

static enum greeting_result answer(const char *reply)
{
    struct resp_scan scan = { 0 };
    size_t used;
    assert_int_equal(resp_scan(&scan, view_of(reply), &used), RESP_DONE);
    assert_int_equal(used, strlen(reply));
    return greeting_reply(&greeting, view_of(reply), &said);
}

static void goes_on_after(const char *reply)
{
    assert_int_equal(answer(reply), GREETING_MORE);
}

static void is_up_after(const char *reply)
{
    assert_int_equal(answer(reply), GREETING_UP);
    says("");
    buffer_free(&said);
}

static void fails_after(const char *reply, const char *why)
{
    assert_int_equal(answer(reply), GREETING_FAILED);
    assert_string_equal(greeting.why, why);
    assert_null(strstr(greeting.why, SECRET));
    buffer_free(&said);
}

#define OK "+OK\r\n"
#define PONG "+PONG\r\n"
#define REDIS7 "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
#define NO_HELLO "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n"

static void without_options(void)
{
    begins_with((struct greeting_options){ 0 });
    says("HELLO 3 SETNAME bond-broker");
}

static void with_password(void)
{
    begins_with((struct greeting_options){ .password = SECRET });
    says("HELLO 3 AUTH default " SECRET " SETNAME bond-broker");
}

static void with_database(void)
{
    begins_with((struct greeting_options){ .db = 3 });
    says("HELLO 3 SETNAME bond-broker");
}

// ---- a server that serves ---------------------------------------------------

static void a_server_of_today_speaks_resp3(void **state)
{
    (void)state;
    without_options();
    goes_on_after(REDIS7);
    says("PING");
    is_up_after(PONG);
    assert_string_equal(greeting.server, "redis 7.0.15");
    assert_false(greeting.tracks);
}

static void all_options_at_once(void **state)
{
    (void)state;
    begins_with(
        (struct greeting_options){ .user = "bob", .password = SECRET, .db = 3, .tracking = true });
    says("HELLO 3 AUTH bob " SECRET " SETNAME bond-broker");
    goes_on_after(REDIS7);
    says("SELECT 3 | CLIENT TRACKING ON | PING");
    goes_on_after(OK);
    goes_on_after(OK);
    is_up_after(PONG);
    assert_true(greeting.tracks);
}

static void a_user_without_a_password_has_an_empty_one(void **state)
{
    (void)state;
    begins_with((struct greeting_options){ .user = "bob" });
    says("HELLO 3 AUTH bob  SETNAME bond-broker");
    goes_on_after(NO_HELLO);
    says("AUTH bob  | CLIENT SETNAME bond-broker | PING");
    buffer_free(&said);
}

static void a_server_without_hello_speaks_resp2(void **state)
{
    (void)state;
    static const char *const refusals[] = {
        NO_HELLO,
        "-NOPROTO unsupported protocol version\r\n",
        "-ERR Unknown command 'HELLO'\r\n",
        "-ERR Syntax error in HELLO option 'SETNAME'\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        begins_with((struct greeting_options){ .db = 3, .tracking = true });
        says("HELLO 3 SETNAME bond-broker");
        goes_on_after(refusals[i]);
        says("SELECT 3 | CLIENT SETNAME bond-broker | PING");
        goes_on_after(OK);
        goes_on_after(OK);
        is_up_after(PONG);
        assert_string_equal(greeting.server, "redis");
        assert_false(greeting.tracks); // invalidations are RESP3's
    }
}

static void resp2_has_its_own_auth(void **state)
{
    (void)state;
    with_password();
    goes_on_after(NO_HELLO);
    says("AUTH " SECRET " | CLIENT SETNAME bond-broker | PING");
    goes_on_after(OK);
    goes_on_after(OK);
    is_up_after(PONG);
}

static void refused_tracking_is_no_failure(void **state)
{
    (void)state;
    begins_with((struct greeting_options){ .tracking = true });
    says("HELLO 3 SETNAME bond-broker");
    goes_on_after(REDIS7);
    says("CLIENT TRACKING ON | PING");
    goes_on_after("-NOPERM this user has no permissions to run the 'client|tracking' command\r\n");
    is_up_after(PONG);
    assert_false(greeting.tracks);
    assert_string_equal(greeting.why_not_tracking,
                        "CLIENT TRACKING was refused: NOPERM this user has no permissions to run "
                        "the 'client|tracking' command");
}

static void a_refused_name_is_no_failure(void **state)
{
    (void)state;
    without_options();
    goes_on_after(NO_HELLO);
    says("CLIENT SETNAME bond-broker | PING");
    goes_on_after("-ERR unknown command `CLIENT`\r\n");
    is_up_after(PONG);
}

static void a_ping_that_is_refused_hinders_no_reading(void **state)
{
    (void)state;
    static const char *const refusals[] = {
        "-NOPERM this user has no permissions to run the 'ping' command\r\n",
        "-ERR unknown command 'PING'\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        without_options();
        goes_on_after(REDIS7);
        says("PING");
        is_up_after(refusals[i]);
    }
}

static void the_servers_name_and_version_are_kept_as_far_as_there_is_room(void **state)
{
    (void)state;
    without_options();
    goes_on_after("%3\r\n+version\r\n+8.1.1\r\n+modules\r\n*1\r\n%1\r\n+name\r\n+x\r\n"
                  "+server\r\n+valkey\r\n");
    assert_string_equal(greeting.server, "valkey 8.1.1");

    char reply[512], name[301];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(reply, sizeof(reply), "%%1\r\n+server\r\n+%s\r\n", name);
    without_options();
    goes_on_after(reply);
    assert_int_equal(strlen(greeting.server), GREETING_SERVER_MAX - 1);
    buffer_free(&said);
}

// ---- a server that does not -------------------------------------------------

static void a_password_that_is_missing(void **state)
{
    (void)state;
    without_options();
    fails_after("-NOAUTH HELLO must be called with the client already authenticated\r\n",
                "Redis wants a password: set one in REDIS_URL");

    without_options(); // an old server says so to the command after
    goes_on_after(NO_HELLO);
    goes_on_after("-NOAUTH Authentication required.\r\n"); // to CLIENT SETNAME
    fails_after("-NOAUTH Authentication required.\r\n",
                "Redis wants a password: set one in REDIS_URL");
}

static void a_password_that_is_wrong(void **state)
{
    (void)state;
    with_password();
    fails_after("-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                "Redis refused the password: WRONGPASS invalid username-password pair or user is "
                "disabled.");

    with_password();
    goes_on_after(NO_HELLO);
    fails_after("-ERR invalid password\r\n", "Redis refused the password: ERR invalid password");
}

static void an_answer_that_repeats_the_password_is_not_shown(void **state)
{
    (void)state;
    with_password();
    fails_after("-ERR wrong arguments: `3`, `AUTH`, `default`, `" SECRET "`\r\n",
                "Redis refused the greeting: (its answer is not shown, for it repeats the "
                "password)");
    with_password();
    goes_on_after("-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`,"
                  " `" SECRET "`\r\n");
    fails_after("-ERR Client sent AUTH " SECRET ", but no password is set\r\n",
                "Redis refused the password: (its answer is not shown, for it repeats the "
                "password)");
}

static void a_server_that_loads_its_data(void **state)
{
    (void)state;
    static const char why[] = "Redis is loading its data set";
    without_options();
    fails_after("-LOADING Redis is loading the dataset in memory\r\n", why);

    with_database(); // HELLO and SELECT are answered all the same
    goes_on_after(REDIS7);
    says("SELECT 3 | PING");
    goes_on_after(OK);
    fails_after("-LOADING Redis is loading the dataset in memory\r\n", why);
}

static void a_replica_without_its_master(void **state)
{
    (void)state;
    without_options();
    goes_on_after(REDIS7);
    says("PING");
    fails_after("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to "
                "'no'.\r\n",
                "Redis is a replica that has lost its master and serves no data meanwhile");
}

static void a_database_that_is_not_there(void **state)
{
    (void)state;
    with_database();
    goes_on_after(REDIS7);
    fails_after("-ERR DB index is out of range\r\n",
                "Redis refused database 3: ERR DB index is out of range");
}

static void another_refusal_is_shown_with_redis_words_cut_short(void **state)
{
    (void)state;
    without_options();
    fails_after("-ERR max number of clients reached\r\n",
                "Redis refused the greeting: ERR max number of clients reached");

    char reply[512] = "-ERR ", why[512] = "Redis refused the greeting: ERR ";
    memset(reply + 5, 'x', 300);
    strcpy(reply + 305, "\r\n");
    memset(why + strlen(why), 'x', 196); // with "ERR ", 200
    without_options();
    fails_after(reply, why);
}

static void what_is_no_redis(void **state)
{
    (void)state;
    static const char *const replies[] = { ":1\r\n", "+OK\r\n", "*0\r\n", "_\r\n", "$2\r\nhi\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        without_options();
        fails_after(replies[i], GREETING_NOT_REDIS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_of_today_speaks_resp3),
        cmocka_unit_test(all_options_at_once),
        cmocka_unit_test(a_user_without_a_password_has_an_empty_one),
        cmocka_unit_test(a_server_without_hello_speaks_resp2),
        cmocka_unit_test(resp2_has_its_own_auth),
        cmocka_unit_test(refused_tracking_is_no_failure),
        cmocka_unit_test(a_refused_name_is_no_failure),
        cmocka_unit_test(a_ping_that_is_refused_hinders_no_reading),
        cmocka_unit_test(the_servers_name_and_version_are_kept_as_far_as_there_is_room),
        cmocka_unit_test(a_password_that_is_missing),
        cmocka_unit_test(a_password_that_is_wrong),
        cmocka_unit_test(an_answer_that_repeats_the_password_is_not_shown),
        cmocka_unit_test(a_server_that_loads_its_data),
        cmocka_unit_test(a_replica_without_its_master),
        cmocka_unit_test(a_database_that_is_not_there),
        cmocka_unit_test(another_refusal_is_shown_with_redis_words_cut_short),
        cmocka_unit_test(what_is_no_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
