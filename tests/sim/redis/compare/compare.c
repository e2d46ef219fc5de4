// Plays the same commands to the model and to a real redis-server, and compares every
// answer and every push, byte for byte.
//
//   compare [--seed N] [--commands N] [--seconds N] [--show]
//
// A game is one seed: a few hundred steps on empty keys, on a few connections. --show tells what
// was sent. What differs by its nature is made equal before it is compared: connections'
// numbers, INFO. Where an answer tells the time, the model's clock is set by it.
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "../model.h"
#include "chatter.h"
#include "real.h"
#include "wire/resp.h"

#define STEPS 250
#define PAIRS_MAX 6
#define WAIT_MS 10000

struct pair {
    struct real_conn *real;
    struct model_conn *model;
    bool star_queued; // XADD * may wait for EXEC: one is as many as the clock can be learnt of
};

struct game {
    uint64_t seed;
    size_t step;
    bool show;
    struct real *real;
    struct model *model;
    struct chatter ch;
    struct pair pairs[PAIRS_MAX];
    size_t pair_count;
    struct buffer sent;       // what one step sends
    struct buffer story;      // the last steps, for who reads of a difference
    struct real_conn *script; // it runs for ever: the server is busy
    bool is_replica;
};

static struct chance *chance(struct game *g)
{
    return &g->ch.chance;
}

// ---- telling --------------------------------------------------------------------

static void add_escaped(struct buffer *out, struct view v)
{
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = (uint8_t)v.at[i];
        if (c == '\r')
            buffer_add_view(out, VIEW("\\r"));
        else if (c == '\n')
            buffer_add_view(out, VIEW("\\n"));
        else if (c < ' ' || c > '~')
            buffer_printf(out, "\\x%02x", c);
        else
            buffer_add(out, &v.at[i], 1);
    }
}

#define STORY_MAX (32 * KIB)

static void tell(struct game *g, size_t pair, const char *what, struct view bytes)
{
    if (g->story.len > STORY_MAX)
        buffer_drop(&g->story, STORY_MAX / 2);
    size_t before = g->story.len;
    buffer_printf(&g->story, "%zu: connection %zu: %s ", g->step, pair, what);
    add_escaped(&g->story, bytes);
    buffer_add_view(&g->story, VIEW("\n"));
    if (g->show)
        printf(VIEW_FMT, (int)(g->story.len - before), g->story.at + before);
}

static _Noreturn void differ(struct game *g, size_t pair, const char *what, struct view real,
                             struct view model)
{
    struct buffer text = { 0 };
    buffer_add_view(&text, VIEW("real:  "));
    add_escaped(&text, real);
    buffer_add_view(&text, VIEW("\nmodel: "));
    add_escaped(&text, model);
    fflush(stdout);
    fprintf(stderr, "…" VIEW_FMT "\ndifference: seed=%" PRIu64 " step=%zu connection %zu: %s\n",
            VIEW_ARG(buffer_view(&g->story)), g->seed, g->step, pair, what);
    fprintf(stderr, VIEW_FMT "\n", VIEW_ARG(buffer_view(&text)));
    real_stop(g->real);
    exit(1);
}

// ---- comparing ------------------------------------------------------------------

static const char *find(struct view in, struct view what)
{
    return in.len ? memmem(in.at, in.len, what.at, what.len) : NULL;
}

// The connection's number in the answer to HELLO.
static void hide_id(struct buffer *b)
{
    static const char before[] = "$2\r\nid\r\n:";
    struct view rest = buffer_view(b);
    for (const char *at; (at = find(rest, VIEW("$2\r\nid\r\n:"))) != NULL;) {
        char *digits = b->at + (at - b->at) + sizeof(before) - 1, *end = digits;
        while (*end != '\r')
            end++;
        memmove(digits, end, (size_t)(b->at + b->len - end));
        b->len -= (size_t)(end - digits);
        rest = (struct view){ digits, (size_t)(b->at + b->len - digits) };
    }
}

