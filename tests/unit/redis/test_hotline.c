#include "redis/hotline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define RUN_ID "0123456789abcdef0123456789abcdef01234567"

static void assert_server_id(const char *reply, const char *expected)
{
    char id[SERVER_ID_MAX + 1] = "";
    id[hotline_server_id(view_of(reply), id)] = '\0';
    assert_string_equal(id, expected);
}

static void the_server_id_is_the_run_id(void **state)
{
    (void)state;
    assert_server_id("$80\r\n# Server\r\nredis_version:7.0.15\r\nrun_id:" RUN_ID
                     "\r\ntcp_port:1\r\n\r\n",
                     RUN_ID);
    assert_server_id("=70\r\ntxt:# Server\r\nrun_id:" RUN_ID "\r\n\r\n", RUN_ID);
    assert_server_id("run_id:short\r\n", "short");
}

static void without_one_there_is_none(void **state)
{
    (void)state;
    assert_server_id("", "");
    assert_server_id("-NOPERM this user has no permissions to run the 'info' command\r\n", "");
    assert_server_id("$8\r\nrun_id:\r\n\r\n", "");
    assert_server_id("run_id", "");
    assert_server_id("run_id:", "");
}

static void a_longer_one_is_cut(void **state)
{
    (void)state;
    assert_server_id("run_id:" RUN_ID "89abcdef\r\n", RUN_ID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_id_is_the_run_id),
        cmocka_unit_test(without_one_there_is_none),
        cmocka_unit_test(a_longer_one_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
