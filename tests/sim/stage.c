#include "stage.h"

#include <stdio.h>

#include "guest.h"
#include "judge.h"

#define REDIS_PORT 6379
#define MARK_EVERY_US 200000
#define UP_TO_DATE_US_MAX 25000000  // after the faults have ended
#define END_GRACE_US 4000000        // for a drain, besides its time
#define MEMORY_ALLOWANCE (24 * MIB) // of a broker, besides its budgets: replies, zlib, clients
#define GUESTS_MAX (STREAMS_MAX * GUESTS_PER_STREAM_MAX)

struct stage {
    const struct plan *plan;
    int64_t began_us;
    struct host redis;
    struct publisher streams[STREAMS_MAX];
    struct guest guests[GUESTS_MAX];
    int guest_count;
    struct brokers brokers;
    int next_step;
    struct event step, redis_up, redis_goes_on, redis_is_well, redis_is_found, descriptors_back,
        memory_back, brokers_up;
};

// ---- what comes back --------------------------------------------------------------------

static void restart_redis(struct event *event)
{
    struct stage *s = CONTAINER_OF(event, struct stage, redis_up);
    host_restart(&s->redis, s->plan->durability);
    model_switches(s->redis.model)->no_tracking = s->plan->no_tracking;
}

static void let_redis_go_on(struct event *event)
{
    host_hang(&CONTAINER_OF(event, struct stage, redis_goes_on)->redis, false);
}

static void heal_redis(struct event *event)
{
    struct model_switches *m =
        model_switches(CONTAINER_OF(event, struct stage, redis_is_well)->redis.model);
    m->loading = m->master_down = m->busy = false;
}

static void show_redis(struct event *event)
{
    (void)event;
    net_set_unreachable(REDIS_PORT, false);
}

static void give_descriptors_back(struct event *event)
{
    struct stage *s = CONTAINER_OF(event, struct stage, descriptors_back);
    for (int i = 0; i < s->brokers.count; i++)
        if (s->brokers.slots[i].process)
            s->brokers.slots[i].process->fd_limit = PROCESS_FILES_MAX;
}

static void give_memory_back(struct event *event)
{
    struct stage *s = CONTAINER_OF(event, struct stage, memory_back);
    for (int i = 0; i < s->brokers.count; i++)
        if (s->brokers.slots[i].process)
            s->brokers.slots[i].process->memory.is_short = false;
}

static void start_brokers(struct event *event)
{
    struct stage *s = CONTAINER_OF(event, struct stage, brokers_up);
    bool draining = false;
    brokers_bury_ended(&s->brokers);
    for (int i = 0; i < s->brokers.count; i++) {
        brokers_start(&s->brokers, i);
        draining = draining || s->brokers.slots[i].drains;
    }
    if (draining)
        event_set(&s->brokers_up, world->now_us + 100000, start_brokers);
}

// ---- steps --------------------------------------------------------------------------------

static void account_for_kill(struct stage *s)
{
    for (int i = 0; i < s->plan->streams; i++) {
        if (s->plan->durability == HOST_LOSES_ALL)
            publisher_was_reset(&s->streams[i]);
        else if (s->plan->durability == HOST_LOADS_SAVED)
            truth_throw_back(&s->streams[i].truth);
    }
}

