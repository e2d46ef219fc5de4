// The commands: small programs, one file each, that one table names. What a command takes,
// says and returns stands in its `struct cli_command`: parsing, --help, the list of `help`,
// the manual page and the shell's completion are all made from it.
#pragma once

#include "shared/config.h"

#define CLI_OPTIONS_MAX 12

struct cli_option {
    const char *flag;  // "--ttl"
    const char *value; // what it takes, for people: "TIME". NULL: nothing
    const char *about;
};

struct cli {
    const struct cli_command *command;
    struct config config;
    char *wrong_setting; // of a command that hears of it: why `config` is empty; else NULL
    const char *values[CLI_OPTIONS_MAX]; // of its options, in their order; NULL: not given
    int argc;                            // what is no option
    char **argv;
};

struct cli_command {
    const char *name;
    const char *synopsis; // what stands behind the name
    const char *about;    // what it does: a line without a full stop, for lists
    const char *more;     // what else is to be known, for --help and the manual; or NULL
    const struct cli_option *options; // up to one without a flag; NULL: none
    const char *examples;             // lines, each a command and `# what it does`
    const char *exits;                // its exit statuses
    int least, most;                  // arguments
    bool needs_no_config;             // it works with settings that make no sense, too
    bool hears_wrong_setting;         // the same, and it says so itself
    int (*run)(struct cli *c);        // NULL: main's `serve`
};

// All commands in the order in which people meet them, up to NULL (command.c).
extern const struct cli_command *const cli_commands[];
extern const struct cli_command cli_serve, cli_tail, cli_publish, cli_token, cli_check_token,
    cli_status, cli_doctor, cli_health, cli_version, cli_help;
const struct cli_command *cli_command(const char *name); // NULL: there is none
