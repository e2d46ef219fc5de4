// bond-bench: what does a delivery, a client, a stream, a replay cost? Clients and
// an open-loop publisher for a server that somebody else started, and the floors
// that it is compared with. bench/README.md says how to read the figures.
//
//   coordinator ─── publishes, watches the clocks, reports
//        ├── client processes: connect, read, check, count          (clients.c)
//        └── for a floor: the bare loop that they talk to instead   (bare.c)
//
// One measured stretch: all is quiet, clocks are read, events are published at their
// times, all is delivered, clocks are read. So CPU and deliveries belong together.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bare.h"
#include "clients.h"
#include "direct.h"
#include "publisher.h"
#include "stamp.h"

#define POLL_NS (NS_PER_S / 1000)
#define QUIET_S 10.0   // so long may the last deliveries take
#define FILES_SPARE 64 // descriptors of a process that are no clients
#define CLIENTS_PER_PROCESS 15000
#define CLIENTS_PER_SOURCE 10000
#define EXIT_CHECKS 1 // an event was lost, came late, or made no sense
#define EXIT_USAGE 2
#define EXIT_FAILED 3 // nothing was measured

enum mode { LOAD, FLOOR, DIRECT };

struct run {
    struct options *o;
    enum mode mode;
    enum fault fault;
    struct board *board;
    struct bare bare;
    struct publisher publisher;
    struct probe clients; // our client processes
    int control;          // closed: they end
    int64_t deadline_ns;
    uint64_t events; // published so far
};

// What is reported, in this order; every figure has its unit in its name.
struct figure {
    const char *name;
    double value;
};
struct report {
    struct figure figures[64];
    size_t count;
};

static void put(struct report *r, const char *name, double value)
{
    CHECK(r->count < ARRAY_LEN(r->figures));
    r->figures[r->count++] = (struct figure){ name, value };
}

static double get(const struct report *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcmp(r->figures[i].name, name) == 0)
            return r->figures[i].value;
    return 0;
}

// ---- the tallies ------------------------------------------------------------------

#define SUM(run, counter) sum((run), offsetof(struct tally, counter))
static uint64_t sum(const struct run *run, size_t offset)
{
    uint64_t total = 0;
    for (size_t i = 0; i < run->o->processes; i++) {
        const char *tally = (const char *)&run->board->tallies[i];
        total += atomic_load_explicit((const atomic_ullong *)(const void *)(tally + offset),
                                      memory_order_relaxed);
    }
    return total;
}

// What all clients together should have had after so many events.
static uint64_t expected(const struct options *o, uint64_t events)
{
    uint64_t total = 0;
    for (size_t k = o->stalled; k < o->clients; k++) {
        size_t stream = k % o->streams;
        total += events_of(o, stream, events);
        if (!o->replay)
            total -= o->prefill;
    }
    return total;
}

static bool wait_for(struct run *run, size_t offset, uint64_t least, double seconds)
{
    int64_t until = clock_ns() + (int64_t)(seconds * 1e9);
    if (until > run->deadline_ns)
        until = run->deadline_ns;
    while (sum(run, offset) + SUM(run, refused) < least) {
        if (clock_ns() > until)
            return false;
        sleep_until(clock_ns() + POLL_NS);
    }
    return true;
}

// Lost, late and garbled events are reported at the end; here they only end the wait.
static bool wait_until_quiet(struct run *run, double seconds)
{
    uint64_t least = expected(run->o, run->events);
    return wait_for(run, offsetof(struct tally, delivered), least, seconds);
}

// ---- the processes ----------------------------------------------------------------

static pid_t fork_client_process(struct run *run, size_t i, const int control[2])
{
    const struct options *o = run->o;
    size_t first = o->clients * i / o->processes;
    size_t last = o->clients * (i + 1) / o->processes;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(control[1]);
    if (run->mode == DIRECT)
        direct_run(o, run->board, &run->board->tallies[i]);
    clients_run(o, run->board, &run->board->tallies[i], first, last - first, control[0]);
    _exit(0);
}