static void hurt_redis(struct stage *s, const struct step *step)
{
    struct model_switches *m = model_switches(s->redis.model);
    switch (step->kind) {
    case STEP_KILL_REDIS:
        host_kill(&s->redis);
        account_for_kill(s);
        event_set(&s->redis_up, world->now_us + step->amount, restart_redis);
        break;
    case STEP_HANG_REDIS:
        host_hang(&s->redis, true);
        event_set(&s->redis_goes_on, world->now_us + step->amount, let_redis_go_on);
        break;
    case STEP_FLUSH_REDIS:
        trace("redis: FLUSHALL");
        host_command(&s->redis, 1, &VIEW("FLUSHALL"));
        for (int i = 0; i < s->plan->streams; i++)
            publisher_was_reset(&s->streams[i]);
        break;
    case STEP_SAVE_REDIS:
        host_save(&s->redis);
        for (int i = 0; i < s->plan->streams; i++)
            truth_save(&s->streams[i].truth);
        break;
    case STEP_TROUBLE_REDIS:
        trace("redis: is in trouble");
        m->loading = step->who % 3 == 0;
        m->master_down = step->who % 3 == 1;
        m->busy = step->who % 3 == 2;
        event_set(&s->redis_is_well, world->now_us + step->amount, heal_redis);
        break;
    default: CHECK(!"a fault of Redis");
    }
}

static void hurt_net(struct stage *s, const struct step *step)
{
    switch (step->kind) {
    case STEP_BREAK_REDIS_LINKS: host_break_connections(&s->redis, false); break;
    case STEP_LOSE_REDIS_LINKS: host_break_connections(&s->redis, true); break;
    case STEP_HIDE_REDIS:
        trace("redis: cannot be connected to");
        net_set_unreachable(REDIS_PORT, true);
        host_break_connections(&s->redis, step->who % 2);
        event_set(&s->redis_is_found, world->now_us + step->amount, show_redis);
        break;
    case STEP_REDIS_CLOCK: host_step_clock(&s->redis, step->amount); break;
    case STEP_BROKERS_CLOCK:
        trace("brokers: their clock steps by %lld us", (long long)step->amount);
        world->wall_offset_us += step->amount;
        s->redis.clock_offset_us -= step->amount;
        break;
    default: CHECK(!"a fault of the net");
    }
}

// Its n-th thread, or all for -1.
static void stall_threads(struct process *p, int n, int64_t for_us)
{
    LIST_EACH (node, &p->threads) {
        struct thread *t = LIST_ITEM(node, struct thread, node);
        if (n >= 0 && t->number != n)
            continue;
        trace("%s: its thread %d stands still for %lld us", p->name, t->number, (long long)for_us);
        thread_stall(t, for_us);
    }
}

static void hurt_broker(struct stage *s, const struct step *step)
{
    int slot = step->who % s->brokers.count;
    struct process *p = s->brokers.slots[slot].process;
    if (p == NULL)
        return;
    switch (step->kind) {
    case STEP_DRAIN_BROKER:
        brokers_drain(&s->brokers, slot);
        event_set(&s->brokers_up, world->now_us + step->amount, start_brokers);
        break;
    case STEP_KILL_BROKER:
        brokers_kill(&s->brokers, slot);
        event_set(&s->brokers_up, world->now_us + step->amount, start_brokers);
        break;
    case STEP_STALL_THREAD:
        stall_threads(p, p->thread_count ? step->who / 7 % p->thread_count : 0, step->amount);
        break;
    case STEP_FEW_DESCRIPTORS:
        trace("%s: has few descriptors", p->name);
        p->fd_limit = 16 + step->who % 16;
        event_set(&s->descriptors_back, world->now_us + step->amount, give_descriptors_back);
        break;
    case STEP_NO_MEMORY:
        trace("%s: gets no memory", p->name);
        p->memory.is_short = true;
        event_set(&s->memory_back, world->now_us + step->amount, give_memory_back);
        break;
    default: CHECK(!"a fault of a broker");
    }
}

static void publish(struct stage *s, const struct step *step)
{
    struct publisher *p = &s->streams[step->who % s->plan->streams];
    int count = (int)step->amount;
    switch (step->kind) {
    case STEP_ADD: publisher_add(p, count); break;
    case STEP_TRIM: publisher_trim(p, count); break;
    case STEP_DELETE:
        publisher_delete(p);
        publisher_add(p, count);
        break;
    case STEP_DELETE_ONE: publisher_delete_one(p); break;
    case STEP_REPLACE: publisher_replace(p, count); break;
    default: CHECK(!"a publisher's step");
    }
}

