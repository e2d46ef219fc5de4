#include "cli/cli.h"

#include <stdio.h>

const char cli_usage[] =
    "usage: bond-broker [serve] [flags]            serve until SIGTERM\n"
    "       bond-broker token STREAM|--scope PATTERN [--ttl S] [--full]\n"
    "                                              mint a token (one hour; --full: 64 digits)\n"
    "       bond-broker check-token STREAM TOKEN   is it valid now? exit status 0 or 1\n"
    "       bond-broker publish STREAM [JSON|-]    write one event, or one for each line of\n"
    "                                              standard input, as the API does\n"
    "       bond-broker health                     does the broker on this host and port answer?\n"
    "       bond-broker version\n"
    "       bond-broker help\n";

int cli_wrong_usage(const char *why)
{
    fprintf(stderr, "bond-broker: %s\n%s", why, cli_usage);
    return CLI_USAGE;
}

bool cli_load(struct config *c)
{
    char *wrong = config_load(c, 0, NULL);
    if (wrong == NULL)
        return true;
    fprintf(stderr, "bond-broker: %s\n", wrong);
    free(wrong);
    return false;
}

void cli_warn_of_default_secret(const struct config *c)
{
    if (config_is_default_secret(c->secret))
        fprintf(stderr, "bond-broker: warning: the secret is the default one, which everybody "
                        "knows, so anyone can make such tokens: set BOND_SECRET to the API's\n");
}