// All of INFO but of what kind it is and that it names the version.
static void hide_info(struct buffer *b)
{
    const char *at = find(buffer_view(b), VIEW("# Server\r\n"));
    if (at == NULL || !find(buffer_view(b), VIEW("redis_version:7.0")) ||
        !find(buffer_view(b), VIEW("run_id:")))
        return;
    char *kind = b->at + (at - b->at);
    while (*kind != '$' && *kind != '=')
        kind--;
    size_t len = strtoul(kind + 1, NULL, 10);
    char *end = strchr(kind, '\n') + 1 + len;
    memmove(kind + 1, end, (size_t)(b->at + b->len - end));
    b->len -= (size_t)(end - kind - 1);
}

static struct buffer comparable(struct view answer)
{
    struct buffer b = { 0 };
    buffer_add_view(&b, answer);
    buffer_add(&b, "", 1); // for strchr
    b.len--;
    hide_id(&b);
    hide_info(&b);
    return b;
}

static void compare_pair(struct game *g, size_t i)
{
    struct pair *p = &g->pairs[i];
    real_hear(p->real);
    if (model_hangs_up(p->model))
        while (!p->real->is_closed && real_hear_within(p->real, WAIT_MS))
            ;
    real_hear(p->real);
    struct view heard = buffer_view(&p->real->heard), said = model_output(p->model);
    if (!view_eq(heard, said)) {
        struct buffer real = comparable(heard), model = comparable(said);
        if (!view_eq(buffer_view(&real), buffer_view(&model)))
            differ(g, i, "the answers", buffer_view(&real), buffer_view(&model));
        buffer_free(&real);
        buffer_free(&model);
    }
    if (g->show && heard.len)
        tell(g, i, "hears", heard);
    if (p->real->is_closed != model_hangs_up(p->model))
        differ(g, i, "who hangs up", p->real->is_closed ? VIEW("hangs up") : VIEW("stays"),
               p->real->is_closed ? VIEW("stays") : VIEW("hangs up"));
    p->real->heard.len = 0;
    model_output_taken(p->model, said.len);
}

static void open_pair(struct game *g, size_t i)
{
    g->pairs[i] = (struct pair){ .real = real_connect(g->real), .model = model_connect(g->model) };
}

static void close_pair(struct game *g, size_t i)
{
    real_close(g->pairs[i].real);
    model_disconnect(g->pairs[i].model);
}

static void reopen(struct game *g, size_t i)
{
    close_pair(g, i);
    real_settle(g->real); // it knows that it is gone
    open_pair(g, i);
    real_settle(g->real);
}

static void compare_all(struct game *g)
{
    real_settle(g->real);
    for (size_t i = 0; i < g->pair_count; i++) {
        compare_pair(g, i);
        if (model_hangs_up(g->pairs[i].model))
            reopen(g, i);
    }
}

// ---- sending --------------------------------------------------------------------

// To the model cut anywhere, within one turn.
static void feed_in_pieces(struct game *g, struct pair *p, struct view bytes)
{
    bool cut = one_in(chance(g), 4);
    while (bytes.len > 0) {
        size_t len = cut ? 1 + below(chance(g), bytes.len) : bytes.len;
        model_feed_within_turn(p->model, bytes.at, len);
        bytes.at += len, bytes.len -= len;
    }
}

static void send_real(struct game *g, size_t i)
{
    tell(g, i, "says", buffer_view(&g->sent));
    real_send(g->pairs[i].real, buffer_view(&g->sent));
}

static void send_model(struct game *g, size_t i)
{
    feed_in_pieces(g, &g->pairs[i], buffer_view(&g->sent));
    model_end_turn(g->model);
}

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
    const char *at = find(answer, VIEW("*2\r\n$10\r\n"));
    char *tail;
    if (at == NULL)
        return 0;
    int64_t seconds = strtoll(at + 9, &tail, 10);
    return seconds * 1000000 + atoi(strchr(tail + 2, '\n') + 1);
}

// ---- steps ----------------------------------------------------------------------

static size_t any_pair(struct game *g)
{
    return below(chance(g), g->pair_count);
}

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
    size_t i = any_pair(g);
    write_plain(g, few(g));
    send_real(g, i);
    send_model(g, i);
}

