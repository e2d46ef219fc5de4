#include "redis/greeting.h"

#include <stdarg.h>
#include <stdio.h>

#define NAME "bond-broker" // as CLIENT LIST shows it
#define SHOWN_MAX 200      // bytes of an error of Redis's own

// ---- commands ---------------------------------------------------------------

static bool has_credentials(const struct greeting *g)
{
    return g->options->user || g->options->password;
}

static struct view password(const struct greeting *g)
{
    return view_of(g->options->password ? g->options->password : "");
}

static void command(struct greeting *g, enum greeting_command what, struct buffer *out, size_t argc,
                    const struct view *argv)
{
    CHECK(g->said_len < GREETING_COMMANDS_MAX);
    g->said[g->said_len++] = what;
    resp_command(out, argc, argv);
}

static void say_hello(struct greeting *g, struct buffer *out)
{
    struct view argv[7];
    size_t argc = 0;
    argv[argc++] = VIEW("HELLO");
    argv[argc++] = VIEW("3");
    if (has_credentials(g)) {
        argv[argc++] = VIEW("AUTH");
        argv[argc++] = view_of(g->options->user ? g->options->user : "default");
        argv[argc++] = password(g);
    }
    argv[argc++] = VIEW("SETNAME");
    argv[argc++] = VIEW(NAME);
    command(g, SAID_HELLO, out, argc, argv);
}

static void say_auth(struct greeting *g, struct buffer *out)
{
    struct view argv[3] = { VIEW("AUTH") };
    size_t argc = 1;
    if (g->options->user)
        argv[argc++] = view_of(g->options->user);
    argv[argc++] = password(g);
    command(g, SAID_AUTH, out, argc, argv);
}

static void say_select(struct greeting *g, struct buffer *out)
{
    char db[16];
    snprintf(db, sizeof(db), "%d", g->options->db);
    if (g->options->db)
        command(g, SAID_SELECT, out, 2, (struct view[]){ VIEW("SELECT"), view_of(db) });
}

static void say_ping(struct greeting *g, struct buffer *out)
{
    command(g, SAID_PING, out, 1, (struct view[]){ VIEW("PING") });
}

static void go_on_in_resp3(struct greeting *g, struct buffer *out)
{
    say_select(g, out);
    if (g->options->tracking)
        command(g, SAID_TRACKING, out, 3,
                (struct view[]){ VIEW("CLIENT"), VIEW("TRACKING"), VIEW("ON") });
    say_ping(g, out);
}

static void go_on_in_resp2(struct greeting *g, struct buffer *out)
{
    if (has_credentials(g))
        say_auth(g, out);
    say_select(g, out);
    command(g, SAID_NAME, out, 3, (struct view[]){ VIEW("CLIENT"), VIEW("SETNAME"), VIEW(NAME) });
    say_ping(g, out);
}

// ---- errors -----------------------------------------------------------------

static bool mentions(struct view text, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= text.len; i++)
        if (view_eq_nocase((struct view){ text.at + i, len }, view_of(word)))
            return true;
    return false;
}

static bool is_about_password(struct view error)
{
    return view_starts(error, VIEW("WRONGPASS")) || view_starts(error, VIEW("NOAUTH")) ||
           view_starts(error, VIEW("NOPERM"));
}

// A PING is refused for reasons, too, that hinder no reading: an ACL, a renamed
// command, a snapshot that could not be saved (MISCONF).
static bool hinders_reading(struct view error)
{
    return view_starts(error, VIEW("LOADING")) || view_starts(error, VIEW("MASTERDOWN")) ||
           view_starts(error, VIEW("NOAUTH"));
}

// A server that knows no HELLO (Redis 5, some proxies), or not this protocol.
static bool wants_resp2(struct view error)
{
    return view_starts(error, VIEW("NOPROTO")) || mentions(error, "unknown") ||
           mentions(error, "unsupported") || mentions(error, "syntax error");
}

// Old servers repeat a command that they do not know, its arguments included.
static struct view without_secret(const struct greeting *g, struct view error)
{
    struct view secret = password(g);
    if (secret.len && error.len && memmem(error.at, error.len, secret.at, secret.len))
        return VIEW("(its answer is not shown, for it repeats the password)");
    return (struct view){ error.at, error.len < SHOWN_MAX ? error.len : SHOWN_MAX };
}

