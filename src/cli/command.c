#include "cli/command.h"

const struct cli_command cli_serve = {
    .name = "serve",
    .synopsis = "[flags]",
    .about = "serve clients until SIGTERM; the default",
    .more = "What it does stands in its log, on standard error. SIGTERM and SIGINT drain it: each\n"
            "client gets what is due to it, and is closed. A second signal ends it at once.",
    .examples = "bond-broker serve --redis-url redis://redis:6379 --port 8080\n"
                "bond-broker --ring-seconds 5m    # keeps five minutes of each stream\n",
    .exits = "0 after a drain, 1 when it could not start, 2 for a setting that makes no sense",
};

const struct cli_command *const cli_commands[] = {
    &cli_serve,  &cli_tail, &cli_publish, &cli_token, &cli_check_token, &cli_status, &cli_doctor,
    &cli_health, &cli_help, &cli_version, NULL,
};

const struct cli_command *cli_command(const char *name)
{
    for (size_t i = 0; cli_commands[i]; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}
