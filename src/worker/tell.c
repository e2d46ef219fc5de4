#include "worker/tell.h"

#include "base/clock.h"
#include "worker/seek.h"

struct buffer *tell_empty_text(struct client *c)
{
    c->all->text.len = 0;
    return &c->all->text;
}

void tell_text(struct client *c, enum form form, const char *name, const struct buffer *json)
{
    struct outbox *out = &client_extra(c)->outbox;
    form_notice(form, name, buffer_view(json), outbox_write(out));
    outbox_written(out);
}

void tell_hello(struct client *c, const struct stream *s, int64_t window_ms, struct view ref)
{
    struct buffer *text = tell_empty_text(c);
    struct eventid first = seek_event_id(&s->log, log_seek_time(&s->log, window_ms));
    notice_hello(text, stream_id(s), first, s->last, c->all->config->ring_seconds, ref);
    tell_text(c, s->form, "hello", text);
}

void tell_gap(struct client *c, const struct stream *s, const struct gap *gap)
{
    struct buffer *text = tell_empty_text(c);
    notice_gap(text, stream_id(s), gap);
    tell_text(c, s->form, "gap", text);
}

static struct view name_if(bool names, const struct stream *s)
{
    return names ? stream_id(s) : (struct view){ 0 };
}

void tell_source(struct client *c, const struct stream *s, bool names)
{
    struct buffer *text = tell_empty_text(c);
    int64_t heard_ms = atomic_load(&c->all->pulse->heard_ms), now_ms = c->all->loop->now_ms;
    int64_t for_ms = heard_ms > 0 && heard_ms < now_ms ? now_ms - heard_ms : 0;
    if (stream_is_stale(s))
        notice_source_stale(text, name_if(names, s), for_ms);
    else
        notice_source_ok(text, name_if(names, s));
    tell_text(c, s->form, "source", text);
}

void tell_live(struct client *c, const struct stream *s, uint64_t seq, struct eventid known)
{
    struct buffer *text = tell_empty_text(c);
    struct eventid last = seek_event_id_before(&s->log, seq);
    if (eventid_is_none(last)) // s->last may be that of an event after the cursor by now
        last = known;
    notice_live(text, stream_id(s), last);
    if (s->form == FORM_SSE) { // who reconnects before the first event resumes from here
        char id[EVENTID_MAX + 1];
        eventid_format(last, id);
        buffer_printf(outbox_write(&c->extra->outbox), "id: %s\n", id);
    }
    tell_text(c, s->form, "live", text);
}

void tell_expiring(struct client *c, const struct stream *s, bool names, int64_t expiry_s)
{
    struct buffer *text = tell_empty_text(c);
    notice_expiring(text, name_if(names, s), expiry_s - clock_wall_ms() / MS_PER_S);
    tell_text(c, s->form, "expiring", text);
}

void tell_closing(struct client *c, int code, struct view reason, int64_t reconnect_ms)
{
    struct buffer *text = tell_empty_text(c);
    notice_closing(text, code, reason, tell_last_id(c), reconnect_ms);
    tell_text(c, c->sub.stream->form, "closing", text);
}

bool tell_source_is_due(const struct client *c)
{
    return client_tells(c) && c->sub.told_stale != stream_is_stale(c->sub.stream) &&
           (!c->sub.told_stale || (client_has_log(c) && client_has_caught_up(c)));
}

bool tell_live_is_due(const struct client *c) // the replay is over, and it has not been said
{
    const struct extra *x = c->extra;
    return x && x->replaying && client_has_log(c) && c->sub.cursor.seq >= x->live_seq &&
           c->sub.cursor.skip == 0;
}

struct eventid tell_id_before(const struct stream *s, uint64_t seq)
{
    struct eventid last = seek_event_id_before(&s->log, seq);
    return eventid_is_none(last) ? s->floor.id : last;
}

struct eventid tell_last_id(const struct client *c)
{
    return c->sub.waiting ? (struct eventid){ 0 }
                          : tell_id_before(c->sub.stream, c->sub.cursor.seq);
}
