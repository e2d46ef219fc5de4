#include "inside.h"

#include <stdio.h>

enum {
    WRITES = 1 << 0,
    READS = 1 << 1,         // and so is remembered for CLIENT TRACKING
    WHILE_LOADING = 1 << 2, // and so on: is answered although
    WITHOUT_MASTER = 1 << 3,
    WHILE_BUSY = 1 << 4,
    WITHOUT_AUTH = 1 << 5,
};
#define ALWAYS (WHILE_LOADING | WITHOUT_MASTER)

struct command {
    const char *name;
    command_run *run;
    int args; // the command's name counts; negative: at least so many
    unsigned flags;
    int first_key, last_key; // positions; last_key -1: the last argument. 0: no key
    const struct command *subcommands;
};

static command_run on_multi, on_exec, on_discard;

static const struct command of_client[] = {
    { "client|setname", on_client_setname, 3, ALWAYS, 0, 0, NULL },
    { "client|getname", on_client_getname, 2, ALWAYS, 0, 0, NULL },
    { "client|id", on_client_id, 2, ALWAYS, 0, 0, NULL },
    { "client|tracking", on_client_tracking, -3, ALWAYS, 0, 0, NULL },
    { 0 },
};

static const struct command of_xinfo[] = {
    { "xinfo|stream", on_xinfo_stream, -3, READS, 2, 2, NULL },
    { "xinfo|groups", on_xinfo_groups, 3, READS, 2, 2, NULL },
    { 0 },
};

// The most frequent ones first.
static const struct command commands[] = {
    { "xrange", on_xrange, -4, READS, 1, 1, NULL },
    { "xadd", on_xadd, -5, WRITES, 1, 1, NULL },
    { "xread", on_xread, -4, READS, 0, 0, NULL }, // its keys: xread_keys
    { "xinfo", NULL, -2, 0, 0, 0, of_xinfo },
    { "multi", on_multi, 1, ALWAYS | WHILE_BUSY, 0, 0, NULL },
    { "exec", on_exec, 1, ALWAYS, 0, 0, NULL },
    { "xrevrange", on_xrevrange, -4, READS, 1, 1, NULL },
    { "ping", on_ping, -1, 0, 0, 0, NULL },
    { "time", on_time, 1, ALWAYS, 0, 0, NULL },
    { "hello", on_hello, -1, ALWAYS | WHILE_BUSY | WITHOUT_AUTH, 0, 0, NULL },
    { "client", NULL, -2, 0, 0, 0, of_client },
    { "info", on_info, -1, ALWAYS, 0, 0, NULL },
    { "xtrim", on_xtrim, -4, WRITES, 1, 1, NULL },
    { "xdel", on_xdel, -3, WRITES, 1, 1, NULL },
    { "xlen", on_xlen, 2, READS, 1, 1, NULL },
    { "xsetid", on_xsetid, -3, WRITES, 1, 1, NULL },
    { "del", on_del, -2, WRITES, 1, -1, NULL },
    { "unlink", on_del, -2, WRITES, 1, -1, NULL },
    { "exists", on_exists, -2, READS, 1, -1, NULL },
    { "type", on_type, 2, READS, 1, 1, NULL },
    { "rename", on_rename, 3, WRITES, 1, 2, NULL },
    { "set", on_set, -3, WRITES, 1, 1, NULL },
    { "get", on_get, 2, READS, 1, 1, NULL },
    { "scan", on_scan, -2, READS, 0, 0, NULL },
    { "keys", on_keys, 2, READS, 0, 0, NULL },
    { "flushall", on_flushall, -1, WRITES, 0, 0, NULL },
    { "flushdb", on_flushdb, -1, WRITES, 0, 0, NULL },
    { "discard", on_discard, 1, ALWAYS | WHILE_BUSY, 0, 0, NULL },
    { "auth", on_auth, -2, ALWAYS | WHILE_BUSY | WITHOUT_AUTH, 0, 0, NULL },
    { "select", on_select, 2, ALWAYS, 0, 0, NULL },
    { "echo", on_echo, 2, ALWAYS, 0, 0, NULL },
    { "role", on_role, 1, ALWAYS, 0, 0, NULL },
    { "quit", on_quit, -1, ALWAYS | WHILE_BUSY | WITHOUT_AUTH, 0, 0, NULL },
    { 0 },
};

