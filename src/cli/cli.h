// The commands besides `serve`: small programs that end, one file each. Each returns
// the exit status and says what is wrong on standard error.
#pragma once

#include "shared/config.h"

int cli_token(int argc, char **argv);       // token STREAM|--scope PATTERN [--ttl S] [--full]
int cli_check_token(int argc, char **argv); // check-token STREAM TOKEN
int cli_publish(int argc, char **argv);     // publish STREAM [JSON|-]
int cli_health(int argc, char **argv);      // health
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);

// What the commands share.

#define CLI_USAGE 2 // the exit status of a command that was used wrongly

extern const char cli_usage[];
int cli_wrong_usage(const char *why); // says why, and the usage; returns CLI_USAGE
// The settings from the environment alone: what follows a command is its own. False:
// one of them is wrong, and that has been said.
bool cli_load(struct config *c);
// Who signs or checks with the secret that everybody knows is told so.
void cli_warn_of_default_secret(const struct config *c);
