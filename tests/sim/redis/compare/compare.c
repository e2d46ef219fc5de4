// Plays the same commands to the model and to a real redis-server, and compares every
// answer and every push, byte for byte.
//
//   compare [--seed N] [--commands N] [--seconds N] [--show]
//   compare --speed        what the model alone costs
//
// A game is one seed: a few hundred steps on empty keys, on a few connections. --show tells what
// was sent. What differs by its nature is made equal before it is compared: connections'
// numbers, INFO. Where an answer tells the time, the model's clock is set by it.
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "game.h"
#include "speed.h"

#define STEPS 250

// ---- the clock ------------------------------------------------------------------

// The largest id that may be a time, in what the real one has answered.
static int64_t latest_id_us(struct view answer)
{
    int64_t latest_us = 0;
    for (struct view rest = answer; rest.len > 0; rest.at++, rest.len--) {
        char *tail;
        if (rest.at[0] != '\n' || rest.len < 16)
            continue;
        uint64_t ms = strtoull(rest.at + 1, &tail, 10);
        if (tail - rest.at == 14 && *tail == '-' && (int64_t)ms * 1000 > latest_us)
            latest_us = (int64_t)ms * 1000;
    }
    return latest_us;
}

// What TIME says, at the end of it. 0: it was refused.
static int64_t told_us(struct view answer)
{
    const char *at = memmem(answer.at, answer.len, "*2\r\n$10\r\n", 9);
    char *tail;
    if (at == NULL)
        return 0;
    int64_t seconds = strtoll(at + 9, &tail, 10);
    return seconds * 1000000 + atoi(strchr(tail + 2, '\n') + 1);
}

// ---- steps ----------------------------------------------------------------------

static size_t few(struct game *g)
{
    return 1 + (one_in(chance(g), 2) ? below(chance(g), 5) : 0);
}

static void write_plain(struct game *g, size_t count)
{
    for (; count > 0; count--)
        chatter_write(&g->ch, CHATTER_PLAIN, &g->sent);
}

static void step_plain(struct game *g)
{
    size_t i = game_any_pair(g);
    write_plain(g, few(g));
    game_say_to_real(g, i);
    game_say_to_model(g, i);
}

// One command whose answer depends on the clock: the real one goes first.
static void step_clock(struct game *g)
{
    size_t i = game_any_pair(g);
    struct pair *p = &g->pairs[i];
    if (model_is_blocked(p->model))
        return;
    size_t kind = below(chance(g), 4);
    if (kind == 0) {
        chatter_write_words(&g->ch, "DISCARD", &g->sent);
        chatter_write_words(&g->ch, "TIME", &g->sent);
        p->star_queued = false;
    } else if (kind == 1 && !p->star_queued) {
        chatter_write(&g->ch, CHATTER_STAR, &g->sent);
        p->star_queued = true;
    } else {
        chatter_write_words(&g->ch, "EXEC", &g->sent);
        p->star_queued = false;
    }
    game_say_to_real(g, i);
    real_settle(g->real);
    real_hear(p->real);
    buffer_add(&p->real->heard, "", 1); // ends the numbers
    p->real->heard.len--;
    struct view heard = buffer_view(&p->real->heard);
    int64_t now_us = kind == 0 ? told_us(heard) : latest_id_us(heard);
    if (now_us > 0)
        model_set_time_us(g->model, now_us);
    game_say_to_model(g, i);
}

static void step_block(struct game *g)
{
    size_t i = game_any_pair(g);
    write_plain(g, below(chance(g), 2));
    chatter_write(&g->ch, CHATTER_BLOCK, &g->sent);
    write_plain(g, below(chance(g), 3));
    game_say_to_real(g, i);
    game_say_to_model(g, i);
}

