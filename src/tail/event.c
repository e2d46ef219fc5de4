#include "tail/event.h"

#include "base/json.h"
#include "base/utf8.h"

const char *event_verdict_name(enum event_verdict verdict)
{
#define EVENT_NAME(name, text) text,
    static const char *const names[] = { "ok", SKIP_REASONS(EVENT_NAME) };
    return names[verdict];
}

// Fields are pairs of texts. A name may come twice: the last one counts, as it
// does for clients that read entries into a dictionary.
static bool find_field(struct resp_reader r, size_t count, struct view name, struct view *value)
{
    struct resp_node field, content;
    bool found = false;
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (!resp_next(&r, &field) || !resp_next(&r, &content))
            break;
        if (view_eq(field.text, name)) {
            *value = content.text;
            found = true;
        }
    }
    return found;
}

static enum event_verdict judge(struct view text, size_t max_bytes)
{
    if (text.len > max_bytes)
        return EVENT_TOO_BIG;
    return utf8_valid(text) ? EVENT_OK : EVENT_NOT_UTF8;
}

static enum event_verdict write_object(struct resp_reader r, size_t count, size_t max_bytes,
                                       struct buffer *out)
{
    struct resp_node field, content;
    buffer_add_view(out, VIEW("{"));
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (!resp_next(&r, &field) || !resp_next(&r, &content))
            break;
        if (!utf8_valid(field.text) || !utf8_valid(content.text))
            return EVENT_NOT_UTF8;
        if (out->len + field.text.len + content.text.len > max_bytes)
            return EVENT_TOO_BIG;
        if (i > 0)
            buffer_add_view(out, VIEW(","));
        json_add_string(out, field.text);
        buffer_add_view(out, VIEW(":"));
        json_add_string(out, content.text);
    }
    buffer_add_view(out, VIEW("}"));
    return out->len > max_bytes ? EVENT_TOO_BIG : EVENT_OK;
}

enum event_verdict event_read(struct resp_reader *r, size_t count, struct view data_field,
                              size_t max_bytes, struct buffer *scratch, struct view *payload)
{
    struct resp_reader fields = *r;
    struct resp_node node;
    for (size_t i = 0; i < count && resp_next(r, &node); i++)
        resp_skip(r, &node);

    if (find_field(fields, count, data_field, payload))
        return judge(*payload, max_bytes);
    scratch->len = 0;
    enum event_verdict verdict = write_object(fields, count, max_bytes, scratch);
    *payload = buffer_view(scratch);
    return verdict;
}