static void start_clients(struct run *run)
{
    int control[2];
    CHECK(pipe(control) == 0);
    for (size_t i = 0; i < run->o->processes; i++)
        probe_add(&run->clients, fork_client_process(run, i, control));
    close(control[0]);
    run->control = control[1];
}

static void end_clients(struct run *run)
{
    atomic_store(&run->board->events, run->events);
    close(run->control);
    for (size_t i = 0; i < run->clients.count; i++) {
        if (run->mode == DIRECT)
            kill(run->clients.pids[i], SIGKILL);
        waitpid(run->clients.pids[i], NULL, 0);
    }
}

// ---- one run ----------------------------------------------------------------------

static bool publish(struct run *run, uint64_t count, int64_t start_ns)
{
    bool done = run->mode == FLOOR ? bare_run(&run->bare, run->events, count, start_ns)
                                   : publisher_run(&run->publisher, run->events, count, start_ns);
    run->events += count;
    return done;
}

static uint64_t events_in(const struct options *o, double seconds)
{
    uint64_t bursts = (uint64_t)(o->rate * seconds / (double)o->burst + 0.5);
    return (bursts ? bursts : o->rate * seconds > 0) * o->burst;
}

struct reading {
    int64_t at_ns, server_ns, redis_ns, load_ns;
    uint64_t delivered, bytes, reads;
};

static struct reading read_all(const struct run *run)
{
    struct probe self = { { getpid() }, 1 };
    return (struct reading){
        .at_ns = clock_ns(),
        .server_ns = probe_cpu_ns(&run->o->server),
        .redis_ns = probe_cpu_ns(&run->o->redis),
        .load_ns = probe_cpu_ns(&run->clients) + probe_cpu_ns(&self),
        .delivered = SUM(run, delivered),
        .bytes = SUM(run, bytes),
        .reads = SUM(run, reads),
    };
}

static void report_connecting(struct report *r, const struct run *run, struct reading a,
                              struct reading b)
{
    double seconds = (double)(b.at_ns - a.at_ns) / 1e9, clients = (double)run->o->clients;
    put(r, "connect_s", seconds);
    if (clients == 0)
        return;
    put(r, "connects_per_s", clients / seconds);
    put(r, "connect_server_cpu_us", (double)(b.server_ns - a.server_ns) / 1e3 / clients);
    put(r, "connect_load_cpu_share", (double)(b.load_ns - a.load_ns) / 1e9 / seconds);
}

static void report_stretch(struct report *r, struct reading a, struct reading b, uint64_t events)
{
    double seconds = (double)(b.at_ns - a.at_ns) / 1e9;
    double delivered = (double)(b.delivered - a.delivered);
    double bytes = (double)(b.bytes - a.bytes);
    double server_us = (double)(b.server_ns - a.server_ns) / 1e3;
    double redis_us = (double)(b.redis_ns - a.redis_ns) / 1e3;
    put(r, "seconds", seconds);
    put(r, "events", (double)events);
    put(r, "delivered", delivered);
    put(r, "deliveries_per_s", delivered / seconds);
    put(r, "bytes", bytes);
    put(r, "bytes_per_s", bytes / seconds);
    if (delivered > 0)
        put(r, "bytes_per_delivery", bytes / delivered);
    if (b.reads > a.reads)
        put(r, "deliveries_per_read", delivered / (double)(b.reads - a.reads));
    if (delivered > 0)
        put(r, "server_cpu_us_per_delivery", server_us / delivered);
    if (events > 0)
        put(r, "redis_cpu_us_per_event", redis_us / (double)events);
    if (server_us > 0)
        put(r, "bytes_per_server_cpu_s", bytes / server_us * 1e6);
    put(r, "server_cpu_share", server_us / 1e6 / seconds);
    put(r, "redis_cpu_share", redis_us / 1e6 / seconds);
    put(r, "load_cpu_share", (double)(b.load_ns - a.load_ns) / 1e9 / seconds);
}