static void misbehave(struct stage *s, const struct step *step)
{
    struct guest *g = &s->guests[step->who % s->guest_count];
    trace("%s on %s: is to %s", g->name, g->stream->name, step_name(step->kind));
    switch (step->kind) {
    case STEP_STALL: guest_stall(g, step->amount); break;
    case STEP_LEAVE: guest_leave(g); break;
    case STEP_ABORT: guest_abort(g); break;
    case STEP_GO_SILENT: guest_go_silent(g); break;
    case STEP_TALK: guest_talk(g); break;
    case STEP_FLOOD: guest_flood(g, (int)step->amount); break;
    case STEP_GARBAGE: guest_send_garbage(g); break;
    default: CHECK(!"a client's step");
    }
}

static void do_step(struct stage *s, const struct step *step)
{
    bool redis_answers = host_answers(&s->redis);
    if (step->kind <= STEP_REPLACE) {
        if (redis_answers)
            publish(s, step);
    } else if (step->kind <= STEP_GARBAGE) {
        misbehave(s, step);
    } else if (step->kind <= STEP_TROUBLE_REDIS) {
        if (redis_answers)
            hurt_redis(s, step);
    } else if (step->kind <= STEP_BROKERS_CLOCK) {
        hurt_net(s, step);
    } else {
        hurt_broker(s, step);
    }
}

static void set_next_step(struct stage *s);

static void step_due(struct event *event)
{
    struct stage *s = CONTAINER_OF(event, struct stage, step);
    do_step(s, &s->plan->steps[s->next_step++]);
    set_next_step(s);
}

static void set_next_step(struct stage *s)
{
    const struct plan *p = s->plan;
    while (s->next_step < p->step_count && p->steps[s->next_step].dropped)
        s->next_step++;
    if (s->next_step < p->step_count)
        event_set(&s->step, s->began_us + p->steps[s->next_step].at_us, step_due);
}

// ---- the beginning --------------------------------------------------------------------------

static void set_up_broker(struct brokers *b, struct process *process)
{
    const struct plan *p = ((struct stage *)b->ctx)->plan;
    process_set(process, "REDIS_URL", "redis://127.0.0.1:%d", REDIS_PORT);
    process_set(process, "BOND_SECRET", "%s", GUEST_SECRET);
    process_set(process, "BOND_HOST", "127.0.0.1");
    process_set(process, "BOND_LOG_LEVEL", world->tracing ? "debug" : "error");
    process_set(process, "BOND_WORKERS", "%d", p->workers);
    process_set(process, "BOND_RING_SECONDS", "%d", p->window_s);
    process_set(process, "BOND_RING_BYTES", "%lld", (long long)p->ring_bytes);
    process_set(process, "BOND_MEMORY_BYTES", "%lld", (long long)p->memory_bytes);
    process_set(process, "BOND_OUTBOX_BYTES", "%lld", (long long)p->outbox_bytes);
    process_set(process, "BOND_EVENT_BYTES", "%lld", (long long)p->event_bytes);
    process_set(process, "BOND_STALE_MS", "%d", p->stale_ms);
    process_set(process, "BOND_REDIS_TIMEOUT_MS", "%d", p->redis_timeout_ms);
    process_set(process, "BOND_REDIS_CONNECTIONS", "%d", p->redis_connections);
    process_set(process, "BOND_PING_SECONDS", "%d", p->ping_s);
    process_set(process, "BOND_PONG_SECONDS", "%d", p->pong_s);
    process_set(process, "BOND_DRAIN_SECONDS", "%d", p->drain_s);
    process_set(process, "BOND_FLUSH_MS", "%d", p->flush_ms);
    process_set(process, "BOND_SWEEP_SECONDS", "%d", p->sweep_s);
    process_set(process, "BOND_COMPRESSION", "%d", p->compression);
    process_set(process, "BOND_EXPIRE_LIVE", "%d", p->token_s > 0);
}

