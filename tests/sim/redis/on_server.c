// Commands about the server and the connection.
#include "inside.h"

#include <inttypes.h>

static void ok(struct model_conn *c)
{
    reply_status(&c->output, "OK");
}

static void fail(struct model_conn *c, const char *error)
{
    reply_error(&c->output, error);
}

// ---- who speaks -----------------------------------------------------------------

#define WRONG_PASSWORD "WRONGPASS invalid username-password pair or user is disabled."

static bool let_in(struct model_conn *c, struct view name, struct view password)
{
    const struct user *u = user_let_in(c->model, name, password);
    if (u)
        c->user = u;
    else
        fail(c, WRONG_PASSWORD);
    return u != NULL;
}

void on_auth(struct model_conn *c, size_t argc, const struct view *argv)
{
    if (argc > 3)
        fail(c, SYNTAX_ERROR);
    else if (argc == 2 && !c->model->default_user->needs_password)
        fail(c, "ERR AUTH <password> called without any password configured for the default user. "
                "Are you sure your configuration is correct?");
    else if (let_in(c, argc == 3 ? argv[1] : VIEW("default"), argv[argc - 1]))
        ok(c);
}

static bool is_name(struct view name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] < '!' || name.at[i] > '~')
            return false;
    return true;
}

#define BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

static void set_name(struct model_conn *c, struct view name)
{
    c->name.len = 0;
    buffer_add_view(&c->name, name);
}

void on_client_setname(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    if (!is_name(argv[2])) {
        fail(c, BAD_NAME);
        return;
    }
    set_name(c, argv[2]);
    ok(c);
}

void on_client_getname(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    if (c->name.len)
        reply_bulk(&c->output, buffer_view(&c->name));
    else
        reply_null(&c->output, c->resp);
}

void on_client_id(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    reply_integer(&c->output, (int64_t)c->id);
}

void on_client_tracking(struct model_conn *c, size_t argc, const struct view *argv)
{
    bool on = view_eq_nocase(argv[2], VIEW("ON"));
    if (argc > 3 || (!on && !view_eq_nocase(argv[2], VIEW("OFF")))) {
        fail(c, SYNTAX_ERROR);
        return;
    }
    c->tracks = on;
    ok(c);
}

// ---- HELLO ----------------------------------------------------------------------

struct hello {
    int64_t version; // 0: as it is
    const struct view *user, *password, *name;
};

// False: the error has been said.
static bool parse_hello(struct model_conn *c, size_t argc, const struct view *argv, struct hello *h)
{
    *h = (struct hello){ 0 };
    if (argc > 1 && !number_parse(argv[1], &h->version)) {
        fail(c, "ERR Protocol version is not an integer or out of range");
        return false;
    }
    if (argc > 1 && (h->version < 2 || h->version > 3)) {
        fail(c, "NOPROTO unsupported protocol version");
        return false;
    }
    for (size_t i = 2; i < argc; i++) {
        size_t more = argc - 1 - i;
        if (more >= 2 && view_eq_nocase(argv[i], VIEW("AUTH"))) {
            h->user = &argv[++i];
            h->password = &argv[++i];
        } else if (more >= 1 && view_eq_nocase(argv[i], VIEW("SETNAME"))) {
            h->name = &argv[++i];
            if (!is_name(*h->name)) {
                fail(c, BAD_NAME);
                return false;
            }
        } else {
            reply_errorf(&c->output, "ERR Syntax error in HELLO option '" VIEW_FMT "'",
                         VIEW_ARG(argv[i]));
            return false;
        }
    }
    return true;
}

static void tell_text(struct buffer *out, const char *name, const char *value)
{
    reply_text(out, name);
    reply_text(out, value);
}

static void tell_hello(struct model_conn *c)
{
    struct buffer *out = &c->output;
    reply_map(out, c->resp, 7);
    tell_text(out, "server", "redis");
    tell_text(out, "version", c->model->version);
    reply_text(out, "proto");
    reply_integer(out, c->resp);
    reply_text(out, "id");
    reply_integer(out, (int64_t)c->id);
    tell_text(out, "mode", "standalone");
    tell_text(out, "role", c->model->is_replica ? "replica" : "master");
    reply_text(out, "modules");
    reply_header(out, '*', 0);
}

void on_hello(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct hello h;
    if (!parse_hello(c, argc, argv, &h) || (h.user && !let_in(c, *h.user, *h.password)))
        return;
    if (c->user == NULL) {
        fail(c, "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                "HELLO AUTH <user> <pass> option can be used to authenticate the client "
                "and select the RESP protocol version at the same time");
        return;
    }
    if (h.name)
        set_name(c, *h.name);
    if (h.version)
        c->resp = (unsigned)h.version;
    tell_hello(c);
}

