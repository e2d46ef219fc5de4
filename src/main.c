// bond-broker: follows Redis Streams and delivers every event to every WebSocket
// client. The way of an event: answers.c → feed.c → ring.c → letter.h → stream.c → flush.c.
#include <signal.h>

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

static int serve(struct cli *c)
{
    say_setup(c->config.say_level, c->config.say_format);
    config_each_unknown(warn_unknown);
    return broker_run(&c->config);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); // a peer that has gone is an errno, to OpenSSL's write(2) too
    return cli_run(argc, argv, serve);
}