static void report_memory(struct report *r, const struct run *run, int64_t before, int64_t idle)
{
    put(r, "server_pss_before_bytes", (double)before);
    put(r, "server_pss_idle_bytes", (double)idle);
    if (run->o->clients)
        put(r, "server_bytes_per_client", (double)(idle - before) / (double)run->o->clients);
}

static void report_latency(struct report *r, const struct run *run)
{
    struct histogram *all = calloc(1, sizeof(*all));
    CHECK(all != NULL);
    for (size_t i = 0; i < run->o->processes; i++)
        histogram_merge(all, &run->board->tallies[i].latency);
    if (all->count) {
        put(r, "latency_p50_us", (double)histogram_at(all, 0.5) / 1e3);
        put(r, "latency_p90_us", (double)histogram_at(all, 0.9) / 1e3);
        put(r, "latency_p99_us", (double)histogram_at(all, 0.99) / 1e3);
        put(r, "latency_p999_us", (double)histogram_at(all, 0.999) / 1e3);
        put(r, "latency_max_us", (double)all->max / 1e3);
        put(r, "latency_mean_us", histogram_mean(all) / 1e3);
    }
    if (run->publisher.lag && run->publisher.lag->count) {
        put(r, "publish_lag_p50_us", (double)histogram_at(run->publisher.lag, 0.5) / 1e3);
        put(r, "publish_lag_p99_us", (double)histogram_at(run->publisher.lag, 0.99) / 1e3);
    }
    free(all);
}

// How many writes of the server brought one burst to one client: 1 is the least. Over the
// whole run, warm-up included.
static void report_writes(struct report *r, const struct run *run)
{
    double delivered = (double)SUM(run, delivered), segments = (double)SUM(run, segments);
    if (run->mode != DIRECT && !run->o->replay && delivered > 0)
        put(r, "writes_per_burst", segments / delivered * (double)run->o->burst);
}

static void report_checks(struct report *r, const struct run *run)
{
    put(r, "refused", (double)SUM(run, refused));
    put(r, "lost", (double)SUM(run, lost));
    put(r, "late", (double)SUM(run, late));
    put(r, "malformed", (double)SUM(run, malformed));
    put(r, "closed", (double)SUM(run, closed));
    put(r, "deflated_clients", (double)SUM(run, deflated));
    put(r, "publish_errors", (double)run->publisher.errors);
    for (size_t i = 0; i < run->o->processes; i++) {
        int status = atomic_load(&run->board->tallies[i].status);
        int code = atomic_load(&run->board->tallies[i].close_code);
        if (status)
            fprintf(stderr, "bond-bench: a client was refused with %d\n", status);
        if (code)
            fprintf(stderr, "bond-bench: a client was closed with %d\n", code);
    }
}

// The storm: all clients come at once and each is owed all that was there before.
static bool measure_replay(struct run *run, struct report *r, struct reading before)
{
    bool quiet = wait_until_quiet(run, run->o->limit_s);
    if (!quiet)
        fprintf(stderr, "bond-bench: the replay was not over in time\n");
    report_stretch(r, before, read_all(run), 0);
    return true;
}

static bool measure_live(struct run *run, struct report *r)
{
    const struct options *o = run->o;
    uint64_t warmup = events_in(o, o->warmup_s), count = events_in(o, o->duration_s);
    if (warmup && !publish(run, warmup, clock_ns() + POLL_NS))
        return false;
    wait_until_quiet(run, QUIET_S);
    if (run->publisher.lag)
        *run->publisher.lag = (struct histogram){ 0 };

    struct reading a = read_all(run);
    int64_t start_ns = clock_ns() + POLL_NS;
    atomic_store(&run->board->measure_from_ns, start_ns);
    if (count && !publish(run, count, start_ns))
        return false;
    // The last round has its share of idle time too.
    sleep_until(count ? due_of(o, start_ns, count) : start_ns + (int64_t)(o->duration_s * 1e9));
    wait_until_quiet(run, QUIET_S);
    report_stretch(r, a, read_all(run), count);
    return true;
}

