#include "cli/manual.h"

#include <ctype.h>
#include <stdio.h>

// ---- for a terminal -----------------------------------------------------------------

static void print_indented(const char *lines)
{
    for (const char *end; *lines; lines = *end ? end + 1 : end) {
        end = strchrnul(lines, '\n');
        printf("  %.*s\n", (int)(end - lines), lines);
    }
}

static void print_option(const char *flag, const char *value, const char *about)
{
    char spelled[64];
    snprintf(spelled, sizeof(spelled), "%s %s", flag, value ? value : "");
    printf("  %-18s %s\n", spelled, about);
}

void manual_help(const struct cli_command *command)
{
    printf("usage: bond-broker %s %s\n\n%c%s.\n", command->name, command->synopsis,
           toupper(command->about[0]), command->about + 1);
    if (command->more)
        printf("%s\n", command->more);
    printf("\nOptions:\n");
    for (const struct cli_option *o = command->options; o && o->flag; o++)
        print_option(o->flag, o->value, o->about);
    print_option("--help", NULL, "this text");
    printf("  and each setting as a flag, such as --redis-url: `bond-broker help` lists them\n");
    printf("\nExamples:\n");
    print_indented(command->examples);
    printf("\nExit status: %s.\n", command->exits);
}

void manual_list(void)
{
    struct buffer settings = { 0 };
    printf("Bond Broker %s: Redis Streams to WebSocket clients.\n\n"
           "usage: bond-broker [COMMAND] [arguments, options and settings]\n\n",
           BOND_VERSION);
    for (size_t i = 0; cli_commands[i]; i++)
        printf("  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->about);
    config_describe(&settings);
    printf(
        "\n`bond-broker COMMAND --help` has options and examples.\n\n"
        "Settings, from the environment or as flags (BOND_PING_SECONDS is --ping-seconds); times\n"
        "may have a unit (90s, 5m, 1h):\n" VIEW_FMT,
        VIEW_ARG(buffer_view(&settings)));
    buffer_free(&settings);
}

// ---- for shells ---------------------------------------------------------------------

static void print_flag(void *ctx, const char *env, const char *flag, const char *initial,
                       const char *about)
{
    (void)ctx;
    (void)env;
    (void)initial;
    (void)about;
    puts(flag);
}

void manual_words(const struct cli_command *command)
{
    if (!command) {
        for (size_t i = 0; cli_commands[i]; i++)
            puts(cli_commands[i]->name);
        return;
    }
    for (const struct cli_option *o = command->options; o && o->flag; o++)
        puts(o->flag);
    puts("--help");
    config_each(print_flag, NULL);
}

// ---- for man(1) ---------------------------------------------------------------------

// Text in roff: a backslash and a dash are letters, and no line is a request.
static void roff(const char *text)
{
    bool line_begins = true;
    for (; *text; text++) {
        if (line_begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        line_begins = *text == '\n';
    }
}

static void roff_term(const char *term, const char *value, const char *about)
{
    printf(".TP\n\\fB");
    roff(term);
    printf("\\fR");
    if (value) {
        printf(" \\fI");
        roff(value);
        printf("\\fR");
    }
    printf("\n");
    roff(about);
    printf("\n");
}

static void roff_command(const struct cli_command *command)
{
    printf(".SS bond\\-broker ");
    roff(command->name);
    printf(" ");
    roff(command->synopsis);
    printf("\n%c", toupper(command->about[0]));
    roff(command->about + 1);
    printf(".\n");
    if (command->more) {
        roff(command->more);
        printf("\n");
    }
    for (const struct cli_option *o = command->options; o && o->flag; o++)
        roff_term(o->flag, o->value, o->about);
    printf(".PP\n.nf\n.RS\n");
    roff(command->examples);
    printf(".RE\n.fi\n.PP\nExit status: ");
    roff(command->exits);
    printf(".\n");
}

static void roff_setting(void *ctx, const char *env, const char *flag, const char *initial,
                         const char *about)
{
    char names[128];
    (void)ctx;
    snprintf(names, sizeof(names), "%s, %s", env, flag);
    roff_term(names, NULL, about);
    if (*initial) {
        printf("(default: ");
        roff(initial);
        printf(")\n");
    }
}

void manual_page(void)
{
    printf(".TH BOND\\-BROKER 1 \"\" \"Bond Broker %s\" \"User Commands\"\n"
           ".SH NAME\nbond\\-broker \\- Redis Streams to WebSocket clients\n"
           ".SH SYNOPSIS\n.B bond\\-broker\n[\\fICOMMAND\\fR] [\\fIarguments, options and "
           "settings\\fR]\n"
           ".SH DESCRIPTION\nBond Broker reads events from Redis Streams and sends every event to "
           "every client that listens: over WebSockets, over server\\-sent events, or as a page of "
           "history. It keeps the last minute of each stream in memory, so that a client can "
           "replay it, or resume exactly where it was.\n.SH COMMANDS\n"
           "Each command has \\fB\\-\\-help\\fR.\n",
           BOND_VERSION);
    for (size_t i = 0; cli_commands[i]; i++)
        roff_command(cli_commands[i]);
    printf(".SH SETTINGS\nEach is an environment variable, and a flag that every command takes; a "
           "flag goes before the environment. Where a setting is a time, a unit may stand behind "
           "the number (90s, 5m, 1h).\n");
    config_each(roff_setting, NULL);
    printf(".SH SEE ALSO\n.BR redis\\-server (1),\n.BR systemd.service (5)\n");
}
