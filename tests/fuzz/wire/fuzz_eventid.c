// An id that is taken is printed as it was read; a start that is taken is one that
// a stream can be sought by. Input: from, and behind the first '&' after.
#include "wire/eventid.h"

#define NOW_MS INT64_C(1760000000500)

static void check_id(struct view text)
{
    struct eventid id;
    char out[EVENTID_MAX + 1];
    if (!eventid_parse(text, &id))
        return;
    size_t len = eventid_format(id, out);
    CHECK(out[len] == '\0');
    CHECK(view_eq((struct view){ out, len }, text));
}

static void check_start(struct view from, struct view after)
{
    const struct start untouched = { .kind = START_LAST, .at_ms = -7, .id = { 7, 7 } };
    struct start start = untouched;
    const char *wrong = start_parse(from, after, NOW_MS, &start);
    if (wrong) {
        CHECK(wrong[0] != '\0');
        CHECK(start.kind == untouched.kind && start.at_ms == untouched.at_ms);
        CHECK(eventid_cmp(start.id, untouched.id) == 0);
        return;
    }
    CHECK(!(from.len && after.len));
    CHECK(start.kind >= START_LIVE && start.kind <= START_AFTER);
    CHECK((start.kind == START_LIVE) == (from.len + after.len == 0));
    CHECK((start.kind == START_AFTER) == (after.len > 0));
    CHECK(start.at_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct view from = { (const char *)data, size }, after = { 0 };
    const char *amp = size ? memchr(data, '&', size) : NULL;
    if (amp) {
        from.len = (size_t)(amp - from.at);
        after = (struct view){ amp + 1, size - from.len - 1 };
    }
    check_id(from);
    check_id(after);
    check_start(from, after);
    return 0;
}
