#include "worker/history.h"

#include "base/json.h"
#include "log/form.h"

void history_write(struct buffer *out, const struct log *raw, struct view stream, uint64_t seq,
                   uint64_t limit, size_t max_bytes, bool whole)
{
    struct eventid last = { 0 };
    uint64_t count = 0;
    size_t begun = out->len;
    buffer_add_view(out, VIEW("{\"stream\":"));
    json_add_string(out, stream);
    buffer_add_view(out, VIEW(",\"events\":["));
    for (; seq < raw->end_seq && count < limit && out->len - begun < max_bytes; seq++) {
        const struct item *item = log_item(raw, seq);
        if (item->kind != ITEM_EVENT) {
            whole = false; // a gap
            continue;
        }
        buffer_add_view(out, count++ ? VIEW(",{\"id\":") : VIEW("{\"id\":"));
        notice_add_id(out, item->id);
        buffer_add_view(out, VIEW(",\"data\":"));
        notice_add_data(out, form_raw_payload(log_bytes(raw, seq)));
        buffer_add_view(out, VIEW("}"));
        last = item->id;
    }
    buffer_add_view(out, VIEW("],\"last\":"));
    notice_add_id(out, last);
    buffer_printf(out, ",\"complete\":%s}", whole && seq == raw->end_seq ? "true" : "false");
}
