// What is printed of the commands, all of it made from their table and the settings'.
#pragma once

#include "cli/command.h"

void manual_help(const struct cli_command *command); // its --help
void manual_list(void);                              // `help`: commands and settings
void manual_page(void);                              // `help --man`: bond-broker(1), in roff
// `help --words`: what may stand next, one word a line, for shells. NULL: the commands;
// else that command's options and the settings' flags.
void manual_words(const struct cli_command *command);
