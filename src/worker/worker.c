#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/http.h"
#include "worker/answer.h"
#include "worker/date.h"

#define ACCEPTS_PER_TURN 64
#define SAY_EVERY_MS 5000
#define PAUSE_MS 200      // without accepting, when no descriptor can be had
#define END_GRACE_MS 2000 // for the last closes to be answered, after drain_seconds

// ---- accepting ------------------------------------------------------------------

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void say_full(struct worker *w, const char *why)
{
    static struct say_limit limit;
    uint64_t missed;
    if (say_limited(&limit, w->loop.now_ms, SAY_EVERY_MS, &missed))
        say(SAY_ERROR, "accept_failed", SAY_S("why", why),
            SAY_I("clients", (int64_t)w->clients.count), SAY_NOT_SAID(missed),
            SAY_S("hint",
                  "raise the descriptor limit (ulimit -n, LimitNOFILE) or run more brokers"));
}

// No descriptor is left. One is kept for this: it is given up for a moment to take
// the connection and refuse it; else it would wake us again and again.
static bool refuse_one(struct worker *w)
{
    if (w->spare_fd < 0)
        return false;
    close(w->spare_fd);
    int fd = accept4(w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        struct buffer reply = { 0 }, headers = { 0 };
        char request[HTTP_HEAD_MAX];
        // Unread bytes would reset the connection, and the reply with it.
        ssize_t ignored = recv(fd, request, sizeof(request), 0);
        buffer_add_view(&headers, date_line(clock_wall_ms()));
        buffer_add_view(&headers, VIEW("Retry-After: 5\r\n"));
        http_refuse(&reply, 503, "unavailable", "the broker has as many clients as it can serve",
                    buffer_view(&headers), false);
        ignored += send(fd, reply.at, reply.len, MSG_NOSIGNAL);
        (void)ignored; // it is lost if it does not go at once
        buffer_free(&reply);
        buffer_free(&headers);
        shutdown(fd, SHUT_WR);
        close(fd);
        clients_count_refusal(&w->clients, "unavailable");
    }
    w->spare_fd = open_spare();
    return fd >= 0;
}

// The spare may be lost to another worker, which took the descriptor that we gave up
// for a moment. Then nobody is accepted for a while: the kernel queues them.
static void pause_accepting(struct worker *w)
{
    loop_unwatch(&w->loop, w->listen_fd);
    deadline_arm(&w->pauses, &w->pause, w->loop.now_ms);
}

static void pause_due(struct deadline *d)
{
    struct worker *w = CONTAINER_OF(d, struct worker, pause);
    if (w->spare_fd < 0)
        w->spare_fd = open_spare();
    if (!loop_watch(&w->loop, w->listen_fd, &w->listener, EPOLLIN))
        deadline_arm(&w->pauses, &w->pause, w->loop.now_ms);
}

// Other errors are those of a connection that is gone already (accept(2)).
static bool is_out_of_memory(int error)
{
    return error == ENOMEM || error == ENOBUFS;
}

static void accept_ready(struct watch *watch, uint32_t events)
{
    struct worker *w = CONTAINER_OF(watch, struct worker, listener);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (!clients_add(&w->clients, fd, false)) {
                say_full(w, "memory is out");
                close(fd);
            }
        } else if (errno == EMFILE || errno == ENFILE) {
            say_full(w, strerror(errno));
            if (!refuse_one(w)) {
                pause_accepting(w);
                return;
            }
        } else if (errno == EAGAIN) {
            return;
        } else if (is_out_of_memory(errno)) {
            say_full(w, strerror(errno));
            pause_accepting(w); // it would fail again at once, and again
            return;
        }
    }
}

// Operators are few, and no descriptor is kept for them. It goes on during a drain.
static void admin_ready(struct watch *watch, uint32_t events)
{
    struct worker *w = CONTAINER_OF(watch, struct worker, admin_listener);
    (void)events;
    int fd = accept4(w->admin_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 && !clients_add(&w->clients, fd, true)) {
        say_full(w, "memory is out");
        close(fd);
    } else if (fd < 0 && (errno == EMFILE || errno == ENFILE || is_out_of_memory(errno))) {
        say_full(w, strerror(errno));
        loop_unwatch(&w->loop, w->admin_fd);
        deadline_arm(&w->admin_pauses, &w->admin_pause, w->loop.now_ms);
    }
}

static void admin_pause_due(struct deadline *d)
{
    struct worker *w = CONTAINER_OF(d, struct worker, admin_pause);
    if (!loop_watch(&w->loop, w->admin_fd, &w->admin_listener, EPOLLIN))
        deadline_arm(&w->admin_pauses, &w->admin_pause, w->loop.now_ms);
}

// ---- letters --------------------------------------------------------------------

// Who comes now is refused by the kernel, and comes again: to a refusal by HTTP no
// EventSource ever does, and no proxy tries another broker.
static void stop_listening(struct worker *w)
{
    deadline_cancel(&w->pause);
    loop_unwatch(&w->loop, w->listen_fd);
    close(w->listen_fd);
    w->listen_fd = -1;
}

static void drain(struct worker *w)
{
    int64_t drain_ms = w->config->drain_seconds * MS_PER_S;
    stop_listening(w);
    clients_drain(&w->clients, drain_ms);
    deadline_arm_at(&w->ends, &w->end, w->loop.now_ms + drain_ms + END_GRACE_MS);
}

