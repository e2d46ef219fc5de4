#include "worker/commands.h"

static struct view text_of(const json_t *value)
{
    return (struct view){ json_string_value(value), json_string_length(value) };
}

// A member that is to be a text: false when it is there and is none.
static bool read_text(const json_t *object, const char *name, struct view *out)
{
    const json_t *value = json_object_get(object, name);
    *out = (struct view){ 0 };
    if (value == NULL || json_is_null(value))
        return true;
    *out = text_of(value);
    return json_is_string(value);
}

static const char *read_options(const json_t *object, struct subscribe_options *o)
{
    static const char *const wrong = "token, scope, from, after, slow and every are texts";
    bool ok = read_text(object, "token", &o->token);
    ok = read_text(object, "scope", &o->scope) && ok;
    ok = read_text(object, "from", &o->from) && ok;
    ok = read_text(object, "after", &o->after) && ok;
    ok = read_text(object, "slow", &o->slow) && ok;
    ok = read_text(object, "every", &o->every) && ok;
    if (ok && o->scope.len > COMMAND_SCOPE_MAX)
        return "a scope has at most 512 bytes";
    return ok ? NULL : wrong;
}

struct subscribe_options subscribe_options_over(struct subscribe_options over,
                                                struct subscribe_options under)
{
    bool begins = over.from.len > 0 || over.after.len > 0;
    return (struct subscribe_options){
        .token = over.token.len ? over.token : under.token,
        // A scope belongs to its token.
        .scope = over.scope.len || over.token.len ? over.scope : under.scope,
        .from = begins ? over.from : under.from,
        .after = begins ? over.after : under.after,
        .slow = over.slow.len ? over.slow : under.slow,
        .every = over.every.len ? over.every : under.every,
    };
}

// ---- one message ----------------------------------------------------------------

static enum command_kind kind_of(const json_t *root)
{
    static const struct {
        const char *type;
        enum command_kind kind;
    } kinds[] = {
        { "subscribe", COMMAND_SUBSCRIBE },
        { "unsubscribe", COMMAND_UNSUBSCRIBE },
        { "auth", COMMAND_AUTH },
        { "ping", COMMAND_PING },
    };
    struct view type = text_of(json_object_get(root, "type"));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (view_eq(type, view_of(kinds[i].type)))
            return kinds[i].kind;
    return COMMAND_BAD;
}

// A list of names, which may be left out.
static const char *read_list(const json_t *root, const char *name, json_t **out)
{
    *out = json_object_get(root, name);
    if (*out && !json_is_array(*out))
        return "streams and patterns are arrays";
    return NULL;
}

static const char *read_members(struct command *c)
{
    struct view ref;
    if (!read_text(c->root, "ref", &ref) || ref.len > COMMAND_REF_MAX)
        return "ref is a text of at most 64 bytes";
    c->ref = ref;
    c->kind = kind_of(c->root);
    if (c->kind == COMMAND_BAD)
        return "type is one of: subscribe, unsubscribe, auth, ping";
    const char *wrong = read_options(c->root, &c->options);
    if (!wrong)
        wrong = read_list(c->root, "streams", &c->streams);
    if (!wrong)
        wrong = read_list(c->root, "patterns", &c->patterns);
    bool is_about_streams = c->kind == COMMAND_SUBSCRIBE || c->kind == COMMAND_UNSUBSCRIBE;
    if (!wrong && is_about_streams && !c->streams && !c->patterns)
        wrong = "it names no streams";
    return wrong;
}

void command_read(struct command *c, struct view message)
{
    *c = (struct command){ .kind = COMMAND_BAD };
    c->root = json_loadb(message.len ? message.at : "", message.len, JSON_REJECT_DUPLICATES, NULL);
    c->why = json_is_object(c->root) ? read_members(c)
                                     : "a message is one JSON object, without duplicate members";
    if (c->why)
        c->kind = COMMAND_BAD;
}

void command_done(struct command *c)
{
    json_decref(c->root);
    *c = (struct command){ 0 };
}

// ---- its streams ----------------------------------------------------------------

static const char *check_name(struct view name)
{
    if (name.len == 0)
        return "a stream's id is a text that is not empty";
    return name.len > COMMAND_NAME_MAX ? "a stream's id has at most 512 bytes here" : NULL;
}

// An element is a name, or an object with one and options of its own.
static void read_element(const json_t *element, const struct command *c, struct command_item *item)
{
    struct subscribe_options own = { 0 };
    if (json_is_object(element)) {
        item->name = text_of(json_object_get(element, item->is_pattern ? "pattern" : "stream"));
        item->wrong = read_options(element, &own);
    } else {
        item->name = text_of(element);
    }
    item->options = subscribe_options_over(own, c->options);
    if (!item->wrong)
        item->wrong = check_name(item->name);
}

bool command_next(struct command *c, struct command_item *item)
{
    size_t streams = json_array_size(c->streams), at = c->next;
    if (at >= streams + json_array_size(c->patterns))
        return false;
    c->next++;
    *item = (struct command_item){ .is_pattern = at >= streams };
    read_element(at < streams ? json_array_get(c->streams, at)
                              : json_array_get(c->patterns, at - streams),
                 c, item);
    return true;
}