static bool measure(struct run *run, struct report *r)
{
    const struct options *o = run->o;
    bool publishes =
        run->mode != FLOOR && (o->prefill || o->rate * (o->duration_s + o->warmup_s) > 0);
    if (publishes && !publisher_open(&run->publisher, o))
        return false;
    if (publishes && !publisher_fill(&run->publisher, 0, o->prefill * o->streams))
        return false;
    run->events = o->prefill * o->streams;

    int64_t pss_before = probe_pss(&o->server);
    struct reading before = read_all(run);
    start_clients(run);
    if (!wait_for(run, offsetof(struct tally, connected), o->clients, o->limit_s))
        fprintf(stderr, "bond-bench: only %llu of %zu clients came in\n",
                (unsigned long long)SUM(run, connected), o->clients);
    struct reading connected = read_all(run);
    report_connecting(r, run, before, connected);
    if (SUM(run, connected) != o->clients)
        return false;

    if (o->replay)
        return measure_replay(run, r, before);
    sleep_until(clock_ns() + (int64_t)(o->settle_s * 1e9));
    report_memory(r, run, pss_before, probe_pss(&o->server));
    return o->duration_s <= 0 || measure_live(run, r);
}

static bool start(struct run *run)
{
    struct options *o = run->o;
    size_t size = sizeof(struct board) + o->processes * sizeof(struct tally);
    run->board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(run->board != MAP_FAILED);
    atomic_store(&run->board->measure_from_ns, INT64_MAX);
    run->deadline_ns = clock_ns() + (int64_t)(o->limit_s * 1e9);
    if (run->mode != FLOOR)
        return true;
    if (!bare_start(&run->bare, o, run->fault))
        return false;
    snprintf(o->host, sizeof(o->host), "127.0.0.1");
    o->port = run->bare.port;
    o->server = (struct probe){ { run->bare.pid }, 1 };
    return true;
}

// False: nothing was measured.
static bool run_once(struct options *o, enum mode mode, enum fault fault, struct report *r)
{
    struct run run = { .o = o, .mode = mode, .fault = fault, .control = -1 };
    if (!start(&run))
        return false;
    stay_on_cpu(o->load_cpu);
    bool measured = measure(&run, r);
    if (run.control >= 0)
        end_clients(&run);
    if (mode == FLOOR)
        bare_stop(&run.bare);
    report_latency(r, &run);
    report_writes(r, &run);
    report_checks(r, &run);
    free(run.publisher.lag);
    free(run.publisher.event);
    buffer_free(&run.publisher.out);
    buffer_free(&run.publisher.in);
    return measured;
}

// ---- self-test --------------------------------------------------------------------

// Is a fault of the server seen, and nothing else? The floor plays the bad server.
static int self_test(struct options *o)
{
    static const struct {
        const char *what;
        enum fault fault;
        size_t burst;
        int lost, late, malformed, closed;
    } cases[] = {
        { "a good server", FAULT_NONE, 1, 0, 0, 0, 0 },
        { "a good server, in bursts", FAULT_NONE, 10, 0, 0, 0, 0 },
        { "an event not sent", FAULT_DROP, 1, 1, 0, 0, 0 },
        { "an event sent twice", FAULT_TWICE, 1, 0, 1, 0, 0 },
        { "the next event first", FAULT_SWAP, 1, 1, 2, 0, 0 },
        { "an event without its number", FAULT_GARBLE, 1, 1, 0, 1, 0 },
        { "a frame that is none", FAULT_REFRAME, 1, 13, 0, 1, 1 },
        { "a connection closed", FAULT_CLOSE, 1, 13, 0, 0, 1 },
    };
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options mine = *o;
        struct report r = { 0 };
        mine.clients = 10, mine.streams = 1, mine.processes = 2, mine.size = 300;
        mine.burst = cases[i].burst, mine.rate = 100, mine.warmup_s = 0, mine.duration_s = 0.2;
        mine.settle_s = 0, mine.limit_s = 1.5;
        bool measured = run_once(&mine, FLOOR, cases[i].fault, &r);
        bool good =
            measured && get(&r, "lost") == cases[i].lost && get(&r, "late") == cases[i].late &&
            get(&r, "malformed") == cases[i].malformed && get(&r, "closed") == cases[i].closed;
        failed += !good;
        printf("%s  %s: lost %g, late %g, malformed %g, closed %g\n", good ? "ok    " : "FAILED",
               cases[i].what, get(&r, "lost"), get(&r, "late"), get(&r, "malformed"),
               get(&r, "closed"));
    }
    return failed ? EXIT_CHECKS : 0;
}