// ---- small ones -----------------------------------------------------------------

void on_quit(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    ok(c);
    c->hangs_up = true;
}

void on_select(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    int64_t db;
    if (!number_parse(argv[1], &db)) {
        fail(c, NOT_INTEGER);
    } else if (db < INT32_MIN || db > INT32_MAX) {
        fail(c, "ERR value is out of range, value must between -2147483648 and 2147483647");
    } else if (db < 0 || db >= DB_COUNT) {
        fail(c, "ERR DB index is out of range");
    } else {
        c->db = (unsigned)db;
        ok(c);
    }
}

void on_ping(struct model_conn *c, size_t argc, const struct view *argv)
{
    if (argc > 2)
        fail(c, "ERR wrong number of arguments for 'ping' command");
    else if (argc == 2)
        reply_bulk(&c->output, argv[1]);
    else
        reply_status(&c->output, "PONG");
}

void on_echo(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc;
    reply_bulk(&c->output, argv[1]);
}

static void write_decimal(struct buffer *out, int64_t n)
{
    char text[20];
    reply_bulk(out, (struct view){ text, reply_digits((uint64_t)n, text) });
}

void on_time(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    int64_t us = c->model->now_us;
    reply_header(&c->output, '*', 2);
    write_decimal(&c->output, us / 1000000);
    write_decimal(&c->output, us % 1000000);
}

// The offsets of replication are not modelled.
void on_role(struct model_conn *c, size_t argc, const struct view *argv)
{
    (void)argc, (void)argv;
    struct buffer *out = &c->output;
    if (!c->model->is_replica) {
        reply_header(out, '*', 3);
        reply_text(out, "master");
        reply_integer(out, 0);
        reply_header(out, '*', 0);
        return;
    }
    reply_header(out, '*', 5);
    reply_text(out, "slave");
    reply_text(out, "127.0.0.1");
    reply_integer(out, 1);
    reply_text(out, c->model->switches.master_down ? "connect" : "connected");
    reply_integer(out, 0);
}

// ---- INFO -----------------------------------------------------------------------

static void info_server(const struct model *m, struct buffer *out)
{
    int64_t up_s = (m->now_us - m->began_us) / 1000000;
    buffer_printf(out,
                  "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nrun_id:%s\r\n"
                  "tcp_port:6379\r\nserver_time_usec:%" PRId64 "\r\nuptime_in_seconds:%" PRId64
                  "\r\n",
                  m->version, m->run_id, m->now_us, up_s);
}

static void info_clients(const struct model *m, struct buffer *out)
{
    size_t all = 0, blocked = 0, tracking = 0;
    LIST_EACH (node, &m->conns) {
        const struct model_conn *c = LIST_ITEM(node, struct model_conn, of_model);
        all++;
        blocked += c->waits != NULL;
        tracking += c->tracks;
    }
    buffer_printf(out,
                  "# Clients\r\nconnected_clients:%zu\r\nblocked_clients:%zu\r\n"
                  "tracking_clients:%zu\r\n",
                  all, blocked, tracking);
}

static void info_replication(const struct model *m, struct buffer *out)
{
    buffer_printf(out, "# Replication\r\nrole:%s\r\n", m->is_replica ? "slave" : "master");
    if (m->is_replica)
        buffer_printf(out, "master_link_status:%s\r\n", m->switches.master_down ? "down" : "up");
}

static const struct {
    const char *name;
    void (*write)(const struct model *m, struct buffer *out);
} sections[] = {
    { "server", info_server },
    { "clients", info_clients },
    { "replication", info_replication },
};

static bool is_asked(const char *section, size_t argc, const struct view *argv)
{
    for (size_t i = 1; i < argc; i++)
        if (view_eq_nocase(argv[i], view_of(section)) || view_eq_nocase(argv[i], VIEW("all")) ||
            view_eq_nocase(argv[i], VIEW("default")) || view_eq_nocase(argv[i], VIEW("everything")))
            return true;
    return argc == 1;
}

void on_info(struct model_conn *c, size_t argc, const struct view *argv)
{
    struct buffer text = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        if (!is_asked(sections[i].name, argc, argv))
            continue;
        if (text.len)
            buffer_add_view(&text, VIEW("\r\n"));
        sections[i].write(c->model, &text);
    }
    reply_verbatim(&c->output, c->resp, buffer_view(&text));
    buffer_free(&text);
}
