#include "broker.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "shared/process.h"
#include "tail/tail.h"
#include "vitals.h"
#include "worker/listener.h"
#include "worker/worker.h"

#define WORKERS_MAX 256
#define DESCRIPTORS_KEPT 32           // for Redis, logs, listeners, and the like
#define DESCRIPTORS_PER_WORKER 8      // epoll, eventfd, listener, spare, and requests to refuse
#define WAIT_MS_MAX (3600 * MS_PER_S) // for a signal, at once
#define LOOK_MS 20                    // between looks at whether all clients have gone

struct broker {
    const struct config *config;
    struct pulse pulse;
    struct tail *tail;
    struct worker_world world;
    struct worker *workers;
    int worker_count;
    int64_t started_ms; // monotonic
};

// ---- what the machine gives -----------------------------------------------------

// Processors that the process may run on, by affinity and by the container's quota.
static int processors_available(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f) {
        long long quota, period;
        if (fscanf(f, "%lld %lld", &quota, &period) == 2 && period > 0) {
            int by_quota = (int)((quota + period - 1) / period);
            if (by_quota >= 1 && by_quota < count)
                count = by_quota;
        }
        fclose(f);
    }
    return count < WORKERS_MAX ? count : WORKERS_MAX;
}

static size_t raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? 1u << 30 : (size_t)limit.rlim_cur;
}

static size_t choose_max_clients(const struct broker *b, size_t descriptors, int workers)
{
    size_t kept = DESCRIPTORS_KEPT + DESCRIPTORS_PER_WORKER * (size_t)workers;
    size_t possible = descriptors > kept ? descriptors - kept : 1;
    size_t wanted = (size_t)b->config->max_clients;
    if (wanted > possible)
        say(SAY_WARN, "max_clients_lowered", SAY_I("asked", (int64_t)wanted),
            SAY_I("possible", (int64_t)possible),
            SAY_S("hint", "raise the descriptor limit (ulimit -n, LimitNOFILE)"));
    return wanted && wanted < possible ? wanted : possible;
}

// ---- start ----------------------------------------------------------------------

static bool say_why(const char *event, char *why)
{
    say(SAY_ERROR, event, SAY_S("why", why));
    free(why);
    return false;
}

// False: it was said why it cannot be had. *fd stays as it is where there is to be none.
static bool open_admin_listener(const struct broker *b, int *fd)
{
    const struct listener_options net = {
        .host = b->config->admin_host,
        .port = (int)b->config->admin_port,
        .setting = "BOND_ADMIN_",
        .sole = true,
        .user_timeout_ms = b->config->pong_seconds * MS_PER_S,
    };
    char *why = NULL;
    if (b->config->admin_port == 0)
        return true;
    *fd = listener_open(&net, &why);
    return *fd >= 0 || say_why("listen_failed", why);
}

// Prepares the workers; they are as many as b->worker_count says then.
static bool make_workers(struct broker *b, int count)
{
    struct listener_options net = {
        .host = b->config->host,
        .setting = "BOND_",
        .port = (int)b->config->port,
        .sole = true,
        .user_timeout_ms = (b->config->ping_seconds + b->config->pong_seconds) * MS_PER_S,
    };
    char *why = NULL;
    b->workers = must_alloc((size_t)count * sizeof(*b->workers));
    while (b->worker_count < count) {
        int fd = listener_open(&net, &why);
        if (fd < 0)
            return say_why("listen_failed", why);
        net.sole = false; // the others share it with us
        net.port = listener_port(fd);
        int admin_fd = -1;
        if (b->worker_count == 0 && !open_admin_listener(b, &admin_fd))
            return false;
        if (!worker_init(&b->workers[b->worker_count], b->worker_count, &b->world, fd, admin_fd,
                         &why))
            return say_why("start_failed", why);
        b->worker_count++;
    }
    return true;
}

// A warning and no more: a broker that takes the place of Bond's first one must start.
static void warn_of_default_secret(const char *setting, const char *secret)
{
    if (config_is_default_secret(secret))
        say(SAY_WARN, "default_secret", SAY_S("setting", setting),
            SAY_S("hint", "this is the default secret, which everybody knows, so anyone who can "
                          "reach the broker can make tokens and read every stream: set "
                          "BOND_SECRET to one of your own, here and in the API"));
}