// ---- which command is it --------------------------------------------------------

static const struct command *find_in(const struct command *list, size_t skip, struct view name)
{
    for (const struct command *cmd = list; cmd->name; cmd++)
        if (view_eq_nocase(view_of(cmd->name + skip), name))
            return cmd;
    return NULL;
}

static const struct command *find_command(const struct model *m, struct view name)
{
    const struct command *cmd = find_in(commands, 0, name);
    return cmd && cmd->run == on_hello && m->major < 6 ? NULL : cmd;
}

static const struct command *find_subcommand(const struct model *m, const struct command *cmd,
                                             struct view name)
{
    const struct command *sub = find_in(cmd->subcommands, strlen(cmd->name) + 1, name);
    bool no_tracking = m->switches.no_tracking || m->major < 6;
    return sub && sub->run == on_client_tracking && no_tracking ? NULL : sub;
}

// The command is refused before it runs; a transaction that it was meant for is broken.
static void refuse(struct model_conn *c, const struct command *cmd, const char *error)
{
    c->is_broken |= c->in_multi;
    if (cmd && cmd->run == on_exec) {
        transaction_discard(c);
        error += strncmp(error, "ERR ", 4) == 0 ? 4 : 0;
        reply_errorf(&c->output, "EXECABORT Transaction discarded because of: %s", error);
    } else {
        reply_errorf(&c->output, "%s", error);
    }
}

#define SHOWN_MAX 128 // of a client's own words in an error

static int shown(size_t len, size_t most)
{
    return (int)(len < most ? len : most);
}

static void refuse_unknown(struct model_conn *c, size_t argc, const struct view *argv)
{
    // Before 7.0 with backticks and commas.
    bool old = c->model->major < 7;
    char text[3 * SHOWN_MAX], args[2 * SHOWN_MAX];
    size_t len = 0;
    for (size_t i = 1; i < argc && len < SHOWN_MAX; i++)
        len += (size_t)snprintf(args + len, sizeof(args) - len, old ? "`%.*s`, " : "'%.*s' ",
                                shown(argv[i].len, SHOWN_MAX - len), argv[i].at);
    args[len] = '\0';
    snprintf(text, sizeof(text),
             old ? "ERR unknown command `%.*s`, with args beginning with: %s"
                 : "ERR unknown command '%.*s', with args beginning with: %s",
             shown(argv[0].len, SHOWN_MAX), argv[0].at, args);
    refuse(c, NULL, text);
}

static void refuse_subcommand(struct model_conn *c, const struct command *cmd, struct view name)
{
    char text[2 * SHOWN_MAX], upper[16];
    size_t len = 0;
    for (; cmd->name[len]; len++)
        upper[len] = (char)(cmd->name[len] - 'a' + 'A');
    snprintf(text, sizeof(text),
             c->model->major < 7
                 ? "ERR Unknown subcommand or wrong number of arguments for '%.*s'. Try %.*s HELP."
                 : "ERR unknown subcommand '%.*s'. Try %.*s HELP.",
             shown(name.len, SHOWN_MAX), name.at, (int)len, upper);
    refuse(c, NULL, text);
}

static bool has_args(const struct command *cmd, size_t argc)
{
    return cmd->args < 0 ? argc >= (size_t)-cmd->args : argc == (size_t)cmd->args;
}

static const struct command *resolve(struct model_conn *c, size_t argc, const struct view *argv)
{
    const struct command *cmd = find_command(c->model, argv[0]), *parent = cmd;
    if (cmd == NULL) {
        refuse_unknown(c, argc, argv);
        return NULL;
    }
    if (cmd->subcommands && argc > 1)
        cmd = find_subcommand(c->model, cmd, argv[1]);
    if (cmd == NULL) {
        refuse_subcommand(c, parent, argv[1]);
        return NULL;
    }
    if (!has_args(cmd, argc)) {
        char text[80];
        snprintf(text, sizeof(text), "ERR wrong number of arguments for '%s' command", cmd->name);
        refuse(c, cmd, text);
        return NULL;
    }
    return cmd;
}

