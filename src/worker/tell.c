#include "worker/tell.h"

#include "base/clock.h"
#include "worker/seek.h"

static struct buffer *empty_text(struct client *c)
{
    c->all->text.len = 0;
    return &c->all->text;
}

static void add_notice(struct client *c, const char *name, const struct buffer *json)
{
    struct outbox *out = &client_extra(c)->outbox;
    form_notice(c->sub.stream->form, name, buffer_view(json), outbox_write(out));
    outbox_written(out);
}

void tell_hello(struct client *c, int64_t window_ms)
{
    const struct stream *s = c->sub.stream;
    struct buffer *text = empty_text(c);
    struct eventid first = seek_event_id(&s->log, log_seek_time(&s->log, window_ms));
    notice_hello(text, stream_id(s), first, s->last, c->all->config->ring_seconds);
    add_notice(c, "hello", text);
    c->extra->greeted = true;
}

void tell_gap(struct client *c, const struct gap *gap)
{
    struct buffer *text = empty_text(c);
    notice_gap(text, stream_id(c->sub.stream), gap);
    add_notice(c, "gap", text);
}

bool tell_source_is_due(const struct client *c)
{
    return client_tells(c) && c->sub.told_stale != stream_is_stale(c->sub.stream) &&
           (!c->sub.told_stale || (client_has_log(c) && client_has_caught_up(c)));
}

void tell_source(struct client *c)
{
    struct buffer *text = empty_text(c);
    const struct clients *all = c->all;
    int64_t heard_ms = atomic_load(&all->pulse->heard_ms), now_ms = all->loop->now_ms;
    c->sub.told_stale = stream_is_stale(c->sub.stream);
    if (c->sub.told_stale)
        notice_source_stale(text, heard_ms > 0 && heard_ms < now_ms ? now_ms - heard_ms : 0);
    else
        notice_source_ok(text);
    add_notice(c, "source", text);
}

bool tell_live_is_due(const struct client *c) // the replay is over, and it has not been said
{
    const struct extra *x = c->extra;
    return x && x->replaying && client_has_log(c) && c->sub.cursor.seq >= x->live_seq &&
           c->sub.cursor.skip == 0;
}

void tell_live(struct client *c)
{
    const struct stream *s = c->sub.stream;
    struct buffer *text = empty_text(c);
    struct eventid last = seek_event_id_before(&s->log, c->sub.cursor.seq);
    if (eventid_is_none(last)) // s->last may be that of an event behind the cursor by now
        last = c->extra->live_id;
    notice_live(text, stream_id(s), last);
    if (client_is_sse(c)) { // who reconnects before the first event resumes from here
        char id[EVENTID_MAX + 1];
        eventid_format(last, id);
        buffer_printf(outbox_write(&c->extra->outbox), "id: %s\n", id);
    }
    add_notice(c, "live", text);
    c->extra->replaying = false;
}

void tell_expiring(struct client *c)
{
    struct buffer *text = empty_text(c);
    notice_expiring(text, c->expiry_s - clock_wall_ms() / MS_PER_S);
    add_notice(c, "expiring", text);
    c->extra->says_expiring = false;
}

struct eventid tell_last_id(const struct client *c)
{
    const struct stream *s = c->sub.stream;
    if (c->sub.waiting)
        return (struct eventid){ 0 };
    struct eventid last = seek_event_id_before(&s->log, c->sub.cursor.seq);
    return eventid_is_none(last) ? s->floor.id : last;
}

void tell_closing(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    struct buffer *text = empty_text(c);
    notice_closing(text, code, reason, tell_last_id(c), reconnect_ms);
    add_notice(c, "closing", text);
}
