// bond-broker help, bond-broker version.
#include <stdio.h>

#include "cli/cli.h"

int cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("bond-broker " BOND_VERSION);
    return 0;
}

int cli_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct buffer settings = { 0 };
    config_describe(&settings);
    printf(
        "Bond Broker %s: Redis Streams to WebSocket clients.\n\n%s\n"
        "Settings, from the environment or as flags (BOND_PING_SECONDS is --ping-seconds):\n" VIEW_FMT,
        BOND_VERSION, cli_usage, VIEW_ARG(buffer_view(&settings)));
    buffer_free(&settings);
    return 0;
}
