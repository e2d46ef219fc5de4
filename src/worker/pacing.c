#include "worker/pacing.h"

#include "worker/seat.h"
#include "worker/serving.h"

// Who had an event since the last tick is passed over once: not more than one in that time.
static bool passes_over(struct pace *p, bool is_tick, bool is_fresh, uint64_t seq)
{
    if (!is_fresh)
        return false;
    p->fresh -= is_tick;
    pace_owe(p, seq);
    return true;
}

static void run_clients(struct pace *p, bool is_tick)
{
    struct list due;
    list_init(&due);
    list_take_all(&due, &p->idle);
    p->is_ticking = true;
    for (struct list *node; (node = list_pop(&due));) {
        struct client *c = client_of(node);
        if (passes_over(p, is_tick, c->sub.fresh, c->sub.cursor.seq)) {
            c->sub.fresh = !is_tick;
            list_push(&p->idle, node);
            continue;
        }
        c->sub.due = true;
        serving_flush(c);
    }
    p->is_ticking = false;
}

static void run_seats(struct pace *p, bool is_tick)
{
    LIST_EACH (node, &p->seats_idle) {
        struct seat *seat = LIST_ITEM(node, struct seat, node);
        if (passes_over(p, is_tick, seat->fresh, seat->seq)) {
            seat->fresh = !is_tick;
            continue;
        }
        seat->due = seat->ticked = true;
        seat_look(seat);
    }
}

// At a tick, or because news came in a pause: whoever waits gets the newest. Without any,
// a pause begins.
void pacing_run(struct clients *all, struct pace *p, bool is_tick)
{
    struct stream *s = p->stream;
    bool news = p->seen_seq < s->log.end_seq, owed = p->owes;
    p->has_sent = news;
    if (!news && !owed && p->fresh == 0)
        return;
    p->seen_seq = s->log.end_seq;
    p->owes = false;
    p->users++; // its last client may die of this
    if (news || owed)
        pace_arm(p);
    run_clients(p, is_tick);
    run_seats(p, is_tick);
    pace_leave(s, p->every_ms);
    serving_flush_hubs(all);
}

static void tell_pace(struct stream *s, struct pace *p)
{
    p->told_stale = stream_is_stale(s);
    LIST_EACH (node, &p->idle)
        serving_flush(client_of(node));
    LIST_EACH (node, &p->seats_idle)
        seat_look(LIST_ITEM(node, struct seat, node));
}

void pacing_flush(struct clients *all, struct stream *s)
{
    LIST_EACH (node, &s->paces) {
        struct pace *p = LIST_ITEM(node, struct pace, node);
        p->users++;
        if (p->told_stale != stream_is_stale(s))
            tell_pace(s, p);
        bool is_pause = !deadline_armed(&p->tick) || !p->has_sent;
        if (is_pause && p->seen_seq < s->log.end_seq)
            pacing_run(all, p, false);
        pace_leave(s, p->every_ms);
    }
}
