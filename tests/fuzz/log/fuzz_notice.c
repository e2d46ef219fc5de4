// Whatever text an event or a stream's id is, each form of it says the same to a
// client, whose reader is another than ours (tests/model/decode.h). Input: a byte for
// the length of the stream's id, the id, the payload.
#include "base/json.h"
#include "base/utf8.h"

#include "../../model/decode.h"

#define ID ((struct eventid){ 1760000000000, 7 })

// jansson keeps numbers, and half a surrogate pair is no text to it.
static bool is_beyond_jansson(struct view payload)
{
    json_t *json = decode_json(payload);
    bool beyond = json_valid(payload) && json == NULL;
    json_decref(json);
    return beyond;
}

// One message, and nothing before its last byte.
static void decode_whole(enum form form, const struct buffer *bytes, struct message *m)
{
    size_t used;
    CHECK(decode_message(form, buffer_view(bytes), &used, m) == DECODED_MESSAGE);
    CHECK(used == bytes->len);
    size_t step = bytes->len / 16 + 1;
    struct message part = { 0 };
    for (size_t len = 0; len < bytes->len; len += step)
        CHECK(decode_message(form, (struct view){ bytes->at, len }, &used, &part) == DECODED_MORE);
    message_free(&part);
}

static void check_event(struct form_writer *w, enum form form, struct view stream,
                        struct view payload)
{
    struct buffer bytes = { 0 };
    struct message m = { 0 };
    form_event(w, form, stream, ID, payload, &bytes);
    decode_whole(form, &bytes, &m);
    bool envelope = form == FORM_ENVELOPE || form == FORM_ENVELOPE_DEFLATED;
    if (envelope && is_beyond_jansson(payload))
        CHECK(json_valid(buffer_view(&m.text)));
    else
        CHECK(message_is_event(&m, form, stream, ID, payload));
    if (form == FORM_RAW)
        CHECK(view_eq(form_raw_payload(buffer_view(&bytes)), payload));
    buffer_free(&bytes);
    message_free(&m);
}

static void check_gap(struct form_writer *w, enum form form, struct view stream, size_t size)
{
    const struct gap gap = { .reason = (enum gap_reason)(size % 5),
                             .after = { size % 3, size },
                             .before = { size, size % 3 },
                             .missed = size % 2 ? (int64_t)size : MISSED_UNKNOWN };
    struct buffer bytes = { 0 };
    struct message m = { 0 };
    form_gap(w, form, stream, &gap, &bytes);
    CHECK((bytes.len > 0) == form_tells(form));
    if (form_tells(form)) {
        decode_whole(form, &bytes, &m);
        CHECK(message_is_gap(&m, form, stream, &gap));
    }
    buffer_free(&bytes);
    message_free(&m);
}

static void check_closing(struct view stream, struct view reason)
{
    struct buffer text = { 0 };
    notice_closing(&text, 4008, reason, ID, 1);
    CHECK(json_valid(buffer_view(&text)));
    text.len = 0;
    notice_hello(&text, stream, ID, (struct eventid){ 0 }, 60, (struct view){ 0 });
    CHECK(json_valid(buffer_view(&text)));
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct form_writer writer;
    if (size == 0)
        return 0;
    char *at = must_alloc(size); // its own: a byte too far is then seen
    memcpy(at, data + 1, size - 1);
    size_t id_len = data[0] < size - 1 ? data[0] : size - 1;
    struct view stream = { at, id_len }, payload = { at + id_len, size - 1 - id_len };
    if (utf8_valid(stream) && utf8_valid(payload)) { // the tail takes nothing else
        for (enum form form = 0; form < FORM_COUNT; form++) {
            check_event(&writer, form, stream, payload);
            check_gap(&writer, form, stream, size);
        }
        check_closing(stream, payload);
    }
    free(at);
    return 0;
}
