#include "cli/cli.h"

#include <stdio.h>

#include "base/duration.h"
#include "base/typo.h"
#include "cli/manual.h"

// What the parts of a command line turned out to be.
struct parse {
    struct cli *cli;
    char **flags; // of settings, each with its value, as config_load takes them
    int flag_count;
    bool wants_help, ended; // ended: `--` came, and no more options
};

int cli_wrong_usage(const struct cli *c, const char *why)
{
    const char *name = c->command->name;
    fprintf(stderr,
            "bond-broker %s: %s\nusage: bond-broker %s %s\n`bond-broker %s --help` has more\n",
            name, why, name, c->command->synopsis, name);
    return CLI_USAGE;
}

// ---- one argument after the other ---------------------------------------------------

static int find_option(const struct cli_command *command, struct view flag)
{
    for (int i = 0; command->options && command->options[i].flag; i++) {
        CHECK(i < CLI_OPTIONS_MAX);
        if (view_eq(view_of(command->options[i].flag), flag))
            return i;
    }
    return -1;
}

struct nearest {
    struct view meant;
    size_t distance;
    char flag[64];
};

static void consider(struct nearest *nearest, const char *flag)
{
    size_t distance = typo_distance(nearest->meant, view_of(flag));
    if (distance >= nearest->distance)
        return;
    nearest->distance = distance;
    snprintf(nearest->flag, sizeof(nearest->flag), "%s", flag);
}

static void consider_setting(void *ctx, const char *env, const char *flag, const char *initial,
                             const char *about)
{
    (void)env;
    (void)initial;
    (void)about;
    consider(ctx, flag);
}

static int unknown_flag(const struct cli *c, struct view flag)
{
    struct nearest nearest = { .meant = flag, .distance = SIZE_MAX };
    for (int i = 0; c->command->options && c->command->options[i].flag; i++)
        consider(&nearest, c->command->options[i].flag);
    config_each(consider_setting, &nearest);
    consider(&nearest, "--help");

    struct buffer why = { 0 };
    bool is_near = typo_is_near(flag, nearest.distance);
    buffer_printf(&why, VIEW_FMT " is no option of this command, and no setting%s%s%s",
                  VIEW_ARG(flag), is_near ? "; did you mean " : "", is_near ? nearest.flag : "",
                  is_near ? "?" : "");
    buffer_add(&why, "", 1);
    int status = cli_wrong_usage(c, why.at);
    buffer_free(&why);
    return status;
}

static int lacks_value(const struct cli *c, const char *flag, const char *what)
{
    struct buffer why = { 0 };
    buffer_printf(&why, "%s needs a value%s%s", flag, *what ? ": " : "", what);
    buffer_add(&why, "", 1);
    int status = cli_wrong_usage(c, why.at);
    buffer_free(&why);
    return status;
}

// An argument that begins with a dash, unless it is `-` (standard input) or a number.
static bool is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && !(arg[1] >= '0' && arg[1] <= '9');
}

// A setting's flag is kept for config_load, with its value.
static int take_setting(struct parse *p, char **argv, int *i, int argc, struct view flag)
{
    p->flags[p->flag_count++] = argv[*i];
    if (argv[*i][flag.len] == '=')
        return 0;
    if (*i + 1 == argc)
        return lacks_value(p->cli, argv[*i], "");
    p->flags[p->flag_count++] = argv[++*i];
    return 0;
}

static int take_option(struct parse *p, char **argv, int *i, int argc, struct view flag, int at)
{
    const struct cli_option *option = &p->cli->command->options[at];
    const char *value = argv[*i][flag.len] == '=' ? argv[*i] + flag.len + 1 : NULL;
    if (!option->value && value) {
        fprintf(stderr, "bond-broker: %s takes no value\n", option->flag);
        return CLI_USAGE;
    }
    if (option->value && !value && *i + 1 == argc)
        return lacks_value(p->cli, option->flag, option->about);
    p->cli->values[at] = !option->value ? "" : value ? value : argv[++*i];
    return 0;
}

// 0, or the exit status of what is wrong, which has been said.
static int take_flag(struct parse *p, char **argv, int *i, int argc)
{
    struct view flag = { argv[*i], strcspn(argv[*i], "=") };
    int at = find_option(p->cli->command, flag);
    if (at >= 0)
        return take_option(p, argv, i, argc, flag, at);
    if (config_has_flag(flag))
        return take_setting(p, argv, i, argc, flag);
    p->wants_help = view_eq(flag, VIEW("--help")) || view_eq(flag, VIEW("-h"));
    return p->wants_help ? 0 : unknown_flag(p->cli, flag);
}