// ---- command line -----------------------------------------------------------------

static const char usage[] =
    "usage: bond-bench load [options]         clients and a publisher for a running server\n"
    "       bond-bench storm [options]        clients that replay --prefill events\n"
    "       bond-bench direct [options]       one client that itself sits in XREAD BLOCK\n"
    "       bond-bench floor [options]        a bare loop of send() instead of a server\n"
    "       bond-bench floor-accept [options] a bare loop of accept, read, write\n"
    "       bond-bench floor-storm [options]  a bare loop of large send()s\n"
    "       bond-bench self-test              does it see what servers may do wrong?\n"
    "\n"
    "  --server HOST:PORT   127.0.0.1:8080  IPv4\n"
    "  --redis HOST:PORT    127.0.0.1:6379\n"
    "  --server-pid PID     whose CPU and memory; may be given again\n"
    "  --redis-pid PID\n"
    "  --path PATH          /ws/{stream}?token={token}\n"
    "  --query QUERY        appended to the path: from=now-60s\n"
    "  --post PATH          publish by HTTP POST to the server: /pub/{stream}\n"
    "  --secret SECRET      BOND_SECRET, else Bond's default\n"
    "  --stream NAME        bench-  (stream k is called NAMEk, its key stream:NAMEk)\n"
    "\n"
    "  --clients N          1000    client k follows stream k mod S\n"
    "  --streams S          1\n"
    "  --processes N        one for each 15,000 clients\n"
    "  --sources N          127.0.0.x addresses; one for each 10,000 clients\n"
    "  --in-flight N        256     handshakes at a time\n"
    "  --stalled N          0       clients that read nothing after the handshake\n"
    "  --read-every-us N    0       clients read by the clock; 0: they sleep until woken\n"
    "  --rcvbuf BYTES       0       SO_RCVBUF of the clients; 0: the kernel's choice\n"
    "  --compress           offer permessage-deflate\n"
    "\n"
    "  --size BYTES         300     of an event\n"
    "  --rate R             100     events a second over all streams; 0: none\n"
    "  --burst B            1       events that are due at the same time\n"
    "  --burst-writes HOW   each    a burst's commands reach Redis in a write for each of\n"
    "                               them, packed (6000 bytes a write, as redis-py), or in one\n"
    "  --prefill N          0       events of each stream before the first client comes\n"
    "  --maxlen N           10000   events that Redis keeps of a stream, about\n"
    "  --warmup S           1       seconds at the same rate, not measured\n"
    "  --duration S         10      seconds that are measured; 0: connecting only\n"
    "  --settle S           0.5     between the last handshake and looking at the memory\n"
    "  --limit S            120     for all of it\n"
    "  --load-cpu N         the processor for clients and publisher\n"
    "  --floor-cpu N        the processor for the floor's loop\n"
    "  --json               one JSON object instead of lines\n"
    "\n"
    "exit status: 0, 1 when an event was lost, late or malformed or a client was closed,\n"
    "2 for a wrong usage, 3 when nothing could be measured\n";

static int wrong_usage(const char *what, const char *value)
{
    fprintf(stderr, "bond-bench: %s: \"%s\"\n(bond-bench help lists the options)\n", what, value);
    return EXIT_USAGE;
}

