#include "worker/reporting.h"

#include "base/clock.h"
#include "worker/closing.h"
#include "worker/date.h"
#include "worker/flush.h"

#define CHUNK_BYTES (16 * KIB) // of a report, about: pieces are small

static void look(struct clients *all, struct report *report)
{
    int64_t mono_ms = clock_mono_ms();
    int64_t redis_now_ms = pulse_redis_now_ms(all->pulse, mono_ms);
    bool readable = pulse_readable(all->pulse, mono_ms);
    const struct report_world world = {
        .rows = all->all_metrics,
        .config = all->config,
        .redis_readable = readable,
        .is_ready = readable && !all->draining && !atomic_load(&all->pulse->leaving),
        .redis_now_ms = redis_now_ms,
        .clock_difference_ms = redis_now_ms - clock_wall_ms(),
        .connections_max = all->max,
    };
    report_look(report, &world);
}

// ---- what the tail is asked ---------------------------------------------------------

static size_t count_waiting(const struct clients *all)
{
    size_t count = 0;
    LIST_EACH (node, &all->reports)
        count++;
    return count;
}

static void ask_tail(struct client *c, struct report *report)
{
    struct clients *all = c->all;
    struct listing_request *r = must_alloc(sizeof(*r) + report->match.len);
    report->ticket = ++all->tickets;
    report->owner = c;
    list_push(&all->reports, &report->waiting);
    *r = (struct listing_request){
        .letter.kind = LETTER_LIST,
        .from = all->streams->self,
        .ticket = report->ticket,
        .order = report->order,
        .limit = report->limit,
        .match_len = report->match.len,
    };
    if (report->match.len > 0)
        memcpy(r->match, report->match.at, report->match.len);
    mailbox_post(all->streams->tail, &r->letter);
    deadline_arm(&all->report_waits, &c->deadline, all->loop->now_ms);
}

struct client *reporting_listed(struct clients *all, struct listing *listing)
{
    LIST_EACH (node, &all->reports) {
        struct report *report = LIST_ITEM(node, struct report, waiting);
        if (report->ticket != listing->ticket)
            continue;
        struct client *c = report->owner;
        list_remove(&report->waiting);
        report->listing = listing;
        deadline_arm(&all->stalls, &c->deadline, all->loop->now_ms);
        reporting_continue(c);
        return c;
    }
    listing_free(listing); // who asked has gone, or would not wait longer
    return NULL;
}

// ---- sending ------------------------------------------------------------------------

static void add_head(struct extra *x)
{
    struct buffer headers = { 0 };
    buffer_add_view(&headers, date_line(clock_wall_ms()));
    buffer_add_view(&headers, VIEW("Cache-Control: no-store\r\n"));
    x->keep_alive = x->keep_alive && x->chunked;
    http_reply_head(outbox_write(&x->outbox), 200, report_content_type(x->report),
                    buffer_view(&headers), x->chunked, x->keep_alive);
    outbox_written(&x->outbox);
    x->report_begun = true;
    buffer_free(&headers);
}

static void add_chunk(struct client *c)
{
    struct extra *x = c->extra;
    struct buffer *text = &c->all->text;
    text->len = 0;
    while (text->len < CHUNK_BYTES && report_next(x->report, text))
        ;
    if (text->len > 0 && x->chunked)
        buffer_printf(outbox_write(&x->outbox), "%zx\r\n", text->len);
    buffer_add_view(outbox_write(&x->outbox), buffer_view(text));
    if (text->len > 0 && x->chunked)
        buffer_add_view(outbox_write(&x->outbox), VIEW("\r\n"));
    if (x->report->ended && x->chunked)
        buffer_add_view(outbox_write(&x->outbox), VIEW("0\r\n\r\n"));
    outbox_written(&x->outbox);
    client_recount(c, false);
}

static void finish(struct client *c)
{
    report_free(c->extra->report);
    c->extra->report = NULL;
    c->extra->report_begun = false;
    client_enter(c, c->extra->keep_alive ? CLIENT_HEAD : CLIENT_CLOSING, "report sent");
    client_flush(c);
}

void reporting_continue(struct client *c)
{
    struct extra *x = c->extra;
    if (x->report->kind == REPORT_STREAMS && x->report->listing == NULL)
        return; // the tail's answer is still to come
    if (!x->report_begun)
        add_head(x);
    while (!x->report->ended && x->outbox.bytes < OUTBOX_MAX)
        add_chunk(c);
    client_flush(c);
    if (c->state != CLIENT_REPORT)
        return;
    if (!x->report->ended)
        client_watch(c, true); // the next turn, or when its socket takes more
    else if (!client_has_outbox(c))
        finish(c);
}

bool reporting_start(struct client *c, struct report *report)
{
    struct clients *all = c->all;
    if (report->kind == REPORT_STREAMS && count_waiting(all) >= REPORTS_WAITING_MAX) {
        report_free(report);
        return false;
    }
    client_extra(c)->report = report;
    client_enter(c, CLIENT_REPORT, "report");
    if (report->kind == REPORT_STREAMS) {
        ask_tail(c, report);
        client_watch(c, false);
    } else {
        look(all, report);
        reporting_continue(c);
    }
    return true;
}

void reporting_wait_due(struct deadline *d)
{
    struct client *c = CONTAINER_OF(d, struct client, deadline);
    struct extra *x = c->extra;
    struct buffer headers = { 0 };
    buffer_add_view(&headers, date_line(clock_wall_ms()));
    buffer_add_view(&headers, VIEW("Retry-After: 1\r\n"));
    http_refuse(outbox_write(&x->outbox), 503, "unavailable",
                "the thread that follows Redis did not answer in time", buffer_view(&headers),
                false);
    outbox_written(&x->outbox);
    buffer_free(&headers);
    metrics_add(c->all->metrics, METRIC_REQUESTS_REFUSED + REFUSAL_unavailable, 1);
    report_free(x->report);
    x->report = NULL;
    close_reply(c, "no answer of the tail in time");
}