// ---- its keys -------------------------------------------------------------------

struct key_range {
    size_t first, count; // positions among the arguments
};

// XREAD … STREAMS k1 k2 id1 id2. Redis looks for it in two ways. For rights: wherever the
// word is, and whatever may be a key.
static struct key_range xread_keys_for_rights(size_t argc, const struct view *argv)
{
    for (size_t i = 1; i + 1 < argc; i++)
        if (view_eq_nocase(argv[i], VIEW("STREAMS")))
            return (struct key_range){ i + 1, (argc - i - 1) / 2 };
    return (struct key_range){ 0 };
}

// How many words an option of XREAD has, those that are XREADGROUP's too.
static size_t option_len(struct view word)
{
    if (view_eq_nocase(word, VIEW("BLOCK")) || view_eq_nocase(word, VIEW("COUNT")))
        return 2;
    return view_eq_nocase(word, VIEW("GROUP")) ? 3 : view_eq_nocase(word, VIEW("NOACK")) ? 1 : 0;
}

// For CLIENT TRACKING: option by option, and only if there is an id for each.
static struct key_range xread_keys_for_tracking(size_t argc, const struct view *argv)
{
    size_t i = 1;
    while (i < argc && option_len(argv[i]) > 0)
        i += option_len(argv[i]);
    if (i >= argc || !view_eq_nocase(argv[i], VIEW("STREAMS")) || (argc - i - 1) % 2 != 0)
        return (struct key_range){ 0 };
    return (struct key_range){ i + 1, (argc - i - 1) / 2 };
}

static struct key_range find_keys(const struct command *cmd, size_t argc, const struct view *argv,
                                  bool for_rights)
{
    if (cmd->run == on_xread)
        return for_rights ? xread_keys_for_rights(argc, argv) : xread_keys_for_tracking(argc, argv);
    if (cmd->first_key == 0)
        return (struct key_range){ 0 };
    size_t first = (size_t)cmd->first_key;
    size_t last = cmd->last_key < 0 ? argc - 1 : (size_t)cmd->last_key;
    return (struct key_range){ first, last - first + 1 };
}

// ---- may it run now -------------------------------------------------------------

// NULL: yes. As a word about permission: why not.
static const char *why_not_permitted(const struct user *u, const struct command *cmd, size_t argc,
                                     const struct view *argv, char text[128])
{
    if (!(cmd->flags & WITHOUT_AUTH) && !user_may_run(u, view_of(cmd->name))) {
        snprintf(text, 128, "NOPERM this user has no permissions to run the '%s' command",
                 cmd->name);
        return text;
    }
    struct key_range keys = find_keys(cmd, argc, argv, true);
    for (size_t i = 0; i < keys.count; i++)
        if (!user_may_touch(u, argv[keys.first + i]))
            return "NOPERM this user has no permissions to access one of the keys used as "
                   "arguments";
    return NULL;
}

// EXEC may run when all that it holds may.
static bool is_allowed(const struct model_conn *c, const struct command *cmd, unsigned flag)
{
    return (cmd->flags & flag) && !(cmd->run == on_exec && (c->queue_lacks & flag));
}

static bool writes(const struct model_conn *c, const struct command *cmd)
{
    return (cmd->flags & WRITES) || (cmd->run == on_exec && (c->queue_flags & WRITES));
}

static const char *why_not(struct model_conn *c, const struct command *cmd, size_t argc,
                           const struct view *argv, char text[128])
{
    const struct model *m = c->model;
    if (c->user == NULL && !(cmd->flags & WITHOUT_AUTH))
        return "NOAUTH Authentication required.";
    const char *why = c->user ? why_not_permitted(c->user, cmd, argc, argv, text) : NULL;
    if (why)
        return why;
    if (m->is_replica && writes(c, cmd))
        return "READONLY You can't write against a read only replica.";
    if (m->switches.master_down && !is_allowed(c, cmd, WITHOUT_MASTER))
        return "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    if (m->switches.loading && !is_allowed(c, cmd, WHILE_LOADING))
        return "LOADING Redis is loading the dataset in memory";
    if (m->switches.busy && !(cmd->flags & WHILE_BUSY))
        return "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
               "NOSAVE.";
    return NULL;
}

