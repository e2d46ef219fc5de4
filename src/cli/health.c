// bond-broker health: what a container's health check runs.
#include <stdio.h>

#include "cli/cli.h"
#include "cli/fetch.h"

static int health(struct cli *c)
{
    struct fetched answer;
    fetch_from_config(&c->config, "/health", &answer);
    bool ok = answer.status == 200;
    if (!ok)
        fprintf(stderr, "bond-broker: no healthy answer from %s port %lld: %s\n", c->config.host,
                (long long)c->config.port, answer.status ? "another status than 200" : answer.why);
    fetched_done(&answer);
    return ok ? 0 : 1;
}

const struct cli_command cli_health = {
    .name = "health",
    .synopsis = "",
    .about = "ask the broker at BOND_HOST:BOND_PORT whether it answers (/health)",
    .more = "For a container's health check. It waits 3 s at most. `status` says more to people.",
    .examples = "bond-broker health\n"
                "bond-broker health --port 9000\n",
    .exits = "0 if it answers, 1 if not, 2 for a setting that makes no sense",
    .run = health,
};