// One command whose answer depends on the clock: the real one goes first.
static void step_clock(struct game *g)
{
    size_t i = any_pair(g);
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
    send_real(g, i);
    real_settle(g->real);
    real_hear(p->real);
    buffer_add(&p->real->heard, "", 1); // ends the numbers
    p->real->heard.len--;
    struct view heard = buffer_view(&p->real->heard);
    int64_t now_us = kind == 0 ? told_us(heard) : latest_id_us(heard);
    if (now_us > 0)
        model_set_time_us(g->model, now_us);
    send_model(g, i);
}

static void step_block(struct game *g)
{
    size_t i = any_pair(g);
    write_plain(g, below(chance(g), 2));
    chatter_write(&g->ch, CHATTER_BLOCK, &g->sent);
    write_plain(g, below(chance(g), 3));
    send_real(g, i);
    send_model(g, i);
}

// XREAD BLOCK that ends by time: nothing else happens meanwhile.
static void step_short_block(struct game *g)
{
    size_t i = any_pair(g);
    struct pair *p = &g->pairs[i];
    if (model_is_blocked(p->model))
        return;
    chatter_write_short_block(&g->ch, 1 + (unsigned)below(chance(g), 4), &g->sent);
    write_plain(g, below(chance(g), 3));
    send_real(g, i);
    send_model(g, i);
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
    size_t first = any_pair(g), second = any_pair(g);
    if (first == second)
        return;
    real_hold(g->real);
    write_plain(g, few(g));
    send_real(g, first);
    feed_in_pieces(g, &g->pairs[first], buffer_view(&g->sent));
    g->sent.len = 0;
    write_plain(g, few(g));
    send_real(g, second);
    feed_in_pieces(g, &g->pairs[second], buffer_view(&g->sent));
    model_end_turn(g->model);
    real_go_on(g->real);
}

static void step_reconnect(struct game *g)
{
    reopen(g, any_pair(g));
}

static void step_info(struct game *g)
{
    size_t i = any_pair(g);
    if (model_is_blocked(g->pairs[i].model))
        return;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    chatter_write_words(&g->ch, one_in(chance(g), 2) ? "INFO server" : "INFO SERVER", &g->sent);
    send_real(g, i);
    send_model(g, i);
}

static void step_garbage(struct game *g)
{
    size_t i = any_pair(g);
    write_plain(g, below(chance(g), 2));
    chatter_write_garbage(&g->ch, &g->sent);
    write_plain(g, below(chance(g), 2));
    send_real(g, i);
    send_model(g, i);
}

static void must_control(struct game *g, const char *words)
{
    tell(g, 0, "of control:", view_of(words));
    const char *answer = real_control(g->real, "%s", words);
    if (strcmp(answer, "+OK") != 0)
        differ(g, 0, words, view_of(answer), VIEW("+OK"));
}

// A snapshot is saved and loaded.
static void step_reload(struct game *g)
{
    if (g->script || g->is_replica)
        return;
    must_control(g, "DEBUG RELOAD");
    struct model_image *image = model_save(g->model);
    model_load(g->model, image);
    model_image_free(image);
}

// ---- keys in any order ----------------------------------------------------------

struct key_list {
    struct buffer names; // each with a line end
    bool is_error;
    struct buffer error;
    char cursor[24];
};

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The answer to SCAN or KEYS is added.
static void take_keys(struct key_list *list, struct view answer, bool is_scan)
{
    struct resp_reader r = resp_open(answer);
    struct resp_node node;
    strcpy(list->cursor, "0");
    if (!resp_next(&r, &node) || node.type == RESP_ERROR || node.type == RESP_STRING) {
        list->is_error = true;
        buffer_add_view(&list->error, answer);
        return;
    }
    if (is_scan && resp_next(&r, &node)) {
        snprintf(list->cursor, sizeof(list->cursor), VIEW_FMT, VIEW_ARG(node.text));
        resp_next(&r, &node);
    }
    while (resp_next(&r, &node)) {
        buffer_add_view(&list->names, node.text);
        buffer_add_view(&list->names, VIEW("\n"));
    }
}

