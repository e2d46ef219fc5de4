// bond-broker doctor: what keeps a broker with these settings from working well here.
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/doctor_redis.h"
#include "cli/fetch.h"

#define SECRET_MIN 16        // bytes; the API makes longer ones
#define DESCRIPTORS_MIN 4096 // below it a broker is for trying out
#define DESCRIPTORS_KEPT 64  // for what are no clients, about
#define BACKLOG 4096         // what the broker asks listen(2) for
#define SYN_BACKLOG_MIN 1024

// ---- settings ---------------------------------------------------------------------

static struct findings *unknown_to; // config_each_unknown has no room for it

static void add_unknown(struct view name, const char *near)
{
    char hint[120] = "take it out of the environment";
    if (near)
        snprintf(hint, sizeof(hint), "is %s meant?", near);
    findings_add(unknown_to, FINDING_WARN, "settings", hint, VIEW_FMT " is no setting",
                 VIEW_ARG(name));
}

static void check_settings(const struct cli *c, struct findings *f)
{
    size_t before = f->count[FINDING_WARN];
    if (c->wrong_setting) {
        findings_add(f, FINDING_WRONG, "settings", "the broker does not start with it", "%s",
                     c->wrong_setting);
        return;
    }
    unknown_to = f;
    config_each_unknown(add_unknown);
    if (f->count[FINDING_WARN] == before)
        findings_add(f, FINDING_OK, "settings", "", "they make sense");
}

static void check_secret(struct findings *f, const char *setting, const char *secret)
{
    size_t len = strlen(secret);
    if (config_is_default_secret(secret))
        findings_add(f, FINDING_WARN, "secret", "set one of your own, here and in the API",
                     "%s is the default one, which everybody knows: anyone can make tokens",
                     setting);
    else if (len < SECRET_MIN)
        findings_add(f, FINDING_WARN, "secret",
                     "take 32 random bytes, such as `openssl rand -hex 32`",
                     "%s has %zu bytes, so it may be guessed from one token", setting, len);
    else
        findings_add(f, FINDING_OK, "secret", "", "%s is one of your own", setting);
}

// ---- the port ---------------------------------------------------------------------

// 0, or why the broker could not listen there (an errno).
static int bind_error(const struct config *c)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST };
    struct addrinfo *found;
    char service[16];
    int on = 1, error = 0;
    snprintf(service, sizeof(service), "%lld", (long long)c->port);
    if (getaddrinfo(c->host, service, &hints, &found) != 0)
        return EADDRNOTAVAIL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0)
        error = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return error;
}

static void check_taken_port(const struct config *c, struct findings *f)
{
    struct fetched answer;
    fetch_from_config(c, "/health", &answer);
    struct view body = buffer_view(&answer.body), name = VIEW("\"service\":\"broker\"");
    bool is_ours = answer.status == 200 && body.len && memmem(body.at, body.len, name.at, name.len);
    if (is_ours)
        findings_add(f, FINDING_OK, "port", "", "a broker answers at %s port %lld", fetch_host(c),
                     (long long)c->port);
    else
        findings_add(f, FINDING_WRONG, "port", "end it, or set another BOND_PORT",
                     "something that is no broker has %s port %lld", c->host, (long long)c->port);
    fetched_done(&answer);
}

static void check_port(const struct config *c, struct findings *f)
{
    int error = bind_error(c);
    if (error == EADDRINUSE)
        check_taken_port(c, f);
    else if (error)
        findings_add(f, FINDING_WRONG, "port",
                     error == EACCES ? "set a BOND_PORT above 1023"
                                     : "set BOND_HOST to an address of this machine",
                     "cannot listen at %s port %lld: %s", c->host, (long long)c->port,
                     strerror(error));
    else
        findings_add(f, FINDING_OK, "port", "", "%s port %lld is free", c->host,
                     (long long)c->port);
}

// ---- this machine -----------------------------------------------------------------