// ---- run ------------------------------------------------------------------------

static void call(struct model_conn *c, const struct command *cmd, size_t argc,
                 const struct view *argv)
{
    cmd->run(c, argc, argv);
    if (!(cmd->flags & READS) || !c->tracks)
        return;
    struct key_range keys = find_keys(cmd, argc, argv, false);
    for (size_t i = 0; i < keys.count; i++)
        tracking_remember(c, argv[keys.first + i]);
}

static void queue(struct model_conn *c, const struct command *cmd, size_t argc,
                  const struct view *argv)
{
    reply_status(&c->output, "QUEUED");
    if (c->is_broken) // it will not run
        return;
    c->queue_len++;
    c->queue_flags |= cmd->flags;
    c->queue_lacks |= ~cmd->flags;
    reply_header(&c->queue, '*', argc);
    for (size_t i = 0; i < argc; i++)
        reply_bulk(&c->queue, argv[i]);
}

static bool runs_at_once(const struct command *cmd)
{
    return cmd->run == on_exec || cmd->run == on_discard || cmd->run == on_multi ||
           cmd->run == on_quit;
}

void command_handle(struct model_conn *c, size_t argc, const struct view *argv)
{
    char text[128];
    const struct command *cmd = resolve(c, argc, argv);
    const char *why = cmd ? why_not(c, cmd, argc, argv, text) : NULL;
    if (why)
        refuse(c, cmd, why);
    if (cmd == NULL || why)
        return;
    if (c->in_multi && !runs_at_once(cmd)) {
        queue(c, cmd, argc, argv);
        return;
    }
    c->model->current = c;
    call(c, cmd, argc, argv);
    tracking_flush(c->model);
    c->model->current = NULL;
    block_serve(c->model);
}

// ---- transactions ---------------------------------------------------------------

void transaction_discard(struct model_conn *c)
{
    c->in_multi = c->is_broken = false;
    c->queue.len = c->queue_len = 0;
    c->queue_flags = c->queue_lacks = 0;
}

static void on_multi(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    if (c->in_multi) {
        reply_error(&c->output, "ERR MULTI calls can not be nested");
        return;
    }
    c->in_multi = true;
    reply_status(&c->output, "OK");
}

static void on_discard(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    if (!c->in_multi) {
        reply_error(&c->output, "ERR DISCARD without MULTI");
        return;
    }
    transaction_discard(c);
    reply_status(&c->output, "OK");
}

// Rights may have changed since it was queued.
static void call_queued(struct model_conn *c, size_t argc, const struct view *argv)
{
    char text[128];
    const struct command *cmd = find_command(c->model, argv[0]);
    if (cmd->subcommands)
        cmd = find_subcommand(c->model, cmd, argv[1]);
    const char *why = why_not_permitted(c->user, cmd, argc, argv, text);
    if (why == NULL)
        call(c, cmd, argc, argv);
    else
        reply_errorf(&c->output,
                     "NOPERM ACLs rules changed between the moment the transaction was accumulated "
                     "and the EXEC call. This command is no longer allowed for the following "
                     "reason: %s",
                     why == text ? "no permission to execute the command or subcommand"
                                 : "no permission to touch the specified keys");
}

static void on_exec(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argv;
    if (!c->in_multi) {
        reply_error(&c->output, "ERR EXEC without MULTI");
        return;
    }
    if (c->is_broken) {
        reply_error(&c->output, "EXECABORT Transaction discarded because of previous errors.");
        transaction_discard(c);
        return;
    }
    char error[64];
    size_t used;
    struct view queued = buffer_view(&c->queue);
    c->in_exec = true;
    reply_header(&c->output, '*', c->queue_len);
    for (; queued.len > 0; queued.at += used, queued.len -= used) {
        CHECK(request_parse(c->model, queued, false, &argc, &used, error) == REQUEST_DONE);
        call_queued(c, argc, c->model->argv);
    }
    c->in_exec = false;
    transaction_discard(c);
}