static enum greeting_result fail(struct greeting *g, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static enum greeting_result fail(struct greeting *g, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(g->why, sizeof(g->why), fmt, args);
    va_end(args);
    return GREETING_FAILED;
}

static enum greeting_result refused(struct greeting *g, enum greeting_command what,
                                    struct view error)
{
    struct view text = without_secret(g, error);
    if (view_starts(error, VIEW("LOADING")))
        return fail(g, "Redis is loading its data set");
    if (view_starts(error, VIEW("MASTERDOWN")))
        return fail(g, "Redis is a replica that has lost its master and serves no data meanwhile");
    if (view_starts(error, VIEW("NOAUTH")) && !has_credentials(g))
        return fail(g, "Redis wants a password: set one in REDIS_URL");
    if (what == SAID_AUTH || is_about_password(error))
        return fail(g, "Redis refused the password: " VIEW_FMT, VIEW_ARG(text));
    if (what == SAID_SELECT)
        return fail(g, "Redis refused database %d: " VIEW_FMT, g->options->db, VIEW_ARG(text));
    return fail(g, "Redis refused the greeting: " VIEW_FMT, VIEW_ARG(text));
}

// ---- answers ----------------------------------------------------------------

// "redis 7.0.15" from the map that answers HELLO; it is kept as far as there is room.
static void note_server(struct greeting *g, struct resp_reader r, size_t fields)
{
    struct view name = VIEW("redis"), version = VIEW("");
    struct resp_node key, value;
    for (size_t i = 0; i + 1 < fields && resp_next(&r, &key) && resp_next(&r, &value); i += 2) {
        if (view_eq(key.text, VIEW("server")))
            name = value.text;
        else if (view_eq(key.text, VIEW("version")))
            version = value.text;
        resp_skip(&r, &value);
    }
    snprintf(g->server, sizeof(g->server), VIEW_FMT "%s" VIEW_FMT, VIEW_ARG(name),
             version.len ? " " : "", VIEW_ARG(version));
}

static void note_tracking(struct greeting *g, const struct resp_node *node)
{
    g->tracks = node->type != RESP_ERROR;
    if (!g->tracks)
        snprintf(g->why_not_tracking, sizeof(g->why_not_tracking),
                 "CLIENT TRACKING was refused: " VIEW_FMT, VIEW_ARG(without_secret(g, node->text)));
}

static enum greeting_result hello_answered(struct greeting *g, const struct resp_node *node,
                                           struct resp_reader rest, struct buffer *out)
{
    if (node->type == RESP_MAP) {
        note_server(g, rest, node->count);
        go_on_in_resp3(g, out);
    } else if (node->type != RESP_ERROR) {
        return fail(g, GREETING_NOT_REDIS);
    } else if (wants_resp2(node->text)) {
        note_server(g, rest, 0);
        snprintf(g->why_not_tracking, sizeof(g->why_not_tracking), "HELLO 3 was refused: " VIEW_FMT,
                 VIEW_ARG(without_secret(g, node->text)));
        go_on_in_resp2(g, out);
    } else {
        return refused(g, SAID_HELLO, node->text);
    }
    return GREETING_MORE;
}

void greeting_begin(struct greeting *g, const struct greeting_options *options, struct buffer *out)
{
    *g = (struct greeting){ .options = options };
    say_hello(g, out);
}

enum greeting_result greeting_reply(struct greeting *g, struct view reply, struct buffer *out)
{
    CHECK(g->answered < g->said_len); // the answer to the last command ended the greeting
    enum greeting_command what = g->said[g->answered++];
    struct resp_reader rest = resp_open(reply);
    struct resp_node node;
    CHECK(resp_next(&rest, &node) && node.type != RESP_PUSH);
    bool is_error = node.type == RESP_ERROR;

    if (what == SAID_HELLO)
        return hello_answered(g, &node, rest, out);
    if (what == SAID_TRACKING)
        note_tracking(g, &node);
    else if (is_error && what != SAID_NAME && (what != SAID_PING || hinders_reading(node.text)))
        return refused(g, what, node.text);
    return g->answered == g->said_len ? GREETING_UP : GREETING_MORE;
}
