// The subcommands besides `serve`: small programs that end. Each returns the exit
// status and says what is wrong on standard error.
#pragma once

#include "shared/config.h"

int cli_token(int argc, char **argv);       // token STREAM [--ttl S] [--full]
int cli_check_token(int argc, char **argv); // check-token STREAM TOKEN
int cli_publish(int argc, char **argv);     // publish STREAM [JSON|-]
int cli_health(int argc, char **argv);      // health
int cli_version(int argc, char **argv);
int cli_help(int argc, char **argv);
