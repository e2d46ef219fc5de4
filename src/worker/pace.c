#include "worker/pace.h"

#include <inttypes.h>

#include "wire/ws.h"
#include "worker/seek.h"

#define COPY_MAX (4 * KIB) // a larger item goes out where it lies

// ---- durations ------------------------------------------------------------------

static uint64_t round_up(uint64_t ms) // to two digits
{
    uint64_t step = 1;
    while (ms / step >= 100)
        step *= 10;
    return (ms + step - 1) / step * step;
}

bool every_parse(struct view text, uint32_t *every_ms)
{
    static const struct {
        struct view unit;
        uint64_t ms;
    } units[] = {
        { { "ms", 2 }, 1 }, { { "s", 1 }, 1000 }, { { "m", 1 }, 60000 }, { { "h", 1 }, 3600000 }
    };
    size_t digits = 0;
    uint64_t number;
    while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
        digits++;
    struct view unit = { text.at + digits, text.len - digits };
    if (digits > 7 || !view_u64((struct view){ text.at, digits }, &number))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t ms = number * units[i].ms;
        if (!view_eq(unit, units[i].unit) || ms < EVERY_MIN_MS || ms > EVERY_MAX_MS)
            continue;
        ms = round_up(ms);
        *every_ms = (uint32_t)(ms < EVERY_MAX_MS ? ms : EVERY_MAX_MS);
        return true;
    }
    return false;
}

// ---- who keeps which pace -------------------------------------------------------

struct tick_queue {
    struct list node;
    struct deadline_queue queue;
};

void paces_init(struct paces *all, struct loop *loop, void (*due)(struct deadline *))
{
    *all = (struct paces){ .loop = loop, .due = due };
    list_init(&all->queues);
}

void paces_done(struct paces *all)
{
    for (struct list *node; (node = list_pop(&all->queues));) {
        struct tick_queue *q = LIST_ITEM(node, struct tick_queue, node);
        list_remove(&q->queue.of_loop);
        free(q);
    }
    form_writer_done(&all->writer);
    inflater_free(all->inflater);
}

static struct deadline_queue *queue_of(struct paces *all, uint32_t every_ms)
{
    LIST_EACH (node, &all->queues) {
        struct tick_queue *q = LIST_ITEM(node, struct tick_queue, node);
        if (q->queue.after_ms == every_ms)
            return &q->queue;
    }
    struct tick_queue *q = must_alloc(sizeof(*q));
    deadline_queue_init(&q->queue, every_ms, all->due);
    loop_add_queue(all->loop, &q->queue);
    list_push(&all->queues, &q->node);
    return &q->queue;
}

void pace_arm(struct pace *p)
{
    deadline_arm(queue_of(p->all, p->every_ms), &p->tick, p->all->loop->now_ms);
}

void pace_owe(struct pace *p, uint64_t seq)
{
    if (seq >= p->stream->log.end_seq)
        return;
    p->owes = true;
    if (!deadline_armed(&p->tick))
        pace_arm(p);
}

void pace_note_fresh(struct pace *p)
{
    p->fresh++;
    if (!deadline_armed(&p->tick))
        pace_arm(p);
}

struct pace *pace_find(const struct stream *s, uint32_t every_ms)
{
    LIST_EACH (node, &s->paces) {
        struct pace *p = LIST_ITEM(node, struct pace, node);
        if (p->every_ms == every_ms)
            return p;
    }
    return NULL;
}

struct pace *pace_join(struct paces *all, struct stream *s, uint32_t every_ms)
{
    struct pace *p = pace_find(s, every_ms);
    if (p == NULL) {
        p = must_alloc(sizeof(*p));
        *p = (struct pace){ .all = all, .stream = s, .every_ms = every_ms };
        p->seen_seq = s->log.end_seq;
        list_init(&p->idle);
        list_init(&p->seats_idle);
        deadline_init(&p->tick);
        list_init(&p->node);
        list_push(&s->paces, &p->node);
    }
    p->users++;
    return p;
}

