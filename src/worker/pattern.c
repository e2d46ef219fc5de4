#include "worker/pattern.h"

void patterns_init(struct patterns *all, struct mailbox *self, struct mailbox *tail)
{
    *all = (struct patterns){ .self = self, .tail = tail };
    table_init(&all->by_text);
    list_init(&all->behind);
}

static void drop_names(struct pattern *p)
{
    for (size_t i = 0; i < p->count; i++)
        name_unref(p->names[i]);
    free(p->names);
    p->names = NULL;
    p->count = p->cap = 0;
}

void patterns_done(struct patterns *all)
{
    for (struct table_node *node; (node = table_any(&all->by_text));) {
        struct pattern *p = TABLE_ITEM(node, struct pattern, by_text);
        table_remove(&all->by_text, node);
        drop_names(p);
        free(p);
    }
    table_done(&all->by_text);
}

static void post_request(struct pattern *p, enum letter_kind kind)
{
    struct watch_request *r = must_alloc(sizeof(*r) + p->len);
    *r = (struct watch_request){
        .letter.kind = kind, .from = p->all->self, .pattern = p, .len = p->len
    };
    memcpy(r->text, p->text, p->len);
    mailbox_post(p->all->tail, &r->letter);
}

struct pattern *patterns_find(struct patterns *all, struct view text)
{
    struct table_node *found = table_find(&all->by_text, text);
    if (found)
        return TABLE_ITEM(found, struct pattern, by_text);
    if (all->by_text.len >= PATTERNS_MAX)
        return NULL;
    struct pattern *p = must_alloc(sizeof(*p) + text.len);
    *p = (struct pattern){ .all = all, .len = text.len };
    memcpy(p->text, text.at, text.len);
    list_init(&p->idle);
    table_add(&all->by_text, &p->by_text, pattern_text(p));
    post_request(p, LETTER_WATCH);
    return p;
}

void pattern_join(struct pattern *p)
{
    p->interests++;
}

// In memory until the tail has said farewell, for letters that name it may be under way.
void pattern_leave(struct pattern *p)
{
    CHECK(p->interests > 0);
    if (--p->interests > 0)
        return;
    if (p->failure == NULL)
        table_remove(&p->all->by_text, &p->by_text);
    drop_names(p);
    post_request(p, LETTER_UNWATCH);
}

// ---- names ------------------------------------------------------------------------

struct name *pattern_name_from(const struct pattern *p, uint64_t seq)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->names[middle]->seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < p->count && atomic_load_explicit(&p->names[low]->gone, memory_order_relaxed))
        low++;
    return low < p->count ? p->names[low] : NULL;
}

static void drop_gone_names(struct pattern *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (atomic_load_explicit(&p->names[i]->gone, memory_order_relaxed))
            name_unref(p->names[i]);
        else
            p->names[kept++] = p->names[i];
    }
    p->count = kept;
}

// Names that are gone leave when there is no room for new ones; it grows only if most stay.
static void make_room(struct pattern *p, size_t more)
{
    if (p->count + more <= p->cap)
        return;
    drop_gone_names(p);
    size_t need = p->count + more;
    if (need <= p->cap / 2)
        return;
    while (p->cap < need * 2)
        p->cap = p->cap ? p->cap * 2 : 16;
    p->names = realloc(p->names, p->cap * sizeof(struct name *));
    CHECK(p->names != NULL);
}

// ---- letters ----------------------------------------------------------------------

void pattern_learn(struct finding *finding)
{
    struct pattern *p = finding->pattern;
    if (p->interests == 0) { // they have left, and the tail was told
        for (size_t i = 0; i < finding->count; i++)
            name_unref(finding->names[i]);
        free(finding);
        return;
    }
    make_room(p, finding->count);
    for (size_t i = 0; i < finding->count; i++) {
        CHECK(p->count == 0 || p->names[p->count - 1]->seq < finding->names[i]->seq);
        p->names[p->count++] = finding->names[i];
    }
    p->is_heard = true;
    list_take_all(&p->all->behind, &p->idle);
    free(finding);
}

void pattern_fail(struct watch_failure *failure)
{
    struct pattern *p = failure->pattern;
    if (p->interests > 0) {
        p->failure = failure->reason;
        table_remove(&p->all->by_text, &p->by_text); // who comes now has it tried again
        list_take_all(&p->all->behind, &p->idle);
    }
    free(failure);
}

void pattern_end(struct watch_end *end)
{
    free(end->pattern);
    free(end);
}