static void take_letter(void *ctx, struct letter *letter)
{
    struct worker *w = ctx;
    switch (letter->kind) {
    case LETTER_NEWS: clients_news(&w->clients, CONTAINER_OF(letter, struct news, letter)); break;
    case LETTER_FAILED:
        clients_failure(&w->clients, CONTAINER_OF(letter, struct failure, letter));
        break;
    case LETTER_LISTED:
        clients_listed(&w->clients, CONTAINER_OF(letter, struct listing, letter));
        break;
    case LETTER_UNFOLLOWED:
        stream_free(CONTAINER_OF(letter, struct farewell, letter)->stream);
        free(letter);
        break;
    case LETTER_FOUND: pattern_learn(CONTAINER_OF(letter, struct finding, letter)); break;
    case LETTER_UNWATCHABLE:
        pattern_fail(CONTAINER_OF(letter, struct watch_failure, letter));
        break;
    case LETTER_UNWATCHED: pattern_end(CONTAINER_OF(letter, struct watch_end, letter)); break;
    case LETTER_DRAIN:
        drain(w);
        free(letter);
        break;
    case LETTER_STOP:
        loop_stop(&w->loop);
        free(letter);
        break;
    default: CHECK(!"a letter for a worker");
    }
}

static void end_due(struct deadline *d)
{
    atomic_store(&CONTAINER_OF(d, struct worker, end)->drained, true);
}

static void turned(void *ctx, int64_t us)
{
    metrics_observe(&((struct worker *)ctx)->metrics, HISTOGRAM_TURN, (uint64_t)us, 1);
}

static bool before_sleep(void *ctx)
{
    struct worker *w = ctx;
    bool more = clients_flush(&w->clients);
    if (w->clients.draining && clients_left(&w->clients) == 0)
        atomic_store(&w->drained, true); // but requests are answered until all have drained
    return more;
}

// ---- start and stop -------------------------------------------------------------

static bool failed(char **why, const char *what)
{
    CHECK(asprintf(why, "%s: %s", what, strerror(errno)) >= 0);
    return false;
}

bool worker_init(struct worker *w, int number, struct worker_world *world, int listen_fd,
                 int admin_fd, char **why)
{
    *w = (struct worker){
        .number = number,
        .config = world->config,
        .listener.ready = accept_ready,
        .listen_fd = listen_fd,
        .admin_listener.ready = admin_ready,
        .admin_fd = admin_fd,
        .spare_fd = open_spare(),
    };
    snprintf(w->thread_name, sizeof(w->thread_name), "worker-%d", number);
    w->metrics.thread = w->thread_name;
    metric_rows_add(&world->metrics, &w->metrics);
    if (!loop_init(&w->loop) || !mailbox_init(&w->mailbox, take_letter, w) ||
        !mailbox_open(&w->mailbox, &w->loop) ||
        !loop_watch(&w->loop, listen_fd, &w->listener, EPOLLIN) ||
        (admin_fd >= 0 && !loop_watch(&w->loop, admin_fd, &w->admin_listener, EPOLLIN)))
        return failed(why, "cannot make a worker's loop");
    w->loop.before_sleep = before_sleep;
    w->loop.turned = turned;
    w->loop.ctx = w;
    deadline_queue_init(&w->ends, 0, end_due);
    loop_add_queue(&w->loop, &w->ends);
    deadline_init(&w->end);
    deadline_queue_init(&w->pauses, PAUSE_MS, pause_due);
    loop_add_queue(&w->loop, &w->pauses);
    deadline_init(&w->pause);
    deadline_queue_init(&w->admin_pauses, PAUSE_MS, admin_pause_due);
    loop_add_queue(&w->loop, &w->admin_pauses);
    deadline_init(&w->admin_pause);
    streams_init(&w->streams, &w->mailbox, world->tail);
    patterns_init(&w->patterns, &w->mailbox, world->tail);
    w->clients = (struct clients){
        .loop = &w->loop,
        .config = world->config,
        .pulse = world->pulse,
        .metrics = &w->metrics,
        .all_metrics = &world->metrics,
        .streams = &w->streams,
        .patterns = &w->patterns,
        .door = &world->door,
        .total = &world->clients,
        .max = world->max_clients,
        .outbox_bytes = world->outbox_bytes,
        .answer = answer_request,
    };
    clients_init(&w->clients);
    return true;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof(name), "bond-worker-%d", w->number);
    prctl(PR_SET_NAME, name);
    clients_start(&w->clients);
    loop_run(&w->loop);
    clients_done(&w->clients);
    return NULL;
}

bool worker_start(struct worker *w, char **why)
{
    errno = pthread_create(&w->thread, NULL, run, w);
    w->running = errno == 0;
    return w->running || failed(why, "cannot start a worker's thread");
}

static void post(struct worker *w, enum letter_kind kind)
{
    struct letter *letter = must_alloc(sizeof(*letter));
    *letter = (struct letter){ .kind = kind };
    mailbox_post(&w->mailbox, letter);
}

void worker_drain(struct worker *w)
{
    post(w, LETTER_DRAIN);
}

void worker_stop(struct worker *w)
{
    post(w, LETTER_STOP);
}

void worker_join(struct worker *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    w->running = false;
}

void worker_done(struct worker *w)
{
    mailbox_done(&w->mailbox); // farewells free the last streams
    streams_done(&w->streams);
    patterns_done(&w->patterns);
    loop_done(&w->loop);
    if (w->listen_fd >= 0)
        close(w->listen_fd);
    if (w->admin_fd >= 0)
        close(w->admin_fd);
    if (w->spare_fd >= 0)
        close(w->spare_fd);
}
