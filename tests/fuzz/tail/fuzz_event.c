// Whatever an entry's fields are, the reader ends behind them, and what is taken
// for an event is UTF-8 and no larger than allowed. Input: a byte for the largest
// size, the replies.
#include "base/json.h"
#include "base/utf8.h"
#include "tail/event.h"

static bool lies_within(struct view v, struct view bytes)
{
    return v.len == 0 || (v.at >= bytes.at && v.at + v.len <= bytes.at + bytes.len);
}

static void check_event(struct resp_reader r, const struct resp_node *fields, struct view name,
                        size_t max, struct view reply, struct buffer *scratch)
{
    struct resp_reader behind = r;
    struct view payload = { 0 };
    enum event_verdict verdict = event_read(&r, fields->count, name, max, scratch, &payload);
    resp_skip(&behind, fields);
    CHECK(r.at == behind.at);

    bool is_object = !lies_within(payload, reply);
    CHECK(!is_object || lies_within(payload, buffer_view(scratch)));
    if (verdict == EVENT_OK) {
        CHECK(payload.len <= max && utf8_valid(payload));
        CHECK(!is_object || json_valid(payload));
    } else if (!is_object && payload.len) {
        CHECK((verdict == EVENT_TOO_BIG) == (payload.len > max));
        CHECK(verdict == EVENT_TOO_BIG || !utf8_valid(payload));
    }
}

// Each aggregate of the reply, as if it were an entry's fields.
static void check_reply(struct view reply, size_t max, struct buffer *scratch)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node;
    while (resp_next(&r, &node)) {
        if (node.type != RESP_ARRAY && node.type != RESP_MAP)
            continue;
        check_event(r, &node, VIEW("data"), max, reply, scratch);
        check_event(r, &node, VIEW(""), max, reply, scratch);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct view rest = { (const char *)data + 1, size - 1 };
    struct buffer scratch = { 0 };
    struct resp_scan scan = { 0 };
    for (size_t used; resp_scan(&scan, rest, &used) == RESP_DONE; scan = (struct resp_scan){ 0 }) {
        check_reply((struct view){ rest.at, used }, data[0], &scratch);
        rest.at += used, rest.len -= used;
    }
    buffer_free(&scratch);
    return 0;
}
