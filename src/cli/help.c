// bond-broker help, bond-broker version.
#include <stdio.h>

#include "cli/cli.h"
#include "cli/manual.h"

static int version(struct cli *c)
{
    (void)c;
    puts("bond-broker " BOND_VERSION);
    return 0;
}

const struct cli_command cli_version = {
    .name = "version",
    .synopsis = "",
    .about = "print the version",
    .examples = "bond-broker version\n",
    .exits = "0",
    .needs_no_config = true,
    .run = version,
};

static int help(struct cli *c)
{
    const struct cli_command *of = c->argc ? cli_command(c->argv[0]) : NULL;
    if (c->argc && !of)
        return cli_wrong_usage(c, "there is no such command");
    if (cli_value(c, "--man"))
        manual_page();
    else if (cli_value(c, "--words"))
        manual_words(of);
    else if (of)
        manual_help(of);
    else
        manual_list();
    return 0;
}

static const struct cli_option help_options[] = {
    { "--man", NULL, "the manual page, for `man -l -`" },
    { "--words", NULL, "the commands, or a command's options, a line each: for shells" },
    { 0 },
};

const struct cli_command cli_help = {
    .name = "help",
    .synopsis = "[COMMAND]",
    .about = "list commands and settings, or say what a command does",
    .options = help_options,
    .examples =
        "bond-broker help tail\n"
        "bond-broker help --man | man -l -    # the manual page, wherever it is not installed\n",
    .exits = "0, or 2 if there is no such command",
    .most = 1,
    .needs_no_config = true,
    .run = help,
};
