#include "inside.h"

#include <stdio.h>

#define NODE_ENTRIES 100
#define NODE_BYTES 4096

// ---- a server's life ------------------------------------------------------------

static uint64_t mix(uint64_t z) // splitmix64
{
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void make_run_id(struct model *m, uint64_t life)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t z = 0;
    for (size_t i = 0; i < RUN_ID_LEN; i++, z >>= 4) {
        if (i % 16 == 0)
            z = mix(life + i * 0x632be59bd9b4e019);
        m->run_id[i] = digits[z & 15];
    }
    m->run_id[RUN_ID_LEN] = '\0';
}

static size_t or_else(size_t n, size_t standard)
{
    return n ? n : standard;
}

struct model *model_new(const struct model_options *options)
{
    struct model *m = must_alloc(sizeof(*m));
    *m = (struct model){ .now_us = options->unix_us, .began_us = options->unix_us };
    m->limits.entries_max = or_else(options->node_entries_max, NODE_ENTRIES);
    m->limits.bytes_max = or_else(options->node_bytes_max, NODE_BYTES);
    snprintf(m->version, sizeof(m->version), "%s", options->version ? options->version : "7.0.15");
    m->major = atoi(m->version);
    make_run_id(m, options->life);
    names_init(&m->keys);
    names_init(&m->tracked);
    list_init(&m->users);
    list_init(&m->conns);
    list_init(&m->ready);
    list_init(&m->unblocked);
    model_set_user(m, &(struct model_user){ .name = "default" });
    m->default_user = user_find(m, VIEW("default"));
    return m;
}

void model_free(struct model *m)
{
    while (!list_empty(&m->conns))
        model_disconnect(LIST_ITEM(m->conns.next, struct model_conn, of_model));
    keys_flush(m, -1);
    tracking_free(m);
    names_done(&m->keys);
    names_done(&m->tracked);
    LIST_EACH (node, &m->users)
        user_free(LIST_ITEM(node, struct user, of_model));
    buffer_free(&m->pushes);
    free(m->argv);
    free(m);
}

void model_restart(struct model *m, uint64_t life)
{
    CHECK(list_empty(&m->conns));
    keys_flush(m, -1);
    tracking_free(m);
    make_run_id(m, life);
    m->began_us = m->now_us;
    m->conn_count = 0;
}

struct model *model_copy(const struct model *m, const struct model_options *options)
{
    struct model *copy = model_new(options);
    struct model_image *image = model_save(m);
    model_load(copy, image);
    model_image_free(image);
    return copy;
}

struct model_switches *model_switches(struct model *m)
{
    return &m->switches;
}

void model_set_replica(struct model *m, bool is_replica)
{
    if (is_replica && !m->is_replica)
        block_end_all(m, "UNBLOCKED force unblock from blocking operation, instance state changed "
                         "(master -> replica?)");
    m->is_replica = is_replica;
}

// ---- connections ----------------------------------------------------------------

struct model_conn *model_connect(struct model *m)
{
    struct model_conn *c = must_alloc(sizeof(*c));
    *c = (struct model_conn){ .model = m, .id = ++m->conn_count, .resp = 2 };
    c->user = m->default_user->needs_password || m->default_user->off ? NULL : m->default_user;
    list_init(&c->in_unblocked);
    list_push(&m->conns, &c->of_model);
    return c;
}

void model_disconnect(struct model_conn *c)
{
    block_forget(c);
    list_remove(&c->of_model);
    buffer_free(&c->input);
    buffer_free(&c->output);
    buffer_free(&c->name);
    buffer_free(&c->queue);
    free(c);
}

struct view model_output(const struct model_conn *c)
{
    return buffer_view(&c->output);
}

void model_output_taken(struct model_conn *c, size_t len)
{
    buffer_drop(&c->output, len);
}

bool model_hangs_up(const struct model_conn *c)
{
    return c->hangs_up;
}

// ---- turns ----------------------------------------------------------------------

// Runs what is whole at the front of `bytes`, until one blocks. Returns what was used.
static size_t run_commands(struct model_conn *c, struct view bytes)
{
    size_t done = 0, argc, used;
    char error[64];
    while (c->waits == NULL && !c->hangs_up) {
        struct view rest = { bytes.at + done, bytes.len - done };
        enum request_result result =
            request_parse(c->model, rest, c->user == NULL, &argc, &used, error);
        if (result == REQUEST_MORE)
            break;
        if (result == REQUEST_BAD) {
            reply_error(&c->output, error);
            c->hangs_up = true;
            break;
        }
        done += used;
        if (argc > 0)
            command_handle(c, argc, c->model->argv);
    }
    return c->hangs_up ? bytes.len : done;
}

static void run_input(struct model_conn *c)
{
    if (c->input.len > 0)
        buffer_drop(&c->input, run_commands(c, buffer_view(&c->input)));
}

// The bytes are kept only if they cannot be used at once.
void model_feed_within_turn(struct model_conn *c, const char *at, size_t len)
{
    size_t used = 0;
    if (c->input.len == 0)
        used = run_commands(c, (struct view){ at, len });
    if (used == len)
        return;
    bool was_empty = c->input.len == 0;
    buffer_add(&c->input, at + used, len - used);
    if (!was_empty)
        run_input(c);
}

// Those that are unblocked by what the unblocked ones run come in their turn.
void model_end_turn(struct model *m)
{
    for (struct list *node; (node = list_pop(&m->unblocked));) {
        struct model_conn *c = LIST_ITEM(node, struct model_conn, in_unblocked);
        run_input(c);
    }
}

void model_feed(struct model_conn *c, const char *at, size_t len)
{
    model_feed_within_turn(c, at, len);
    model_end_turn(c->model);
}

void model_set_time_us(struct model *m, int64_t unix_us)
{
    m->now_us = unix_us;
    block_end_due(m);
    model_end_turn(m);
}

int64_t model_time_us(const struct model *m)
{
    return m->now_us;
}
