#include "worker/hub.h"

struct hub *hub_new(struct client *client, enum form form)
{
    struct hub *h = must_alloc(sizeof(*h));
    *h = (struct hub){ .client = client, .form = form, .look_at_s = INT64_MAX };
    list_init(&h->in_crowd);
    list_init(&h->ready);
    list_init(&h->endings);
    list_init(&h->stalled);
    deadline_init(&h->empty);
    return h;
}

void hub_free(struct hub *h)
{
    for (size_t i = 0; i < h->slot_count; i++)
        while (h->slots[i])
            hub_leave(h->slots[i]);
    for (size_t n = 0; h->interests && n < HUB_PATTERNS_MAX; n++)
        if (h->interests[n])
            hub_drop_interest(h->interests[n]);
    free(h->interests);
    for (struct list *node; (node = list_pop(&h->endings));)
        free(LIST_ITEM(node, struct ending, node));
    list_remove(&h->in_crowd);
    deadline_cancel(&h->empty);
    command_done(&h->command);
    for (size_t i = 0; i < ARRAY_LEN(h->defaults); i++)
        buffer_free(&h->defaults[i]);
    free(h->slots);
    free(h);
}

// ---- seats by stream ------------------------------------------------------------
// Open addressing with linear probing; what is removed is closed up (Knuth 6.4, R).

