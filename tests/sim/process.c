#include "process.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker.h"

#define TURN_CALLS_MAX 20000 // system calls; no turn of a thread needs as many

static struct list processes;
static struct thread *running;

// ---- the program's variables ----------------------------------------------------------
//
// The broker's objects are linked with their variables in sections of their own (Makefile).
// Each process has a copy; the one that runs has it in place.

extern char __start_bond_data[], __stop_bond_data[], __start_bond_bss[], __stop_bond_bss[];

static char *pristine;
static struct process *in_place; // whose variables stand in the sections

static size_t data_bytes(void)
{
    return (size_t)(__stop_bond_data - __start_bond_data);
}

static size_t bss_bytes(void)
{
    return (size_t)(__stop_bond_bss - __start_bond_bss);
}

// Byte by byte and not memcpy, for ASan's zones between variables are copied, too.
__attribute__((no_sanitize("address"))) static void copy(volatile char *to,
                                                         const volatile char *from, size_t len)
{
    size_t words = len / sizeof(uint64_t);
    for (size_t i = 0; i < words; i++)
        ((volatile uint64_t *)to)[i] = ((const volatile uint64_t *)from)[i];
    for (size_t i = words * sizeof(uint64_t); i < len; i++)
        to[i] = from[i];
}

static void save_variables(char *to)
{
    copy(to, __start_bond_data, data_bytes());
    copy(to + data_bytes(), __start_bond_bss, bss_bytes());
}

static void load_variables(const char *from)
{
    copy(__start_bond_data, from, data_bytes());
    copy(__start_bond_bss, from + data_bytes(), bss_bytes());
}

void program_begin(void)
{
    pristine = malloc(data_bytes() + bss_bytes());
    save_variables(pristine);
}

static void put_in_place(struct process *p)
{
    if (in_place == p)
        return;
    if (in_place)
        save_variables(in_place->statics);
    in_place = p;
    load_variables(p ? p->statics : pristine);
}

// ---- threads --------------------------------------------------------------------------

struct process *process_now(void)
{
    return running->process;
}

struct thread *thread_now(void)
{
    return running;
}

static void run_thread(void *arg)
{
    struct thread *t = arg;
    t->run(t->arg);
    t->state = THREAD_ENDED;
}

struct thread *thread_begin(struct process *p, void *(*run)(void *arg), void *arg)
{
    struct owner *was = memory_use(&world->memory);
    struct thread *t = calloc(1, sizeof(*t));
    memory_use(was);
    CHECK(t != NULL);
    t->process = p;
    t->number = p->thread_count++;
    t->state = THREAD_RUNS;
    t->wake_us = INT64_MAX;
    t->run = run;
    t->arg = arg;
    t->fiber = fiber_new(run_thread, t);
    list_push(&p->threads, &t->node);
    return t;
}

void thread_stall(struct thread *t, int64_t for_us)
{
    t->not_before_us = world->now_us + for_us;
}

// When it could run: now, at a time to come, or never by itself.
static int64_t runs_at_us(struct thread *t)
{
    int64_t at_us = INT64_MAX;
    switch (t->state) {
    case THREAD_RUNS: at_us = world->now_us; break;
    case THREAD_POLLS: at_us = epoll_has_events(t->epoll) ? world->now_us : t->wake_us; break;
    case THREAD_AWAITS_SIGNAL: at_us = t->process->signals ? world->now_us : t->wake_us; break;
    case THREAD_JOINS: at_us = t->joined->state == THREAD_ENDED ? world->now_us : INT64_MAX; break;
    case THREAD_ENDED: return INT64_MAX;
    }
    return at_us == INT64_MAX || at_us > t->not_before_us ? at_us : t->not_before_us;
}

static void enter(struct thread *t)
{
    struct process *p = t->process;
    put_in_place(p);
    world->turns++;
    t->turn = world->turns;
    t->turn_calls = 0;
    world_mix((uint64_t)(p->number * 16 + t->number) ^ (uint64_t)world->now_us);
    running = t;
    struct owner *was = memory_use(&p->memory);
    fiber_enter(t->fiber);
    memory_use(was);
    running = NULL;
    if (t->turn_calls > TURN_CALLS_MAX)
        world_fail("work: %s's thread %d made %zu system calls in one turn", p->name, t->number,
                   t->turn_calls);
    t->not_before_us =
        world->now_us + 1 + (int64_t)rng_below(&world->rng, (uint64_t)world->turn_cost_us_max);
}

// ---- a process's life -------------------------------------------------------------------

void processes_init(void)
{
    list_init(&processes);
}

void processes_done(void)
{
    LIST_EACH (node, &processes)
        process_free(LIST_ITEM(node, struct process, node));
    put_in_place(NULL);
}

struct process *process_new(int number)
{
    struct process *p = calloc(1, sizeof(*p));
    CHECK(p != NULL);
    p->number = number;
    snprintf(p->name, sizeof(p->name), "broker %d", number);
    owner_init(&p->memory, p->name);
    p->statics = malloc(data_bytes() + bss_bytes());
    memcpy(p->statics, pristine, data_bytes() + bss_bytes());
    p->fd_limit = PROCESS_FILES_MAX;
    list_init(&p->threads);
    list_push(&processes, &p->node);
    return p;
}

