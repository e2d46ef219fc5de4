// The command line: finds the command, and what it was given.
//
//   argv ──▶ cli_run ──▶ the command's options and arguments, the settings ──▶ its `run`
//
// Every command takes the settings' flags (--redis-url …) beside its own options. Options
// may stand anywhere; what follows `--` is no option.
#pragma once

#include "cli/command.h"

#define CLI_USAGE 2 // the exit status of a command that was used wrongly

// main's. serve: what `serve`, and no command at all, do.
int cli_run(int argc, char **argv, int (*serve)(struct cli *c));

// ---- for commands -----------------------------------------------------------------

// Is the option given? Its value; "" if it takes none; NULL if not given.
const char *cli_value(const struct cli *c, const char *flag);
// The same as a time span in milliseconds, or `initial_ms` if it is not given. False: it is
// none, and that has been said.
bool cli_duration(const struct cli *c, const char *flag, int64_t initial_ms, int64_t *out_ms);
// Says why on standard error, and how to get help; returns CLI_USAGE.
int cli_wrong_usage(const struct cli *c, const char *why);
// Whoever signs or checks with the secret that everybody knows is told so.
void cli_warn_of_default_secret(const struct config *c);