// XREAD BLOCK that ends by time: nothing else happens meanwhile.
static void step_short_block(struct game *g)
{
    size_t i = game_any_pair(g);
    struct pair *p = &g->pairs[i];
    if (model_is_blocked(p->model))
        return;
    chatter_write_short_block(&g->ch, 1 + (unsigned)below(chance(g), 4), &g->sent);
    write_plain(g, below(chance(g), 3));
    game_say_to_real(g, i);
    game_say_to_model(g, i);
    if (!model_is_blocked(p->model) || model_next_due_us(g->model) == INT64_MAX)
        return;
    size_t before = model_output(p->model).len;
    while (p->real->heard.len <= before && real_hear_within(p->real, WAIT_MS))
        ;
    int64_t now_us = model_time_us(g->model);
    model_set_time_us(g->model, model_next_due_us(g->model));
    model_set_time_us(g->model, now_us);
}

// Two connections in the same turn.
static void step_together(struct game *g)
{
    size_t first = game_any_pair(g), second = game_any_pair(g);
    if (first == second)
        return;
    real_hold(g->real);
    write_plain(g, few(g));
    game_say_to_real(g, first);
    game_feed(g, &g->pairs[first], buffer_view(&g->sent));
    g->sent.len = 0;
    write_plain(g, few(g));
    game_say_to_real(g, second);
    game_feed(g, &g->pairs[second], buffer_view(&g->sent));
    model_end_turn(g->model);
    real_go_on(g->real);
}

// One that is not blocked waits for several keys, and another changes them in a transaction: so
// many times that Redis's limit of what a reader gets may come into play.
static void step_transaction(struct game *g)
{
    static const char *const waits[] = { "XREAD BLOCK 0 STREAMS s1 s2 $ $",
                                         "XREAD BLOCK 0 STREAMS s3 s1 s2 $ $ 0",
                                         "XREAD BLOCK 0 COUNT 2 STREAMS s2 s3 0 0",
                                         "XREAD BLOCK 0 STREAMS s1 $" };
    size_t reader = game_any_pair(g), writer = game_any_pair(g);
    if (reader == writer || model_is_blocked(g->pairs[reader].model) ||
        model_is_blocked(g->pairs[writer].model))
        return;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    chatter_write_words(&g->ch, waits[below(chance(g), ARRAY_LEN(waits))], &g->sent);
    game_say_to_real(g, reader);
    game_say_to_model(g, reader);
    game_compare(g);
    g->sent.len = 0;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    chatter_write_words(&g->ch, "MULTI", &g->sent);
    char large_add[48];
    snprintf(large_add, sizeof(large_add), "XADD s1 %" PRIu64 "-* f v", g->ch.ms);
    size_t changes = one_in(chance(g), 60) ? 1500 : 2 + below(chance(g), 6);
    for (size_t i = 0; i < changes; i++)
        if (changes < 100)
            chatter_write_change(&g->ch, &g->sent);
        else
            chatter_write_words(&g->ch, large_add, &g->sent);
    chatter_write_words(&g->ch, "EXEC", &g->sent);
    game_say_to_real(g, writer);
    game_say_to_model(g, writer);
}

static void step_reconnect(struct game *g)
{
    game_reopen(g, game_any_pair(g));
}

static void step_info(struct game *g)
{
    size_t i = game_any_pair(g);
    if (model_is_blocked(g->pairs[i].model))
        return;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    chatter_write_words(&g->ch, one_in(chance(g), 2) ? "INFO server" : "INFO SERVER", &g->sent);
    game_say_to_real(g, i);
    game_say_to_model(g, i);
}

static void step_garbage(struct game *g)
{
    size_t i = game_any_pair(g);
    write_plain(g, below(chance(g), 2));
    chatter_write_garbage(&g->ch, &g->sent);
    write_plain(g, below(chance(g), 2));
    game_say_to_real(g, i);
    game_say_to_model(g, i);
}

// ---- games ----------------------------------------------------------------------

static const struct {
    unsigned weight; // of 1000
    void (*play)(struct game *g);
} steps[] = {
    { 630, step_plain },  { 200, step_clock },      { 75, step_block },     { 8, step_short_block },
    { 6, step_together }, { 10, step_transaction }, { 15, step_reconnect }, { 10, step_info },
    { 10, step_garbage }, { 20, step_keys },        { 3, step_reload },     { 5, step_users },
    { 2, step_busy },     { 6, step_replica },
};