void pace_leave(struct stream *s, uint32_t every_ms)
{
    struct pace *p = pace_find(s, every_ms);
    CHECK(p != NULL && p->users > 0);
    if (--p->users > 0)
        return;
    CHECK(list_empty(&p->idle) && list_empty(&p->seats_idle));
    deadline_cancel(&p->tick);
    list_remove(&p->node);
    buffer_free(&p->selection);
    free(p);
}

// ---- the newest event -----------------------------------------------------------

// The text of an envelope's frame, which may be deflated.
static struct view text_of(struct paces *all, struct view frame, struct buffer *plain)
{
    struct view payload = form_raw_payload(frame);
    if (!ws_is_deflated(frame))
        return payload;
    if (all->inflater == NULL)
        all->inflater = inflater_new();
    CHECK(inflater_run(all->inflater, payload, SEGMENT_BYTES_MAX, plain) == INFLATE_OK);
    return buffer_view(plain);
}

// {"type":"event","stream":S,"id":ID,"skipped":N,"data":…}: what the frame says, and how
// many others it stands for.
static void make_selection(struct paces *all, struct pace *p, uint64_t seq, int64_t skipped)
{
    const struct stream *s = p->stream;
    struct buffer plain = { 0 }, text = { 0 }, head = { 0 };
    struct view frame = text_of(all, log_bytes(&s->log, seq), &plain);
    notice_event_head(&head, stream_id(s), log_item(&s->log, seq)->id);
    CHECK(view_starts(frame, buffer_view(&head)));
    buffer_add_view(&text, buffer_view(&head));
    buffer_printf(&text, ",\"skipped\":%" PRId64, skipped);
    buffer_add(&text, frame.at + head.len, frame.len - head.len);
    p->selection.len = 0;
    form_text(&all->writer, s->form, buffer_view(&text), &p->selection);
    p->selected_seq = seq;
    p->skipped = skipped;
    buffer_free(&plain);
    buffer_free(&text);
    buffer_free(&head);
}

static void add_item(const struct log *l, uint64_t seq, struct outbox *out, struct budget *budget)
{
    struct log_part item = log_rest(l, (struct cursor){ .seq = seq });
    if (item.len > COPY_MAX)
        outbox_add_part(out, budget, item.segment, item.at, item.len);
    else
        outbox_add(out, (struct view){ item.segment->data + item.at, item.len });
}

static void add_gaps(const struct log *l, uint64_t from, uint64_t to, struct outbox *out,
                     struct budget *budget)
{
    if (!log_has_gaps(l, from, to))
        return;
    for (uint64_t seq = from; seq < to; seq++)
        if (log_item(l, seq)->kind == ITEM_GAP)
            add_item(l, seq, out, budget);
}

static void add_event(struct pace *p, uint64_t seq, int64_t skipped, struct outbox *out,
                      struct budget *budget)
{
    const struct stream *s = p->stream;
    bool says_so = s->form == FORM_ENVELOPE || s->form == FORM_ENVELOPE_DEFLATED;
    if (!says_so || skipped == 0) {
        add_item(&s->log, seq, out, budget);
        return;
    }
    if (p->selection.len == 0 || p->selected_seq != seq || p->skipped != skipped)
        make_selection(p->all, p, seq, skipped);
    outbox_add(out, buffer_view(&p->selection));
}

unsigned pace_choose(struct pace *p, uint64_t *seq, uint64_t until, struct outbox *out,
                     struct budget *budget)
{
    const struct log *l = &p->stream->log;
    uint64_t first = *seq > l->first_seq ? *seq : l->first_seq, newest = until, begin = *seq;
    *seq = until;
    while (newest > first && log_item(l, newest - 1)->kind != ITEM_EVENT)
        newest--;
    if (newest <= first) { // nothing but gaps
        add_gaps(l, first, until > first ? until : first, out, budget);
        return 0;
    }
    newest--;
    int64_t gaps = (int64_t)(newest - first) - log_count_events(l, first, newest);
    add_gaps(l, first, newest, out, budget);
    add_event(p, newest, (int64_t)(newest - begin) - gaps, out, budget);
    add_gaps(l, newest + 1, until, out, budget);
    return 1;
}