static void sort_keys(struct key_list *list)
{
    char *lines[64];
    size_t count = 0;
    struct buffer sorted = { 0 };
    buffer_add(&list->names, "", 1);
    for (char *at = strtok(list->names.at, "\n"); at && count < ARRAY_LEN(lines);
         at = strtok(NULL, "\n"))
        lines[count++] = at;
    qsort(lines, count, sizeof(lines[0]), compare_lines);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
            buffer_printf(&sorted, "%s ", lines[i]);
    buffer_free(&list->names);
    list->names = sorted;
}

static struct view ask_real(struct game *g, size_t i, const char *words)
{
    g->sent.len = 0;
    g->pairs[i].real->heard.len = 0;
    chatter_write_words(&g->ch, words, &g->sent);
    send_real(g, i);
    real_settle(g->real);
    real_hear(g->pairs[i].real);
    return buffer_view(&g->pairs[i].real->heard);
}

static struct view ask_model(struct game *g, size_t i, const char *words)
{
    g->sent.len = 0;
    model_output_taken(g->pairs[i].model, model_output(g->pairs[i].model).len);
    chatter_write_words(&g->ch, words, &g->sent);
    send_model(g, i);
    return model_output(g->pairs[i].model);
}

static struct key_list list_keys(struct game *g, size_t i, const char *words, bool is_scan,
                                 struct view (*ask)(struct game *, size_t, const char *))
{
    struct key_list list = { .cursor = "0" };
    do {
        char text[128];
        if (is_scan)
            snprintf(text, sizeof(text), "SCAN %s%s", list.cursor, words);
        else
            snprintf(text, sizeof(text), "KEYS%s", words);
        take_keys(&list, ask(g, i, text), is_scan);
    } while (!list.is_error && strcmp(list.cursor, "0") != 0);
    sort_keys(&list);
    g->pairs[i].real->heard.len = 0;
    model_output_taken(g->pairs[i].model, model_output(g->pairs[i].model).len);
    return list;
}

static void step_keys(struct game *g)
{
    static const char *const scans[] = {
        "",
        " COUNT 1",
        " COUNT 2 TYPE stream",
        " MATCH s*",
        " TYPE string",
        " MATCH [^s]* COUNT 3",
        " MATCH ?1 TYPE STREAM",
        " TYPE none",
    };
    static const char *const globs[] = { " *",  " s*", " s[1-2]", " \\s1",
                                         " *1", " ",   " [^o]*r", " ?" };
    size_t i = any_pair(g);
    if (model_is_blocked(g->pairs[i].model))
        return;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    send_real(g, i);
    send_model(g, i);
    compare_all(g);
    bool is_scan = one_in(chance(g), 2);
    const char *words = is_scan ? scans[below(chance(g), ARRAY_LEN(scans))]
                                : globs[below(chance(g), ARRAY_LEN(globs))];
    struct key_list real = list_keys(g, i, words, is_scan, ask_real);
    struct key_list model = list_keys(g, i, words, is_scan, ask_model);
    if (!view_eq(buffer_view(&real.names), buffer_view(&model.names)))
        differ(g, i, "the keys", buffer_view(&real.names), buffer_view(&model.names));
    if (!view_eq(buffer_view(&real.error), buffer_view(&model.error)))
        differ(g, i, "the error", buffer_view(&real.error), buffer_view(&model.error));
    buffer_free(&real.names);
    buffer_free(&model.names);
    buffer_free(&real.error);
    buffer_free(&model.error);
}

// ---- what the server is ---------------------------------------------------------

static const char *const alice_keys[] = { "s1 s2", "s*", "other", "[ns]1 o*" };
static const char *const forbidden[] = { "xinfo",     "multi xdel",   "xinfo|stream client",
                                         "xadd exec", "xread xrange", "client|tracking ping" };