static void say_listening(const struct broker *b, size_t descriptors)
{
    const struct config *c = b->config;
    struct buffer redis = { 0 };
    redis_url_show(&c->redis_url, &redis);
    say(SAY_INFO, "listening", SAY_S("version", BOND_VERSION), SAY_S("host", c->host),
        SAY_I("port", listener_port(b->workers[0].listen_fd)), SAY_I("admin_port", c->admin_port),
        SAY_V("redis", buffer_view(&redis)), SAY_I("workers", b->worker_count),
        SAY_I("max_clients", (int64_t)b->world.max_clients),
        SAY_I("descriptors", (int64_t)descriptors), SAY_I("ring_seconds", c->ring_seconds),
        SAY_I("ring_bytes", c->ring_bytes), SAY_I("memory_bytes", c->memory_bytes));
    buffer_free(&redis);
    if (!listener_is_loopback(c->host)) {
        warn_of_default_secret("BOND_SECRET", c->secret);
        warn_of_default_secret("BOND_SECRET_PREVIOUS", c->secret_previous);
    }
}

static bool start(struct broker *b)
{
    char *why = NULL;
    size_t descriptors = raise_descriptor_limit();
    int workers = b->config->workers ? (int)b->config->workers : processors_available();
    b->tail = tail_new(b->config, &b->pulse, &b->world.metrics, &why);
    if (b->tail == NULL)
        return say_why("start_failed", why);
    b->world.config = b->config;
    b->world.pulse = &b->pulse;
    b->world.tail = tail_mailbox(b->tail);
    b->world.outbox_bytes = (size_t)b->config->outbox_bytes / (size_t)workers;
    b->world.max_clients = choose_max_clients(b, descriptors, workers);
    if (!make_workers(b, workers))
        return false;
    say_listening(b, descriptors);
    for (int i = 0; i < workers; i++)
        if (!worker_start(&b->workers[i], &why))
            return say_why("start_failed", why);
    return tail_start(b->tail, &why) || say_why("start_failed", why);
}

// ---- what it does -----------------------------------------------------------------

// Of a metric, with so many cells for its labels, over all threads.
static uint64_t counted(const struct broker *b, size_t cell, size_t cells)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < cells; i++)
        sum += metric_rows_sum(&b->world.metrics, cell + i);
    return sum;
}

static struct vitals take_vitals(const struct broker *b)
{
    const size_t closed_behind = METRIC_CONNECTIONS_CLOSED + ws_close_index(WS_CLOSE_BEHIND);
    const struct metric_rows *rows = &b->world.metrics;
    const int64_t now_ms = clock_mono_ms();
    return (struct vitals){
        .at_ms = now_ms,
        .is_redis_readable = pulse_readable(&b->pulse, now_ms),
        .clients = counted(b, METRIC_CONNECTIONS, 1),
        .streams = counted(b, METRIC_STREAMS_FOLLOWED, 1),
        .ring_bytes = counted(b, METRIC_RING_BYTES, 1),
        .events_read = counted(b, METRIC_EVENTS_READ, 1),
        .events_sent = counted(b, METRIC_EVENTS_DELIVERED, 1),
        .bytes_sent = counted(b, METRIC_SENT_BYTES, 1),
        .refused = counted(b, METRIC_REQUESTS_REFUSED, CELLS_REFUSAL),
        .fell_behind = counted(b, closed_behind, 1) + counted(b, METRIC_SUBSCRIPTIONS_BEHIND, 1),
        .skipped = counted(b, METRIC_EVENTS_SKIPPED, CELLS_SKIP),
        .lag_ms = (int64_t)metric_rows_peak(rows, METRIC_CLIENT_LAG_MAX_SECONDS),
    };
}

// ---- stop -----------------------------------------------------------------------

static void for_each_worker(struct broker *b, void (*what)(struct worker *))
{
    for (int i = 0; i < b->worker_count; i++)
        what(&b->workers[i]);
}

static bool all_drained(struct broker *b)
{
    for (int i = 0; i < b->worker_count; i++)
        if (!atomic_load(&b->workers[i].drained))
            return false;
    return true;
}

static void say_stopped(const struct broker *b)
{
    const struct vitals v = take_vitals(b);
    say(SAY_INFO, "stopped", SAY_I("uptime_s", (v.at_ms - b->started_ms) / MS_PER_S),
        SAY_I("accepted", (int64_t)counted(b, METRIC_CONNECTIONS_ACCEPTED, 1)),
        SAY_I("refused", (int64_t)v.refused), SAY_I("events_read", (int64_t)v.events_read),
        SAY_I("events_skipped", (int64_t)v.skipped), SAY_I("events_sent", (int64_t)v.events_sent),
        SAY_I("bytes_sent", (int64_t)v.bytes_sent), SAY_I("fell_behind", (int64_t)v.fell_behind));
}

