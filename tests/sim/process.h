// A simulated process: broker_run() with its threads, its descriptors, its memory, its static
// variables, its environment and its signals. Several live side by side, and any of them can
// be killed between two instructions that matter.
//
// The scheduler enters a thread that can run, chosen by chance; it runs until it waits
// (epoll_wait, sigwait, pthread_join), or until chance takes the processor away from it where
// it takes a lock. What it did costs it a few microseconds of the world's time.
#pragma once

#include "fiber.h"
#include "file.h"

#define PROCESS_FILES_MAX 512
#define PROCESS_SETTINGS_MAX 40

enum thread_state { THREAD_RUNS, THREAD_POLLS, THREAD_AWAITS_SIGNAL, THREAD_JOINS, THREAD_ENDED };

struct thread {
    struct list node; // of its process
    struct process *process;
    int number; // of the process's, from 0
    enum thread_state state;
    struct fiber *fiber;
    void *(*run)(void *arg);
    void *arg;
    int64_t wake_us;       // when it has waited long enough; INT64_MAX: never
    int64_t not_before_us; // it is busy, or stalled
    struct file *epoll;    // THREAD_POLLS
    struct thread *joined; // THREAD_JOINS
    uint64_t turn;         // of the world's
    size_t turn_calls;
};

struct process {
    struct list node; // of all
    int number;
    char name[24];
    struct owner memory;
    char *statics; // its copy of the program's variables, while others run
    struct file *files[PROCESS_FILES_MAX];
    int fd_limit;
    struct list threads;
    int thread_count;
    const char *names[PROCESS_SETTINGS_MAX]; // its environment
    char *values[PROCESS_SETTINGS_MAX];
    size_t setting_count;
    int signals; // pending
    bool ended;
    int status;
};

void processes_init(void); // once a world
void processes_done(void);
void program_begin(void); // once: keeps the image of the program's variables as they are at first

struct process *process_new(int number);
void process_set(struct process *p, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *process_setting(const struct process *p, const char *name);
void process_start(struct process *p);              // broker_run() with these settings
void process_signal(struct process *p, int number); // SIGTERM, SIGINT
void process_kill(struct process *p);               // at once: the kernel closes what it had open
// It has ended by itself: says in a sentence what it left behind, or NULL. To be freed.
char *process_leftovers(const struct process *p);
void process_free(struct process *p);

struct process *process_now(void); // the one whose thread runs
struct thread *thread_now(void);
struct thread *thread_begin(struct process *p, void *(*run)(void *arg), void *arg);
void thread_stall(struct thread *t, int64_t for_us); // as if its processor were taken away

// One step: a thread runs a turn, or time passes until somebody can run or something is to
// happen. Goes on until the given time.
void world_run_until(int64_t until_us);