static void play_step(struct game *g)
{
    size_t n = below(chance(g), 1000), i = 0;
    while (n >= steps[i].weight)
        n -= steps[i++].weight;
    // Who is what is changed back sooner than it came.
    if ((g->script || g->is_replica) && one_in(chance(g), 12)) {
        end_script(g);
        end_replica(g);
    }
    g->sent.len = 0;
    steps[i].play(g);
    game_compare(g);
}

static void set_up(struct game *g)
{
    static const unsigned entries[] = { 100, 100, 2, 3, 10 }, bytes[] = { 4096, 4096, 150, 400 };
    bool is_odd = one_in(chance(g), 3);
    struct model_options options = { .unix_us = (int64_t)time(NULL) * 1000000 };
    options.node_entries_max = entries[below(chance(g), ARRAY_LEN(entries))];
    options.node_bytes_max =
        is_odd ? 60 + below(chance(g), 200) : bytes[below(chance(g), ARRAY_LEN(bytes))];
    g->model = model_new(&options);
    g->ch.ms = below(chance(g), 20);
    g->ch.has_users = one_in(chance(g), 4);
    g->ch.wants_large = one_in(chance(g), 4);
    real_control(g->real, "CONFIG SET stream-node-max-entries %zu stream-node-max-bytes %zu",
                 options.node_entries_max, options.node_bytes_max);
    step_users(g);
    if (g->ch.has_users && one_in(chance(g), 2)) {
        real_control(g->real, "CONFIG SET requirepass right");
        model_set_user(g->model, &(struct model_user){ .name = "default", .password = "right" });
    }
    g->pair_count = 1 + below(chance(g), PAIRS_MAX);
    for (size_t i = 0; i < g->pair_count; i++)
        game_open(g, i);
    real_settle(g->real); // it has taken them in
}

static void clean_up(struct game *g)
{
    end_script(g);
    end_replica(g);
    game_compare(g);
    for (size_t i = 0; i < g->pair_count; i++)
        game_close(g, i);
    g->pair_count = 0;
    model_free(g->model);
    real_control(g->real, "CONFIG SET requirepass \"\"");
    real_control(g->real, "ACL DELUSER alice bob");
    real_control(g->real, "FLUSHALL");
    buffer_free(&g->sent);
    buffer_free(&g->story);
}

static size_t play(struct real *real, uint64_t seed, bool show)
{
    struct game g = { .seed = seed, .show = show, .real = real };
    g.ch.chance.state = seed;
    set_up(&g);
    for (g.step = 0; g.step < STEPS; g.step++)
        play_step(&g);
    clean_up(&g);
    return g.ch.commands;
}

// ---- main -----------------------------------------------------------------------

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t number_of(const char *text)
{
    uint64_t n;
    if (text == NULL || !view_u64(view_of(text), &n)) {
        fprintf(stderr, "compare [--seed N] [--commands N] [--seconds N] [--show] | --speed\n");
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, commands_max = 20000, seconds = UINT32_MAX;
    bool show = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = number_of(argv[++i]);
        else if (strcmp(argv[i], "--commands") == 0)
            commands_max = number_of(argv[++i]);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = number_of(argv[++i]);
        else if (strcmp(argv[i], "--show") == 0)
            show = true;
        else if (strcmp(argv[i], "--speed") == 0)
            return speed_measure(2), 0;
        else
            number_of(NULL);
    }
    struct real *real = real_start();
    double began = now_s();
    uint64_t commands = 0, first = seed;
    while (commands < commands_max && now_s() - began < (double)seconds)
        commands += play(real, seed++, show);
    real_stop(real);
    printf("seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64
           " commands, every answer equal, %.0f a second\n",
           first, seed - 1, commands, (double)commands / (now_s() - began));
    return 0;
}