static void check_descriptors(const struct config *c, struct findings *f)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    long long most = limit.rlim_max > INT64_MAX ? INT64_MAX : (long long)limit.rlim_max;
    long long clients = most > DESCRIPTORS_KEPT ? most - DESCRIPTORS_KEPT : 1;
    const char *hint = "raise it: ulimit -Hn, LimitNOFILE, or the container's ulimits";
    if (c->max_clients > clients)
        findings_add(f, FINDING_WARN, "descriptors", hint,
                     "%lld allow some %lld clients, and BOND_MAX_CLIENTS wants %lld", most, clients,
                     (long long)c->max_clients);
    else if (most < DESCRIPTORS_MIN)
        findings_add(f, FINDING_WARN, "descriptors", hint, "%lld allow no more than %lld clients",
                     most, clients);
    else
        findings_add(f, FINDING_OK, "descriptors", "", "%lld allow some %lld clients", most,
                     clients);
}

// -1: there is no such file, as in a container, or it has no number.
static long long kernel_number(const char *name)
{
    char path[128];
    long long number = -1;
    snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    if (fscanf(file, "%lld", &number) != 1)
        number = -1;
    fclose(file);
    return number;
}

static void check_kernel_number(struct findings *f, const char *name, long long least,
                                const char *consequence)
{
    char setting[80], hint[160];
    long long number = kernel_number(name);
    snprintf(setting, sizeof(setting), "net.%s", name);
    for (char *p = setting; *p; p++)
        *p = *p == '/' ? '.' : *p;
    snprintf(hint, sizeof(hint), "sysctl -w %s=%lld", setting, least);
    if (number < 0)
        return;
    if (number < least)
        findings_add(f, FINDING_WARN, "kernel", hint, "%s is %lld: %s", setting, number,
                     consequence);
    else
        findings_add(f, FINDING_OK, "kernel", "", "%s is %lld", setting, number);
}

static void check_kernel(const struct config *c, struct findings *f)
{
    long long clients = c->max_clients ? (long long)c->max_clients : DESCRIPTORS_MIN;
    check_kernel_number(f, "core/somaxconn", BACKLOG,
                        "when thousands come back at once, they wait for a retransmission");
    check_kernel_number(f, "ipv4/tcp_max_syn_backlog", SYN_BACKLOG_MIN,
                        "when thousands come back at once, they wait for a retransmission");
    check_kernel_number(f, "netfilter/nf_conntrack_max", clients,
                        "its table cannot hold all clients");
}

// ---- all of it --------------------------------------------------------------------

static int doctor(struct cli *c)
{
    struct findings f = { .is_json = cli_value(c, "--json") != NULL,
                          .is_coloured = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
    const struct config *config = &c->config;
    check_settings(c, &f);
    if (!c->wrong_setting) { // else there is nothing to go by
        check_secret(&f, "BOND_SECRET", config->secret);
        if (*config->secret_previous)
            check_secret(&f, "BOND_SECRET_PREVIOUS", config->secret_previous);
        check_port(config, &f);
        check_descriptors(config, &f);
        check_kernel(config, &f);
        doctor_ask_redis(config, &f);
    }
    return findings_end(&f);
}

static const struct cli_option doctor_options[] = {
    { "--json", NULL,
      "one JSON object: {\"ok\", \"wrong\", \"warnings\", \"checks\": [{check, state, text, hint}]}" },
    { 0 },
};

const struct cli_command cli_doctor = {
    .name = "doctor",
    .synopsis = "[--json]",
    .about = "check what a broker with these settings needs: Redis, rights, limits, the kernel",
    .more =
        "A line for each check: ok, note, warn (it works, but not as well as it could) or wrong,\n"
        "with what to do. It changes nothing, here or in Redis, and ends within seconds.",
    .options = doctor_options,
    .examples = "bond-broker doctor\n"
                "bond-broker doctor --redis-url rediss://broker:password@redis.example:6380\n"
                "bond-broker doctor --json | jq '.checks[] | select(.state != \"ok\")'\n",
    .exits =
        "0 if nothing is wrong (there may be warnings), 1 if something is, 2 if it was used wrongly",
    .hears_wrong_setting = true,
    .run = doctor,
};