static int take_arguments(struct parse *p, int argc, char **argv)
{
    struct cli *c = p->cli;
    for (int i = 0; i < argc && !p->wants_help; i++) {
        int wrong = 0;
        if (!p->ended && strcmp(argv[i], "--") == 0)
            p->ended = true;
        else if (!p->ended && is_flag(argv[i]))
            wrong = take_flag(p, argv, &i, argc);
        else
            c->argv[c->argc++] = argv[i];
        if (wrong)
            return wrong;
    }
    return 0;
}

// ---- a command ----------------------------------------------------------------------

static int check_arguments(const struct cli *c)
{
    const struct cli_command *command = c->command;
    if (c->argc < command->least)
        return cli_wrong_usage(c, c->argc ? "an argument is missing" : "its arguments are missing");
    if (c->argc > command->most)
        return cli_wrong_usage(c, "there are too many arguments");
    return 0;
}

// The broker's own sentence is a line of its log, as whoever reads that expects.
static int say_bad_setting(const struct cli *c, const struct parse *p, char *wrong)
{
    if (c->command == &cli_serve) {
        say_setup(SAY_INFO, config_log_format(p->flag_count, p->flags));
        say(SAY_ERROR, "bad_setting", SAY_S("why", wrong));
    } else {
        fprintf(stderr, "bond-broker: %s\n", wrong);
    }
    free(wrong);
    return CLI_USAGE;
}

static int run_configured(struct cli *c, const struct parse *p, int (*run)(struct cli *c))
{
    char *wrong = config_load(&c->config, p->flag_count, p->flags);
    if (wrong && !c->command->hears_wrong_setting)
        return say_bad_setting(c, p, wrong);
    c->wrong_setting = wrong;
    int status = run(c);
    free(wrong);
    config_done(&c->config);
    return status;
}

static int run_command(const struct cli_command *command, int argc, char **argv,
                       int (*serve)(struct cli *c))
{
    struct cli c = { .command = command };
    struct parse p = { .cli = &c };
    size_t room = ((size_t)argc + 1) * sizeof(char *);
    c.argv = must_alloc(room);
    p.flags = must_alloc(room);

    int status = take_arguments(&p, argc, argv);
    if (p.wants_help)
        manual_help(command);
    else if (status == 0 && (status = check_arguments(&c)) == 0)
        status = command->needs_no_config
                     ? command->run(&c)
                     : run_configured(&c, &p, command->run ? command->run : serve);
    free(p.flags);
    free(c.argv);
    return status;
}

static int unknown_command(const char *name)
{
    const char *near = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; cli_commands[i]; i++) {
        size_t distance = typo_distance(view_of(name), view_of(cli_commands[i]->name));
        if (distance < least) {
            least = distance;
            near = cli_commands[i]->name;
        }
    }
    bool is_near = typo_is_near(view_of(name), least);
    fprintf(stderr,
            "bond-broker: there is no command \"%s\"%s%s%s; `bond-broker help` lists them\n", name,
            is_near ? " (did you mean " : "", is_near ? near : "", is_near ? "?)" : "");
    return CLI_USAGE;
}

// Flags without a command are serve's, but for the two that every program has.
int cli_run(int argc, char **argv, int (*serve)(struct cli *c))
{
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return run_command(&cli_help, 0, NULL, serve);
    if (strcmp(first, "--version") == 0)
        return run_command(&cli_version, 0, NULL, serve);
    if (argc <= 1 || is_flag(first))
        return run_command(&cli_serve, argc > 1 ? argc - 1 : 0, argv + 1, serve);
    const struct cli_command *command = cli_command(first);
    return command ? run_command(command, argc - 2, argv + 2, serve) : unknown_command(first);
}

// ---- for commands -------------------------------------------------------------------

const char *cli_value(const struct cli *c, const char *flag)
{
    int at = find_option(c->command, view_of(flag));
    CHECK(at >= 0);
    return c->values[at];
}

bool cli_duration(const struct cli *c, const char *flag, int64_t initial_ms, int64_t *out_ms)
{
    const char *text = cli_value(c, flag);
    *out_ms = initial_ms;
    if (!text || duration_parse(view_of(text), MS_PER_S, out_ms))
        return true;
    fprintf(stderr, "bond-broker: %s is \"%s\", but must be %s\n", flag, text, DURATION_EXPECTED);
    return false;
}

void cli_warn_of_default_secret(const struct config *c)
{
    if (config_is_default_secret(c->secret))
        fprintf(stderr, "bond-broker: warning: the secret is the default one, which everybody "
                        "knows, so anyone can make such tokens: set BOND_SECRET to the API's\n");
}