enum kind { TEXT, COUNT, WHOLE, REAL, ADDRESS, PID, WRITES, FLAG };
struct setting {
    const char *name;
    enum kind kind;
    size_t offset, port_offset;
};
#define OPTION(name) offsetof(struct options, name)
static const struct setting settings[] = {
    { "server", ADDRESS, OPTION(host), OPTION(port) },
    { "redis", ADDRESS, OPTION(redis_host), OPTION(redis_port) },
    { "server-pid", PID, OPTION(server), 0 },
    { "redis-pid", PID, OPTION(redis), 0 },
    { "path", TEXT, OPTION(path), 0 },
    { "query", TEXT, OPTION(query), 0 },
    { "post", TEXT, OPTION(post), 0 },
    { "secret", TEXT, OPTION(secret), 0 },
    { "stream", TEXT, OPTION(stream_name), 0 },
    { "clients", COUNT, OPTION(clients), 0 },
    { "streams", COUNT, OPTION(streams), 0 },
    { "processes", COUNT, OPTION(processes), 0 },
    { "sources", COUNT, OPTION(sources), 0 },
    { "in-flight", COUNT, OPTION(in_flight), 0 },
    { "stalled", COUNT, OPTION(stalled), 0 },
    { "read-every-us", WHOLE, OPTION(read_every_us), 0 },
    { "rcvbuf", WHOLE, OPTION(rcvbuf), 0 },
    { "compress", FLAG, OPTION(compress), 0 },
    { "size", COUNT, OPTION(size), 0 },
    { "rate", REAL, OPTION(rate), 0 },
    { "burst", COUNT, OPTION(burst), 0 },
    { "burst-writes", WRITES, OPTION(burst_writes), 0 },
    { "prefill", COUNT, OPTION(prefill), 0 },
    { "maxlen", COUNT, OPTION(maxlen), 0 },
    { "warmup", REAL, OPTION(warmup_s), 0 },
    { "duration", REAL, OPTION(duration_s), 0 },
    { "settle", REAL, OPTION(settle_s), 0 },
    { "limit", REAL, OPTION(limit_s), 0 },
    { "load-cpu", WHOLE, OPTION(load_cpu), 0 },
    { "floor-cpu", WHOLE, OPTION(floor_cpu), 0 },
    { "json", FLAG, OPTION(json), 0 },
};

static bool set_address(char *host, int *port, const char *value)
{
    char rest;
    return sscanf(value, "%63[^:]:%d%c", host, port, &rest) == 2;
}

static bool set_burst_writes(enum burst_writes *how, const char *value)
{
    static const char *const names[] = {
        [BURST_EACH] = "each", [BURST_PACKED] = "packed", [BURST_ONE] = "one"
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(value, names[i]) == 0) {
            *how = (enum burst_writes)i;
            return true;
        }
    return false;
}

static bool set(struct options *o, const struct setting *s, const char *value)
{
    void *at = (char *)o + s->offset;
    char *end = NULL;
    uint64_t number;
    switch (s->kind) {
    case TEXT: *(const char **)at = value; return true;
    case FLAG: *(bool *)at = true; return true;
    case WRITES: return set_burst_writes(at, value);
    case ADDRESS: return set_address(at, (int *)(void *)((char *)o + s->port_offset), value);
    case REAL:
        *(double *)at = strtod(value, &end);
        return end != value && *end == '\0' && *(double *)at >= 0;
    case COUNT:
    case WHOLE:
    case PID:
        if (!view_u64(view_of(value), &number) || number > INT32_MAX)
            return false;
        if (s->kind == PID)
            probe_add(at, (pid_t)number);
        else if (s->kind == COUNT)
            *(size_t *)at = (size_t)number;
        else
            *(int *)at = (int)number;
        return true;
    }
    return false;
}

static int read_options(struct options *o, int argc, char **argv)
{
    struct option names[ARRAY_LEN(settings) + 1] = { 0 };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        names[i] = (struct option){ settings[i].name, settings[i].kind != FLAG, NULL, 0 };
    int i;
    while (getopt_long(argc, argv, "", names, &i) == 0)
        if (!set(o, &settings[i], optarg))
            return wrong_usage("this does not fit the option", optarg);
    if (optind < argc)
        return wrong_usage("not understood", argv[optind]);
    return 0;
}

