#include <stdio.h>

#include "game.h"
#include "wire/resp.h"

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
    game_say_to_real(g, i);
    real_settle(g->real);
    real_hear(g->pairs[i].real);
    return buffer_view(&g->pairs[i].real->heard);
}

static struct view ask_model(struct game *g, size_t i, const char *words)
{
    g->sent.len = 0;
    model_output_taken(g->pairs[i].model, model_output(g->pairs[i].model).len);
    chatter_write_words(&g->ch, words, &g->sent);
    game_say_to_model(g, i);
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

void step_keys(struct game *g)
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
    size_t i = game_any_pair(g);
    if (model_is_blocked(g->pairs[i].model))
        return;
    chatter_write_words(&g->ch, "DISCARD", &g->sent);
    game_say_to_real(g, i);
    game_say_to_model(g, i);
    game_compare(g);
    bool is_scan = one_in(chance(g), 2);
    const char *words = is_scan ? scans[below(chance(g), ARRAY_LEN(scans))]
                                : globs[below(chance(g), ARRAY_LEN(globs))];
    struct key_list real = list_keys(g, i, words, is_scan, ask_real);
    struct key_list model = list_keys(g, i, words, is_scan, ask_model);
    if (!view_eq(buffer_view(&real.names), buffer_view(&model.names)))
        game_differ(g, i, "the keys", buffer_view(&real.names), buffer_view(&model.names));
    if (!view_eq(buffer_view(&real.error), buffer_view(&model.error)))
        game_differ(g, i, "the error", buffer_view(&real.error), buffer_view(&model.error));
    buffer_free(&real.names);
    buffer_free(&model.names);
    buffer_free(&real.error);
    buffer_free(&model.error);
}
