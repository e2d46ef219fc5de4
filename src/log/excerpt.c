#include "log/excerpt.h"

#include "base/json.h"
#include "log/form.h"

struct excerpt excerpt_of(uint64_t seq, uint64_t limit, bool whole)
{
    return (struct excerpt){ .seq = seq, .limit = limit, .whole = whole };
}

static void open_object(struct excerpt *e, struct view stream, struct buffer *out)
{
    if (!e->begun) {
        buffer_add_view(out, VIEW("{\"stream\":"));
        json_add_string(out, stream);
        buffer_add_view(out, VIEW(",\"events\":["));
    }
    e->begun = true;
    if (e->in_event)
        buffer_add_view(out, VIEW("}"));
    e->in_event = false;
}

static void close_object(const struct excerpt *e, const struct log *raw, struct buffer *out)
{
    buffer_add_view(out, VIEW("],\"last\":"));
    notice_add_id(out, e->last);
    buffer_printf(out, ",\"complete\":%s}\n",
                  e->whole && e->seq == raw->end_seq ? "true" : "false");
}

// Where an event's data lies, if it is large and can go out as it is.
static bool find_large(const struct log *raw, uint64_t seq, struct log_part *part)
{
    struct log_part item = log_rest(raw, (struct cursor){ .seq = seq });
    struct view payload = form_raw_payload((struct view){ item.segment->data + item.at, item.len });
    if (payload.len < EXCERPT_PIECE || !json_valid(payload))
        return false;
    *part = (struct log_part){ item.segment, item.at + (uint32_t)(item.len - payload.len),
                               payload.len };
    return true;
}

bool excerpt_next(struct excerpt *e, const struct log *raw, struct view stream, struct buffer *out,
                  struct log_part *part)
{
    size_t begun = out->len;
    *part = (struct log_part){ 0 };
    open_object(e, stream, out);
    while (e->seq < raw->end_seq && e->count < e->limit && e->bytes < EXCERPT_MAX) {
        if (out->len - begun >= EXCERPT_PIECE)
            return true;
        uint64_t seq = e->seq++;
        const struct item *item = log_item(raw, seq);
        if (item->kind != ITEM_EVENT) {
            e->whole = false; // a gap
            continue;
        }
        buffer_add_view(out, e->count++ ? VIEW(",{\"id\":") : VIEW("{\"id\":"));
        notice_add_id(out, item->id);
        buffer_add_view(out, VIEW(",\"data\":"));
        e->last = item->id;
        e->bytes += log_bytes(raw, seq).len;
        if (find_large(raw, seq, part)) {
            e->in_event = true;
            return true;
        }
        notice_add_data(out, form_raw_payload(log_bytes(raw, seq)));
        buffer_add_view(out, VIEW("}"));
    }
    close_object(e, raw, out);
    return false;
}

void excerpt_skip_to(struct excerpt *e, uint64_t first_seq)
{
    if (e->seq >= first_seq)
        return;
    e->seq = first_seq;
    e->whole = false;
}