static void begin(struct stage *s)
{
    const struct plan *p = s->plan;
    world->short_io = p->short_io;
    world->small_batch = p->small_batch;
    world->preempt = p->preempt;
    world->eintr = p->eintr;
    world->turn_cost_us_max = p->turn_cost_us_max;
    s->began_us = world->now_us;
    net_init();
    processes_init();
    host_init(&s->redis, REDIS_PORT, p->redis_version);
    model_switches(s->redis.model)->no_tracking = p->no_tracking;
    s->brokers = (struct brokers){ .count = p->brokers, .set_up = set_up_broker, .ctx = s };
    for (int i = 0; i < p->brokers; i++)
        brokers_start(&s->brokers, i);
    struct rng r = { .state = p->seed ^ 0x6775657374 }; // "guest"
    for (int i = 0; i < p->streams; i++) {
        struct publisher *stream = &s->streams[i];
        publisher_init(stream, &s->redis, i, p->ids[i], rng_next(&r));
        stream->maxlen = p->maxlen;
        stream->about = p->about;
        stream->pad_max = p->pad_max;
        stream->odd = p->odd;
        stream->event_bytes = (size_t)p->event_bytes;
        stream->truth.clock_ids = stream->truth.clock_ids && !p->sets_clocks;
        for (int k = 0; k < p->guests_per_stream; k++) {
            struct guest *g = &s->guests[s->guest_count++];
            guest_init(g, k, stream, &s->brokers, rng_next(&r));
            g->token_s = p->token_s;
            guest_start(g);
        }
    }
    set_next_step(s);
}

// ---- the end --------------------------------------------------------------------------------

static void put_all_right(struct stage *s)
{
    trace("all is put right");
    event_cancel(&s->step);
    if (event_is_set(&s->redis_up)) {
        event_cancel(&s->redis_up);
        restart_redis(&s->redis_up);
    }
    event_cancel(&s->redis_goes_on);
    host_hang(&s->redis, false);
    event_cancel(&s->redis_is_well);
    heal_redis(&s->redis_is_well);
    event_cancel(&s->redis_is_found);
    show_redis(NULL);
    event_cancel(&s->descriptors_back);
    give_descriptors_back(&s->descriptors_back);
    event_cancel(&s->memory_back);
    give_memory_back(&s->memory_back);
    event_set(&s->brokers_up, world->now_us, start_brokers);
    for (int i = 0; i < s->brokers.count; i++)
        if (s->brokers.slots[i].process)
            stall_threads(s->brokers.slots[i].process, -1, 0);
    for (int i = 0; i < s->guest_count; i++)
        guest_hurry(&s->guests[i]);
}

static const struct guest *find_late(const struct stage *s, const int *marks)
{
    for (int i = 0; i < s->guest_count; i++) {
        const struct guest *g = &s->guests[i];
        bool is_late = g->newest < marks[g->stream - s->streams] || g->is_stale;
        if (g->kind != GUEST_HISTORY && is_late)
            return g;
    }
    return NULL;
}

static void let_them_catch_up(struct stage *s)
{
    int64_t until_us = world->now_us + UP_TO_DATE_US_MAX;
    int marks[STREAMS_MAX] = { 0 };
    const struct guest *late;
    for (int i = 0; i < s->plan->streams; i++) {
        struct publisher *p = &s->streams[i];
        do
            publisher_add(p, 1);
        while (p->truth.entries[p->truth.count - 1].never);
        marks[i] = p->truth.count - 1;
    }
    do {
        world_run_until(world->now_us + MARK_EVERY_US);
        late = find_late(s, marks);
        for (int i = 0; i < s->plan->streams && late; i++)
            publisher_add(&s->streams[i], 1);
    } while (late && world->now_us < until_us);
    if (late)
        world_fail("late: %s on %s has #%d as its newest event%s, and should have #%d, %d s after "
                   "the last fault",
                   late->name, late->stream->name, late->newest,
                   late->is_stale ? " and was told that Redis cannot be read" : "",
                   marks[late->stream - s->streams], UP_TO_DATE_US_MAX / 1000000);
}