// What the mode fixes, and what follows from the rest.
static int complete(struct options *o, const char *command, enum mode mode)
{
    if (strcmp(command, "storm") == 0 || strcmp(command, "floor-storm") == 0) {
        o->replay = true;
        o->rate = 0;
        if (!o->prefill)
            return wrong_usage("a storm needs --prefill", "0");
    } else if (strcmp(command, "floor-accept") == 0) {
        o->duration_s = 0;
    }
    if (mode == DIRECT)
        o->clients = o->processes = 1;
    if (mode != LOAD)
        o->streams = 1;
    if (mode == FLOOR && !o->replay)
        o->prefill = 0;
    if (o->replay && o->streams > 1)
        return wrong_usage("a storm has one stream, not --streams", "2");
    if (!o->processes)
        o->processes = (o->clients + CLIENTS_PER_PROCESS - 1) / CLIENTS_PER_PROCESS;
    if (!o->processes)
        o->processes = 1;
    if (!o->sources)
        o->sources = o->clients / CLIENTS_PER_SOURCE + 1;
    if (!o->streams || !o->burst || !o->in_flight || o->processes > PROBE_PIDS_MAX)
        return wrong_usage("out of range", "--streams, --burst, --in-flight or --processes");
    if (o->size < STAMP_SIZE_MIN || o->size > STAMP_SIZE_MAX)
        return wrong_usage("--size is from 80 to 524288, not", "this");
    return 0;
}

static void allow_files(const struct options *o)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    size_t most = o->clients / o->processes + FILES_SPARE;
    if (limit.rlim_cur < most)
        fprintf(stderr,
                "bond-bench: a process may hold %llu files and needs %zu: use more --processes\n",
                (unsigned long long)limit.rlim_cur, most);
}

static void print_report(const struct report *r, bool json)
{
    for (size_t i = 0; i < r->count; i++)
        if (json)
            printf("%s\"%s\":%.10g", i ? "," : "{", r->figures[i].name, r->figures[i].value);
        else
            printf("%-28s %.10g\n", r->figures[i].name, r->figures[i].value);
    if (json)
        printf("}\n");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum mode mode;
    } commands[] = {
        { "load", LOAD },   { "storm", LOAD },         { "direct", DIRECT },
        { "floor", FLOOR }, { "floor-accept", FLOOR }, { "floor-storm", FLOOR },
    };
    struct options o = {
        .host = "127.0.0.1",
        .redis_host = "127.0.0.1",
        .port = 8080,
        .redis_port = 6379,
        .path = "/ws/{stream}?token={token}",
        .query = "",
        .secret = getenv("BOND_SECRET"),
        .stream_name = "bench-",
        .clients = 1000,
        .streams = 1,
        .in_flight = 256,
        .size = 300,
        .rate = 100,
        .burst = 1,
        .maxlen = 10000,
        .warmup_s = 1,
        .duration_s = 10,
        .settle_s = 0.5,
        .limit_s = 120,
        .load_cpu = -1,
        .floor_cpu = -1,
    };
    if (!o.secret)
        o.secret = "bond-dev-secret-change-in-production";
    const char *command = argc > 1 ? argv[1] : "";
    int wrong = argc > 1 ? read_options(&o, argc - 1, argv + 1) : 0;
    if (wrong)
        return wrong;
    sleep_exactly();
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(command, "self-test") == 0)
        return self_test(&o);

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(command, commands[i].name) != 0)
            continue;
        struct report r = { 0 };
        wrong = complete(&o, command, commands[i].mode);
        if (wrong)
            return wrong;
        allow_files(&o);
        bool measured = run_once(&o, commands[i].mode, FAULT_NONE, &r);
        print_report(&r, o.json);
        if (!measured)
            return EXIT_FAILED;
        return get(&r, "lost") + get(&r, "late") + get(&r, "malformed") + get(&r, "closed") +
                           get(&r, "refused") + get(&r, "publish_errors") >
                       0
                   ? EXIT_CHECKS
                   : 0;
    }
    fputs(usage, strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ? stdout : stderr);
    return strcmp(command, "help") == 0 || strcmp(command, "--help") == 0 ? 0 : EXIT_USAGE;
}