static size_t slot_of(const struct hub *h, const struct stream *s)
{
    return (size_t)(((uintptr_t)s >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (h->slot_count - 1);
}

static void put(struct hub *h, struct seat *seat)
{
    size_t i = slot_of(h, seat->stream);
    while (h->slots[i])
        i = (i + 1) & (h->slot_count - 1);
    h->slots[i] = seat;
}

// At most four fifths are in use.
static void make_room(struct hub *h)
{
    if (h->slot_count > 0 && (h->count + 1) * 5 <= h->slot_count * 4)
        return;
    struct seat **old = h->slots;
    size_t old_count = h->slot_count;
    h->slot_count = old_count ? old_count * 2 : 4;
    h->slots = calloc(h->slot_count, sizeof(struct seat *));
    CHECK(h->slots != NULL);
    for (size_t i = 0; i < old_count; i++)
        if (old[i])
            put(h, old[i]);
    free(old);
}

static size_t find_slot(const struct hub *h, const struct stream *s)
{
    size_t i = slot_of(h, s);
    while (h->slots[i] && h->slots[i]->stream != s)
        i = (i + 1) & (h->slot_count - 1);
    return i;
}

struct seat *hub_find(const struct hub *h, const struct stream *s)
{
    return h->count ? h->slots[find_slot(h, s)] : NULL;
}

static void take_out(struct hub *h, const struct seat *seat)
{
    size_t hole = find_slot(h, seat->stream), mask = h->slot_count - 1;
    CHECK(h->slots[hole] == seat);
    for (size_t i = (hole + 1) & mask; h->slots[i]; i = (i + 1) & mask) {
        size_t home = slot_of(h, h->slots[i]->stream);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            h->slots[hole] = h->slots[i];
            hole = i;
        }
    }
    h->slots[hole] = NULL;
    h->count--;
}

// ---- a seat's life --------------------------------------------------------------

struct seat *hub_sit(struct hub *h, struct stream *s)
{
    make_room(h);
    struct seat *seat = must_alloc(sizeof(*seat));
    *seat = (struct seat){ .stream = s, .hub = h };
    list_init(&seat->in_ready);
    list_init(&seat->node);
    list_push(&s->seats_waiting, &seat->node);
    stream_join(s);
    stream_count_listener(s, 1);
    put(h, seat);
    h->count++;
    return seat;
}

struct seat_more *seat_need_more(struct seat *seat)
{
    if (seat->more == NULL) {
        seat->more = must_alloc(sizeof(*seat->more));
        *seat->more = (struct seat_more){ .of = seat };
        deadline_init(&seat->more->join);
    }
    return seat->more;
}

static void drop_more(struct seat *seat)
{
    deadline_cancel(&seat->more->join);
    free(seat->more);
    seat->more = NULL;
}

void seat_drop_more_if_idle(struct seat *seat)
{
    const struct seat_more *more = seat->more;
    if (more && seat->begun && !more->says_hello && !more->has_first_gap && !more->replaying &&
        !more->has_slow_gap && !more->to_latest && !more->says_expiring)
        drop_more(seat);
}

void hub_leave(struct seat *seat)
{
    struct hub *h = seat->hub;
    CHECK(h->current != seat || h->skip == 0);
    if (h->current == seat)
        h->current = NULL;
    if (seat->more)
        drop_more(seat);
    if (!list_empty(&seat->in_ready))
        h->ready_count--;
    list_remove(&seat->in_ready);
    list_remove(&seat->node);
    take_out(h, seat);
    if (seat->every_ms > 0) {
        pace_find(seat->stream, seat->every_ms)->fresh -= seat->fresh;
        pace_leave(seat->stream, seat->every_ms);
    }
    if (seat->by_pattern)
        h->interests[seat->interest_number - 1]->seats--;
    stream_count_listener(seat->stream, -1);
    stream_leave(seat->stream);
    free(seat);
}

static void push_ending(struct hub *h, struct view name, int code, struct view reason,
                        struct eventid last, struct view ref)
{
    struct ending *e = must_alloc(sizeof(*e) + name.len);
    *e = (struct ending){ .code = code,
                          .last = last,
                          .has_ref = ref.at != NULL,
                          .ref_len = (uint8_t)ref.len,
                          .name_len = name.len };
    e->reason_len = (uint8_t)(reason.len < sizeof(e->reason) ? reason.len : sizeof(e->reason));
    memcpy(e->reason, reason.at, e->reason_len);
    if (ref.len)
        memcpy(e->ref, ref.at, ref.len);
    memcpy(e->name, name.at, name.len);
    list_push(&h->endings, &e->node);
}

void hub_end(struct seat *seat, int code, struct view reason, struct eventid last, struct view ref)
{
    push_ending(seat->hub, stream_id(seat->stream), code, reason, last, ref);
    hub_leave(seat);
}

void seat_mark_ready(struct seat *seat)
{
    if (seat->begun)
        list_move(&seat->stream->seats_ready, &seat->node);
    if (!list_empty(&seat->in_ready))
        return;
    list_push(&seat->hub->ready, &seat->in_ready);
    seat->hub->ready_count++;
}

void seat_mark_done(struct seat *seat)
{
    struct stream *s = seat->stream;
    if (seat->begun)
        list_move(seat->every_ms ? &pace_find(s, seat->every_ms)->seats_idle : &s->seats_idle,
                  &seat->node);
    if (seat->begun && seat->every_ms)
        pace_owe(pace_find(s, seat->every_ms), seat->seq);
    if (list_empty(&seat->in_ready))
        return;
    list_remove(&seat->in_ready);
    seat->hub->ready_count--;
}

// ---- patterns -------------------------------------------------------------------

struct interest *hub_find_interest(const struct hub *h, struct view pattern)
{
    for (size_t n = 0; h->interests && n < HUB_PATTERNS_MAX; n++)
        if (h->interests[n] && view_eq(pattern_text(h->interests[n]->pattern), pattern))
            return h->interests[n];
    return NULL;
}

struct interest *hub_add_interest(struct hub *h, struct pattern *p)
{
    CHECK(h->interest_count < HUB_PATTERNS_MAX);
    if (h->interests == NULL) {
        h->interests = calloc(HUB_PATTERNS_MAX, sizeof(struct interest *));
        CHECK(h->interests != NULL);
    }
    size_t n = 0;
    while (h->interests[n])
        n++;
    h->interests[n] = interest_new(p, h, (uint8_t)(n + 1));
    h->interest_count++;
    return h->interests[n];
}

void hub_drop_interest(struct interest *i)
{
    struct hub *h = i->hub;
    CHECK(i->seats == 0);
    h->interests[i->number - 1] = NULL;
    h->interest_count--;
    if (h->awaited == i)
        h->awaited = NULL;
    interest_free(i);
}

void hub_end_interest(struct interest *i)
{
    struct view ref = { i->has_end_ref ? i->end_ref : NULL, i->end_ref_len };
    push_ending(i->hub, pattern_text(i->pattern), i->end_code, view_of(i->end_reason),
                (struct eventid){ 0 }, ref);
    LIST_ITEM(i->hub->endings.prev, struct ending, node)->is_pattern = true;
    hub_drop_interest(i);
}

size_t hub_kept_bytes(const struct hub *h)
{
    size_t bytes = 0;
    for (size_t n = 0; h->interests && n < HUB_PATTERNS_MAX; n++)
        bytes += h->interests[n] ? h->interests[n]->bookmark_bytes : 0;
    return bytes;
}