static bool all_brokers_have_gone(struct stage *s)
{
    brokers_bury_ended(&s->brokers);
    for (int i = 0; i < s->brokers.count; i++)
        if (s->brokers.slots[i].process)
            return false;
    return true;
}

static void send_brokers_away(struct stage *s)
{
    int64_t until_us = world->now_us + s->plan->drain_s * 1000000 + END_GRACE_US;
    event_cancel(&s->brokers_up);
    for (int i = 0; i < s->brokers.count; i++)
        brokers_drain(&s->brokers, i);
    while (!all_brokers_have_gone(s) && world->now_us < until_us)
        world_run_until(world->now_us + 50000);
    for (int i = 0; i < s->brokers.count; i++)
        if (s->brokers.slots[i].process)
            world_fail("late: %s does not end", s->brokers.slots[i].process->name);
}

static void check_budgets(const struct stage *s)
{
    size_t allowed =
        (size_t)s->plan->memory_bytes + (size_t)s->plan->outbox_bytes + MEMORY_ALLOWANCE;
    for (int i = 0; i < s->brokers.count; i++) {
        const struct process *p = s->brokers.slots[i].process;
        if (p && p->memory.bytes_max > allowed)
            world_fail("budget: %s used %zu bytes of memory", p->name, p->memory.bytes_max);
    }
}

static void call_the_judge(struct stage *s, struct outcome *outcome)
{
    struct evidence evidence[STREAMS_MAX] = { 0 };
    struct record *records[GUESTS_MAX];
    struct judge judge = { .window_us = s->plan->window_s * INT64_C(1000000),
                           .counts = s->plan->redis_counts,
                           .clock_unsure = s->plan->sets_clocks,
                           .evidence = evidence,
                           .streams = s->plan->streams };
    int count = 0;
    for (int i = 0; i < s->plan->streams; i++)
        evidence[i].truth = &s->streams[i].truth;
    for (int i = 0; i < s->guest_count; i++)
        if (s->guests[i].kind != GUEST_HISTORY)
            records[count++] = &s->guests[i].record;
    judge_run(&judge, records, count);
    outcome->events = judge.events;
    outcome->gaps = judge.gaps;
    outcome->resumed = judge.resumed;
    outcome->excused = judge.excused;
    outcome->exact = judge.exact;
}

static void clear(struct stage *s)
{
    for (int i = 0; i < s->guest_count; i++)
        guest_done(&s->guests[i]);
    host_done(&s->redis);
    processes_done();
    for (int i = 0; i < s->plan->streams; i++)
        publisher_done(&s->streams[i]);
    net_done();
}

void stage_play(const struct plan *plan, bool tracing, struct outcome *outcome)
{
    static struct world w; // too large for a stack, as the stage is
    static struct stage s;
    memset(&s, 0, sizeof(s));
    memset(outcome, 0, sizeof(*outcome));
    s.plan = plan;
    world_begin(&w, plan->seed);
    w.tracing = tracing;
    begin(&s);
    world_run_until(s.began_us + plan->length_us);
    put_all_right(&s);
    let_them_catch_up(&s);
    check_budgets(&s);
    send_brokers_away(&s);
    call_the_judge(&s, outcome);
    outcome->hash = w.hash;
    outcome->turns = w.turns;
    outcome->calls = w.calls;
    outcome->failures = w.failures;
    outcome->length_us = w.now_us - s.began_us;
    if (w.failure)
        snprintf(outcome->failure, sizeof(outcome->failure), "%s", w.failure);
    clear(&s);
    world_end();
}