// Workers first, for they post to the tail; then the tail, for it posts to them.
static void stop(struct broker *b)
{
    for_each_worker(b, worker_join);
    if (b->tail)
        tail_stop(b->tail);
    for_each_worker(b, worker_done);
    free(b->workers);
    door_done(&b->world.door);
}

static int give_up(struct broker *b)
{
    for_each_worker(b, worker_stop);
    stop(b);
    return 1;
}

// ---- signals --------------------------------------------------------------------

static const char *signal_name(int number)
{
    switch (number) {
    case SIGTERM: return "SIGTERM";
    case SIGINT: return "SIGINT";
    case SIGHUP: return "SIGHUP";
    case SIGUSR1: return "SIGUSR1";
    default: return "SIGUSR2";
    }
}

// Those that we take. The last three would kill us if nobody took them; they are only
// said. All threads inherit that they are blocked, so they wait here to be taken.
static sigset_t block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

// Waits for SIGTERM or SIGINT; 0: neither came until then, by the monotonic clock.
static int await_end(const sigset_t *signals, int64_t until_ms)
{
    int64_t left_ms;
    while ((left_ms = until_ms - clock_mono_ms()) > 0) {
        int64_t wait_ms = left_ms < WAIT_MS_MAX ? left_ms : WAIT_MS_MAX;
        const struct timespec wait = { .tv_sec = wait_ms / MS_PER_S,
                                       .tv_nsec = wait_ms % MS_PER_S * 1000 * 1000 };
        int number = sigtimedwait(signals, NULL, &wait);
        if (number == SIGTERM || number == SIGINT)
            return number;
        if (number > 0)
            say(SAY_WARN, "signal_ignored", SAY_S("signal", signal_name(number)),
                SAY_S("hint", "settings are read at the start: restart the broker to change them"));
    }
    return 0;
}

// Until it is asked to end; says what it does meanwhile. Returns the signal.
static int serve(const struct broker *b, const sigset_t *signals)
{
    struct vitals before = take_vitals(b);
    int64_t every_ms = b->config->status_seconds * MS_PER_S, next_ms = before.at_ms + every_ms;
    for (;;) {
        int number = await_end(signals, every_ms ? next_ms : INT64_MAX);
        if (number)
            return number;
        const struct vitals now = take_vitals(b);
        vitals_say(&before, &now);
        before = now;
        next_ms = now.at_ms + every_ms;
    }
}

// ---- all of it ------------------------------------------------------------------

// Load balancers see at /ready that nobody new is to be sent here, while whoever comes is
// still served. asked: the signal that began it. Like `drain`, it returns the one that
// cut it short, or 0.
static int announce_end(struct broker *b, int asked, const sigset_t *signals)
{
    int64_t delay_s = b->config->drain_delay_seconds;
    atomic_store(&b->pulse.leaving, true);
    if (delay_s == 0)
        return 0;
    say(SAY_INFO, "leaving", SAY_S("signal", signal_name(asked)), SAY_I("seconds", delay_s));
    return await_end(signals, clock_mono_ms() + delay_s * MS_PER_S);
}

// Sends the workers' clients away, and waits until they have gone.
static int drain(struct broker *b, int asked, const sigset_t *signals)
{
    int number = 0;
    say(SAY_INFO, "draining", SAY_S("signal", signal_name(asked)),
        SAY_I("clients", (int64_t)atomic_load(&b->world.clients)),
        SAY_I("seconds", b->config->drain_seconds));
    for_each_worker(b, worker_drain);
    while (!all_drained(b) && number == 0)
        number = await_end(signals, clock_mono_ms() + LOOK_MS);
    return number;
}

int broker_run(const struct config *config)
{
    struct broker b = { .config = config, .started_ms = clock_mono_ms() };
    sigset_t signals = block_signals();
    process_begin();
    door_init(&b.world.door);
    if (!start(&b))
        return give_up(&b);
    int asked = serve(&b, &signals);
    int again = announce_end(&b, asked, &signals);
    if (again == 0)
        again = drain(&b, asked, &signals);
    if (again)
        say(SAY_WARN, "stopping_at_once", SAY_S("signal", signal_name(again)));
    for_each_worker(&b, worker_stop);
    for_each_worker(&b, worker_join);
    say_stopped(&b);
    stop(&b);
    return 0;
}
