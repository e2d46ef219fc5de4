// bond-broker: follows Redis Streams and delivers every event to every WebSocket
// client. The way of an event: answers.c → feed.c → ring.c → letter.h → stream.c → flush.c.
#include <signal.h>
#include <stdio.h>

#include "broker.h"
#include "cli/cli.h"

// A misspelt setting would otherwise be one that silently does not count.
static void warn_unknown(struct view name, const char *near)
{
    struct buffer hint = { 0 };
    buffer_printf(&hint, "it is no setting%s%s%s", near ? "; did you mean " : "", near ? near : "",
                  near ? "?" : "");
    say(SAY_WARN, "unknown_setting", SAY_V("name", name), SAY_V("hint", buffer_view(&hint)));
    buffer_free(&hint);
}

static int serve(int argc, char **argv)
{
    struct config config;
    char *wrong = config_load(&config, argc, argv);
    if (wrong) {
        fprintf(stderr, "bond-broker: %s\n", wrong);
        free(wrong);
        return 2;
    }
    say_setup(config.say_level, config.say_format);
    config_each_unknown(warn_unknown);
    int status = broker_run(&config);
    config_done(&config);
    return status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        { "serve", serve },           { "token", cli_token },   { "check-token", cli_check_token },
        { "publish", cli_publish },   { "health", cli_health }, { "version", cli_version },
        { "--version", cli_version }, { "help", cli_help },     { "--help", cli_help },
        { "-h", cli_help },
    };
    signal(SIGPIPE, SIG_IGN); // a peer that has gone is an errno, to OpenSSL's write(2) too
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    if (argc == 1 || strncmp(argv[1], "--", 2) == 0)
        return serve(argc - 1, argv + 1);
    fprintf(stderr, "bond-broker: there is no command \"%s\"; `bond-broker help` lists them\n",
            argv[1]);
    return 2;
}
