#include "game.h"

#include <inttypes.h>
#include <stdio.h>

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

void game_tell(struct game *g, size_t pair, const char *what, struct view bytes)
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

#define AROUND 200 // bytes that are shown before the first difference

static struct view from_difference(struct view v, size_t at)
{
    size_t from = at > AROUND ? at - AROUND : 0;
    return (struct view){ v.at + from, v.len - from };
}

_Noreturn void game_differ(struct game *g, size_t pair, const char *what, struct view real,
                           struct view model)
{
    struct buffer text = { 0 };
    size_t same = 0;
    while (same < real.len && same < model.len && real.at[same] == model.at[same])
        same++;
    buffer_add_view(&text, VIEW("real:  "));
    add_escaped(&text, from_difference(real, same));
    buffer_add_view(&text, VIEW("\nmodel: "));
    add_escaped(&text, from_difference(model, same));
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

#define LARGE (32 * KIB)
#define SLACK KIB // what is made equal later may differ in length

static void compare_pair(struct game *g, size_t i)
{
    struct pair *p = &g->pairs[i];
    real_hear(p->real);
    if (model_hangs_up(p->model))
        while (!p->real->is_closed && real_hear_within(p->real, WAIT_MS))
            ;
    real_hear(p->real);
    struct view said = model_output(p->model);
    // What is large is written in several turns.
    while (said.len > LARGE && p->real->heard.len + SLACK < said.len &&
           real_hear_within(p->real, WAIT_MS))
        ;
    if (said.len > LARGE) {
        real_settle(g->real);
        real_hear(p->real);
    }
    struct view heard = buffer_view(&p->real->heard);
    if (!view_eq(heard, said)) {
        struct buffer real = comparable(heard), model = comparable(said);
        if (!view_eq(buffer_view(&real), buffer_view(&model)))
            game_differ(g, i, "the answers", buffer_view(&real), buffer_view(&model));
        buffer_free(&real);
        buffer_free(&model);
    }
    if (g->show && heard.len)
        game_tell(g, i, "hears", heard);
    if (p->real->is_closed != model_hangs_up(p->model))
        game_differ(g, i, "who hangs up", p->real->is_closed ? VIEW("hangs up") : VIEW("stays"),
                    p->real->is_closed ? VIEW("stays") : VIEW("hangs up"));
    p->real->heard.len = 0;
    model_output_taken(p->model, said.len);
}

void game_open(struct game *g, size_t i)
{
    g->pairs[i] = (struct pair){ .real = real_connect(g->real), .model = model_connect(g->model) };
}

void game_close(struct game *g, size_t i)
{
    real_close(g->pairs[i].real);
    model_disconnect(g->pairs[i].model);
}

void game_reopen(struct game *g, size_t i)
{
    game_close(g, i);
    real_settle(g->real); // it knows that it is gone
    game_open(g, i);
    real_settle(g->real);
}

void game_compare(struct game *g)
{
    real_settle(g->real);
    for (size_t i = 0; i < g->pair_count; i++) {
        compare_pair(g, i);
        if (model_hangs_up(g->pairs[i].model))
            game_reopen(g, i);
    }
}

// ---- sending --------------------------------------------------------------------

// To the model cut anywhere, within one turn.
void game_feed(struct game *g, struct pair *p, struct view bytes)
{
    bool cut = one_in(chance(g), 4);
    while (bytes.len > 0) {
        size_t len = cut ? 1 + below(chance(g), bytes.len) : bytes.len;
        model_feed_within_turn(p->model, bytes.at, len);
        bytes.at += len, bytes.len -= len;
    }
}

void game_say_to_real(struct game *g, size_t i)
{
    game_tell(g, i, "says", buffer_view(&g->sent));
    real_send(g->pairs[i].real, buffer_view(&g->sent));
}

void game_say_to_model(struct game *g, size_t i)
{
    game_feed(g, &g->pairs[i], buffer_view(&g->sent));
    model_end_turn(g->model);
}

void game_control(struct game *g, const char *words)
{
    game_tell(g, 0, "of control:", view_of(words));
    const char *answer = real_control(g->real, "%s", words);
    if (strcmp(answer, "+OK") != 0)
        game_differ(g, 0, words, view_of(answer), VIEW("+OK"));
}

size_t game_any_pair(struct game *g)
{
    return below(chance(g), g->pair_count);
}