static void set_user(struct game *g, const char *name, const char *keys, const char *refused)
{
    struct buffer rules = { 0 };
    char words[128], *save = NULL;
    snprintf(words, sizeof(words), "%s", keys);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        buffer_printf(&rules, " ~%s", w);
    buffer_add_view(&rules, VIEW(" +@all"));
    snprintf(words, sizeof(words), "%s", refused);
    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        buffer_printf(&rules, " -%s", w);
    tell(g, 0, "of control: user", view_of(name));
    tell(g, 0, "of control: rules", buffer_view(&rules));
    const char *answer = real_control(g->real, "ACL SETUSER %s reset on >secret &*" VIEW_FMT, name,
                                      VIEW_ARG(buffer_view(&rules)));
    if (strcmp(answer, "+OK") != 0)
        differ(g, 0, "ACL SETUSER", view_of(answer), VIEW(""));
    model_set_user(g->model,
                   &(struct model_user){
                       .name = name, .password = "secret", .forbidden = refused, .keys = keys });
    buffer_free(&rules);
}

static void step_users(struct game *g)
{
    if (!g->ch.has_users || g->script)
        return;
    set_user(g, "alice", alice_keys[below(chance(g), ARRAY_LEN(alice_keys))],
             forbidden[below(chance(g), ARRAY_LEN(forbidden))]);
    set_user(g, "bob", "*", forbidden[below(chance(g), ARRAY_LEN(forbidden))]);
}

// Until the script has begun, or ended.
static void await_busy(struct game *g, bool busy)
{
    for (int i = 0; i < WAIT_MS; i++)
        if ((strncmp(real_control(g->real, "PING"), "-BUSY", 5) == 0) == busy)
            return;
    differ(g, 0, "the script", VIEW("stays as it is"), VIEW(""));
}

static void end_script(struct game *g)
{
    if (g->script == NULL)
        return;
    must_control(g, "SCRIPT KILL");
    await_busy(g, false);
    real_close(g->script);
    g->script = NULL;
    model_switches(g->model)->busy = false;
}

static void step_busy(struct game *g)
{
    if (g->script) {
        end_script(g);
        return;
    }
    if (g->is_replica)
        return;
    tell(g, 0, "of control:", VIEW("EVAL"));
    g->script = real_connect(g->real);
    real_send(g->script, VIEW("AUTH right\r\nEVAL \"while true do end\" 0\r\n"));
    await_busy(g, true);
    model_switches(g->model)->busy = true;
}

static void end_replica(struct game *g)
{
    if (!g->is_replica)
        return;
    must_control(g, "REPLICAOF NO ONE");
    model_set_replica(g->model, false);
    model_switches(g->model)->master_down = false;
    g->is_replica = false;
}

static void step_replica(struct game *g)
{
    if (g->script)
        return;
    if (g->is_replica) {
        end_replica(g);
        return;
    }
    bool stale = one_in(chance(g), 2);
    must_control(g, stale ? "CONFIG SET replica-serve-stale-data yes"
                          : "CONFIG SET replica-serve-stale-data no");
    must_control(g, "REPLICAOF 127.0.0.1 1");
    model_switches(g->model)->master_down = !stale;
    model_set_replica(g->model, true);
    g->is_replica = true;
}

// ---- games ----------------------------------------------------------------------

static const struct {
    unsigned weight; // of 1000
    void (*play)(struct game *g);
} steps[] = {
    { 640, step_plain },  { 200, step_clock },    { 75, step_block }, { 8, step_short_block },
    { 6, step_together }, { 15, step_reconnect }, { 10, step_info },  { 10, step_garbage },
    { 20, step_keys },    { 3, step_reload },     { 5, step_users },  { 2, step_busy },
    { 6, step_replica },
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
    compare_all(g);
}

static void set_up(struct game *g)
{
    static const unsigned entries[] = { 100, 100, 2, 3, 10 }, bytes[] = { 4096, 4096, 150, 400 };
    struct model_options options = { .unix_us = (int64_t)time(NULL) * 1000000 };
    options.node_entries_max = entries[below(chance(g), ARRAY_LEN(entries))];
    options.node_bytes_max = bytes[below(chance(g), ARRAY_LEN(bytes))];
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
        open_pair(g, i);
    real_settle(g->real); // it has taken them in
}

static void clean_up(struct game *g)
{
    end_script(g);
    end_replica(g);
    compare_all(g);
    for (size_t i = 0; i < g->pair_count; i++)
        close_pair(g, i);
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
        fprintf(stderr, "compare [--seed N] [--commands N] [--seconds N] [--show]\n");
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
