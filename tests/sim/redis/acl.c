#include "inside.h"

struct user *user_find(const struct model *m, struct view name)
{
    LIST_EACH (node, &m->users) {
        struct user *u = LIST_ITEM(node, struct user, of_model);
        if (view_eq(buffer_view(&u->name), name))
            return u;
    }
    return NULL;
}

static void set_text(struct buffer *b, const char *text)
{
    b->len = 0;
    buffer_add_view(b, view_of(text));
}

void model_set_user(struct model *m, const struct model_user *user)
{
    struct user *u = user_find(m, view_of(user->name));
    if (u == NULL) {
        u = must_alloc(sizeof(*u));
        *u = (struct user){ 0 };
        list_push(&m->users, &u->of_model);
    }
    set_text(&u->name, user->name);
    set_text(&u->password, user->password);
    set_text(&u->forbidden, user->forbidden);
    set_text(&u->keys, user->keys);
    u->needs_password = user->password != NULL;
    u->all_keys = user->keys == NULL;
    u->off = user->off;
}

void user_free(struct user *u)
{
    list_remove(&u->of_model);
    buffer_free(&u->name);
    buffer_free(&u->password);
    buffer_free(&u->forbidden);
    buffer_free(&u->keys);
    free(u);
}

const struct user *user_let_in(const struct model *m, struct view name, struct view password)
{
    const struct user *u = user_find(m, name);
    if (u == NULL || u->off)
        return NULL;
    return !u->needs_password || view_eq(buffer_view(&u->password), password) ? u : NULL;
}

// The next word of a list between spaces; false: no more.
static bool next_word(struct view *list, struct view *word)
{
    *list = view_trim(*list);
    size_t len = 0;
    while (len < list->len && list->at[len] != ' ')
        len++;
    *word = (struct view){ list->at, len };
    list->at += len, list->len -= len;
    return len > 0;
}

// "xinfo" forbids "xinfo|stream" too.
static bool covers(struct view rule, struct view command)
{
    return view_starts(command, rule) && (command.len == rule.len || command.at[rule.len] == '|');
}

bool user_may_run(const struct user *u, struct view command)
{
    struct view list = buffer_view(&u->forbidden), word;
    while (list.len > 0 && next_word(&list, &word))
        if (covers(word, command))
            return false;
    return true;
}

bool user_may_touch(const struct user *u, struct view key)
{
    struct view list = buffer_view(&u->keys), word;
    if (u->all_keys)
        return true;
    while (list.len > 0 && next_word(&list, &word))
        if (redis_glob_matches(word, key))
            return true;
    return false;
}
