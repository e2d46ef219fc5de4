// The simulator: worlds, one after another, each from a seed; README.md says how to use it.
//
//   sim [SEED=n] [WORLDS=n] [SECONDS=n] [TRACE=1] [KEEP=3,7-9] [SHRINK=1] [TWICE=1]
//       [SEEDS=file] [SHORT_MEMORY=1] [STOP=1]
//
// Worlds run in a child process, so that one that crashes is a failure like another.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process.h"
#include "stage.h"

#define TWICE_EVERY 50 // so many worlds, one is played twice, and must be the same
#define SHRINK_SECONDS 30

struct options {
    uint64_t seed;
    long worlds; // 0: as long as there is time
    double seconds;
    bool tracing, shrinks, twice, lacks_memory, stops; // at the first failure
    const char *keep;
};

// What the child has come to, for its parent.
struct progress {
    uint64_t seed;
    long worlds, failed;
    uint64_t turns, calls, events, excused, exact, resumed, gaps;
    double world_seconds;
    struct outcome outcome;
};

int __real_clock_gettime(clockid_t id, struct timespec *t);

static struct progress *progress;

static double seconds_now(void)
{
    struct timespec t;
    __real_clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// ---- one world ------------------------------------------------------------------------------

// "3,7-9": all other steps are dropped.
static void keep_only(struct plan *p, const char *list)
{
    for (int i = 0; i < p->step_count; i++)
        p->steps[i].dropped = true;
    for (const char *at = list; *at;) {
        char *end;
        long from = strtol(at, &end, 10), to = from;
        if (*end == '-')
            to = strtol(end + 1, &end, 10);
        for (long i = from; i <= to && i < p->step_count; i++)
            p->steps[i].dropped = false;
        at = *end == ',' ? end + 1 : end;
        if (end == at && *end != '\0')
            break;
    }
}

static void play(const struct options *o, uint64_t seed, struct outcome *outcome)
{
    static struct plan plan;
    plan_draw(&plan, seed, o->lacks_memory);
    if (o->keep)
        keep_only(&plan, o->keep);
    stage_play(&plan, o->tracing, outcome);
    bool again = o->twice || seed % TWICE_EVERY == 0;
    if (!again || o->tracing)
        return;
    uint64_t hash = outcome->hash;
    stage_play(&plan, false, outcome);
    if (outcome->hash != hash) {
        outcome->failures++;
        snprintf(outcome->failure, sizeof(outcome->failure),
                 "replay: the same seed was another world the second time");
    }
}

static void report(const struct options *o, uint64_t seed, const char *failure)
{
    printf("FAILED seed %llu: %s\n  again: make sim SEED=%llu WORLDS=1 TRACE=1%s%s\n",
           (unsigned long long)seed, failure, (unsigned long long)seed, o->keep ? " KEEP=" : "",
           o->keep ? o->keep : "");
    fflush(stdout);
}

static void add_up(const struct outcome *o)
{
    progress->worlds++;
    progress->turns += o->turns;
    progress->calls += o->calls;
    progress->events += o->events;
    progress->excused += o->excused;
    progress->exact += o->exact;
    progress->resumed += o->resumed;
    progress->gaps += o->gaps;
    progress->world_seconds += (double)o->length_us / 1e6;
}

static void play_worlds(const struct options *o, double until)
{
    while ((o->worlds == 0 || progress->worlds < o->worlds) &&
           (o->worlds > 0 || seconds_now() < until) && !(o->stops && progress->failed)) {
        play(o, progress->seed, &progress->outcome);
        add_up(&progress->outcome);
        if (progress->outcome.failures > 0) {
            progress->failed++;
            report(o, progress->seed, progress->outcome.failure);
        }
        progress->seed++;
    }
}

// ---- in a child -----------------------------------------------------------------------------

static int wait_for(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void play_in_children(const struct options *o)
{
    double until = seconds_now() + o->seconds;
    for (;;) {
        fflush(stdout);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            play_worlds(o, until);
            fflush(stdout);
            _exit(0);
        }
        int status = wait_for(child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        char text[64];
        snprintf(text, sizeof(text), "crash: %s %d", WIFSIGNALED(status) ? "signal" : "exit",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        report(o, progress->seed, text);
        progress->failed++;
        progress->worlds++;
        progress->seed++;
        if (o->stops)
            return;
    }
}

// ---- seeds that are kept --------------------------------------------------------------------

// A line: a seed, and perhaps its steps; # begins a remark.
static void play_seeds(struct options *o, const char *path)
{
    char line[256], seed[32], keep[128];
    FILE *f = fopen(path, "re");
    CHECK(f != NULL);
    while (fgets(line, sizeof(line), f)) {
        int fields = sscanf(line, "%31[0-9] %127[-0-9,]", seed, keep);
        if (fields < 1)
            continue;
        progress->seed = strtoull(seed, NULL, 10);
        o->keep = fields == 2 ? keep : NULL;
        o->worlds = progress->worlds + 1;
        play_in_children(o);
    }
    fclose(f);
}

// ---- shrinking ------------------------------------------------------------------------------

static bool is_same_kind(const char *a, const char *b)
{
    const char *colon = strchr(a, ':');
    return colon && strncmp(a, b, (size_t)(colon - a)) == 0;
}

// Does the plan fail as it did? In a child, which may crash.
static bool still_fails(const struct plan *plan, const char *how)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(freopen("/dev/null", "w", stderr));
        stage_play(plan, false, &progress->outcome);
        _exit(0);
    }
    int status = wait_for(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return strncmp(how, "crash", 5) == 0;
    return progress->outcome.failures > 0 && is_same_kind(how, progress->outcome.failure);
}

static void print_kept(const struct plan *p)
{
    int left = 0;
    printf("  KEEP=");
    for (int i = 0; i < p->step_count; i++)
        if (!p->steps[i].dropped)
            printf("%s%d", left++ ? "," : "", i);
    printf("\n  %d of %d steps:", left, p->step_count);
    for (int i = 0; i < p->step_count; i++)
        if (!p->steps[i].dropped)
            printf(" %s", step_name(p->steps[i].kind));
    printf("\n");
}

// Drops runs of steps, long ones first, as long as the failure stays.
static void shrink(const struct options *o, const char *how)
{
    static struct plan plan, fewer;
    double until = seconds_now() + SHRINK_SECONDS;
    plan_draw(&plan, o->seed, o->lacks_memory);
    for (int run = plan.step_count / 2; run > 0 && seconds_now() < until;) {
        bool dropped = false;
        for (int at = 0; at < plan.step_count && seconds_now() < until; at += run) {
            int count = 0;
            fewer = plan;
            for (int i = at; i < at + run && i < plan.step_count; i++) {
                count += !fewer.steps[i].dropped;
                fewer.steps[i].dropped = true;
            }
            if (count > 0 && still_fails(&fewer, how)) {
                plan = fewer;
                dropped = true;
            }
        }
        if (!dropped || run > 1)
            run /= 2;
    }
    printf("shrunk seed %llu: %s\n", (unsigned long long)o->seed, how);
    print_kept(&plan);
}

static void shrink_one(const struct options *o)
{
    static struct plan plan;
    plan_draw(&plan, o->seed, o->lacks_memory);
    if (still_fails(&plan, "crash: "))
        shrink(o, "crash: ");
    else if (progress->outcome.failures > 0)
        shrink(o, strdup(progress->outcome.failure));
    else
        printf("seed %llu does not fail\n", (unsigned long long)o->seed);
}

// ---- what was asked for ---------------------------------------------------------------------

static const char *option(int argc, char **argv, const char *name)
{
    size_t len = strlen(name);
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], name, len) == 0 && argv[i][len] == '=' && argv[i][len + 1])
            return argv[i] + len + 1;
    return NULL;
}

