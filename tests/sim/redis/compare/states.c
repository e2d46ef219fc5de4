#include <stdio.h>

#include "game.h"

// A snapshot is saved and loaded.
void step_reload(struct game *g)
{
    if (g->script || g->is_replica)
        return;
    game_control(g, "DEBUG RELOAD");
    struct model_image *image = model_save(g->model);
    model_load(g->model, image);
    model_image_free(image);
}

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
    game_tell(g, 0, "of control: user", view_of(name));
    game_tell(g, 0, "of control: rules", buffer_view(&rules));
    const char *answer = real_control(g->real, "ACL SETUSER %s reset on >secret &*" VIEW_FMT, name,
                                      VIEW_ARG(buffer_view(&rules)));
    if (strcmp(answer, "+OK") != 0)
        game_differ(g, 0, "ACL SETUSER", view_of(answer), VIEW(""));
    model_set_user(g->model,
                   &(struct model_user){
                       .name = name, .password = "secret", .forbidden = refused, .keys = keys });
    buffer_free(&rules);
}

void step_users(struct game *g)
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
    game_differ(g, 0, "the script", VIEW("stays as it is"), VIEW(""));
}

void end_script(struct game *g)
{
    if (g->script == NULL)
        return;
    game_control(g, "SCRIPT KILL");
    await_busy(g, false);
    real_close(g->script);
    g->script = NULL;
    model_switches(g->model)->busy = false;
}

void step_busy(struct game *g)
{
    if (g->script) {
        end_script(g);
        return;
    }
    if (g->is_replica)
        return;
    game_tell(g, 0, "of control:", VIEW("EVAL"));
    g->script = real_connect(g->real);
    real_send(g->script, VIEW("AUTH right\r\nEVAL \"while true do end\" 0\r\n"));
    await_busy(g, true);
    model_switches(g->model)->busy = true;
}

void end_replica(struct game *g)
{
    if (!g->is_replica)
        return;
    game_control(g, "REPLICAOF NO ONE");
    model_set_replica(g->model, false);
    model_switches(g->model)->master_down = false;
    g->is_replica = false;
}

void step_replica(struct game *g)
{
    if (g->script)
        return;
    if (g->is_replica) {
        end_replica(g);
        return;
    }
    bool stale = one_in(chance(g), 2);
    game_control(g, stale ? "CONFIG SET replica-serve-stale-data yes"
                          : "CONFIG SET replica-serve-stale-data no");
    game_control(g, "REPLICAOF 127.0.0.1 1");
    model_switches(g->model)->master_down = !stale;
    model_set_replica(g->model, true);
    g->is_replica = true;
}