void process_set(struct process *p, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    CHECK(p->setting_count < PROCESS_SETTINGS_MAX);
    p->names[p->setting_count] = name;
    CHECK(vasprintf(&p->values[p->setting_count++], fmt, args) >= 0);
    va_end(args);
}

const char *process_setting(const struct process *p, const char *name)
{
    for (size_t i = 0; i < p->setting_count; i++)
        if (strcmp(p->names[i], name) == 0)
            return p->values[i];
    return NULL;
}

// What main.c does for `serve`.
static void *serve(void *arg)
{
    struct process *p = arg;
    struct config config;
    char *wrong = config_load(&config, 0, NULL);
    if (wrong) {
        world_fail("%s does not start: %s", p->name, wrong);
        free(wrong);
    } else {
        say_setup(config.say_level, config.say_format);
        p->status = broker_run(&config);
        config_done(&config);
    }
    return NULL;
}

void process_start(struct process *p)
{
    trace("%s: starts", p->name);
    thread_begin(p, serve, p);
}

void process_signal(struct process *p, int number)
{
    trace("%s: signal %d", p->name, number);
    p->signals |= 1 << number;
}

static void forget_threads(struct process *p)
{
    for (struct list *node; (node = list_pop(&p->threads));) {
        struct thread *t = LIST_ITEM(node, struct thread, node);
        fiber_free(t->fiber);
        free(t);
    }
}

static void close_files(struct process *p)
{
    for (int fd = 3; fd < PROCESS_FILES_MAX; fd++)
        if (p->files[fd])
            file_close(p->files[fd]);
}

void process_kill(struct process *p)
{
    CHECK(running == NULL);
    trace("%s: is killed", p->name);
    forget_threads(p);
    close_files(p);
    owner_drop(&p->memory);
    p->ended = true;
    p->status = -SIGKILL;
}

static void end_if_over(struct process *p)
{
    struct thread *first = LIST_ITEM(p->threads.next, struct thread, node);
    if (list_empty(&p->threads) || first->state != THREAD_ENDED)
        return;
    trace("%s: has ended with %d", p->name, p->status);
    p->ended = true;
    LIST_EACH (node, &p->threads)
        if (LIST_ITEM(node, struct thread, node)->state != THREAD_ENDED)
            world_fail("leftover: %s has ended, and thread %d has not", p->name,
                       LIST_ITEM(node, struct thread, node)->number);
    char *left = process_leftovers(p);
    if (left)
        world_fail("leftover: %s has ended, but for %s", p->name, left);
    free(left);
    forget_threads(p);
    close_files(p);
    owner_drop(&p->memory);
}

char *process_leftovers(const struct process *p)
{
    char *text = NULL;
    int files = 0;
    for (int fd = 3; fd < PROCESS_FILES_MAX; fd++)
        files += p->files[fd] != NULL;
    if (files > 0 || p->memory.count > 0)
        CHECK(asprintf(&text, "%d descriptors and %zu pieces of memory (%zu bytes)", files,
                       p->memory.count, p->memory.bytes) >= 0);
    return text;
}

void process_free(struct process *p)
{
    if (in_place == p) // nobody will need them again
        in_place = NULL;
    forget_threads(p);
    close_files(p);
    owner_drop(&p->memory);
    list_remove(&p->node);
    for (size_t i = 0; i < p->setting_count; i++)
        free(p->values[i]);
    free(p->statics);
    free(p);
}

// ---- the scheduler ------------------------------------------------------------------------

// One of those that can run now; NULL: none, and *next_us says when one will.
static struct thread *choose_thread(int64_t *next_us)
{
    struct thread *chosen = NULL;
    uint64_t count = 0;
    *next_us = INT64_MAX;
    LIST_EACH (node, &processes) {
        struct process *p = LIST_ITEM(node, struct process, node);
        LIST_EACH (thread_node, &p->threads) {
            struct thread *t = LIST_ITEM(thread_node, struct thread, node);
            int64_t at_us = runs_at_us(t);
            if (at_us > world->now_us)
                *next_us = at_us < *next_us ? at_us : *next_us;
            else if (rng_below(&world->rng, ++count) == 0)
                chosen = t;
        }
    }
    return chosen;
}

void world_run_until(int64_t until_us)
{
    for (;;) {
        int64_t thread_us;
        world_do_due_events();
        struct thread *t = choose_thread(&thread_us);
        if (t) {
            struct process *p = t->process;
            enter(t);
            if (t->state == THREAD_ENDED)
                end_if_over(p);
            continue;
        }
        int64_t event_us = world_next_event_us();
        int64_t next_us = thread_us < event_us ? thread_us : event_us;
        if (next_us > until_us) {
            if (world->now_us < until_us)
                world->now_us = until_us;
            return;
        }
        world->now_us = next_us;
    }
}