static long number(int argc, char **argv, const char *name, long otherwise)
{
    const char *text = option(argc, argv, name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct options o = {
        .seed = (uint64_t)number(argc, argv, "SEED", 1),
        .worlds = number(argc, argv, "WORLDS", 0),
        .seconds = (double)number(argc, argv, "SECONDS", 10),
        .tracing = number(argc, argv, "TRACE", 0) > 0,
        .shrinks = number(argc, argv, "SHRINK", 0) > 0,
        .twice = number(argc, argv, "TWICE", 0) > 0,
        .lacks_memory = number(argc, argv, "SHORT_MEMORY", 0) > 0,
        .stops = number(argc, argv, "STOP", 0) > 0,
        .keep = option(argc, argv, "KEEP"),
    };
    progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    progress->seed = o.seed;
    program_begin();
    if (o.shrinks) {
        shrink_one(&o);
        return 0;
    }
    double began = seconds_now();
    const char *seeds = option(argc, argv, "SEEDS");
    if (seeds)
        play_seeds(&o, seeds);
    else
        play_in_children(&o);
    double took = seconds_now() - began;
    printf("%ld worlds (seeds %llu to %llu), %ld failed; %.1f s, %.0f worlds a second\n",
           progress->worlds, (unsigned long long)o.seed, (unsigned long long)progress->seed - 1,
           progress->failed, took, (double)progress->worlds / took);
    printf("%.0f s of their time; %llu events judged, %llu gaps (%llu counts exact), %llu resumed, "
           "%llu excused; %llu turns, %llu calls\n",
           progress->world_seconds, (unsigned long long)progress->events,
           (unsigned long long)progress->gaps, (unsigned long long)progress->exact,
           (unsigned long long)progress->resumed, (unsigned long long)progress->excused,
           (unsigned long long)progress->turns, (unsigned long long)progress->calls);
    return progress->failed > 0;
}
