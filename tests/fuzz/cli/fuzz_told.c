// Whatever a broker sends, a line of it is one line that commands no terminal; and a URL that
// is taken makes a request of printable characters. Input: a message, or a URL.
#include "cli/target.h"
#include "cli/told.h"

static void check_line(const struct told *t, bool coloured)
{
    struct buffer line = { 0 };
    if (t->kind == TOLD_EVENT)
        told_write_event(t, INT64_C(1764031038123), coloured, &line);
    else
        told_write_gap(t, INT64_C(1764031038123), coloured, &line);
    CHECK(line.len > 1 && line.at[line.len - 1] == '\n');
    for (size_t i = 0; i < line.len - 1; i++)
        CHECK((uint8_t)line.at[i] >= ' ' || (coloured && line.at[i] == '\033'));
    buffer_free(&line);
}

static void check_url(const char *text)
{
    struct target t;
    struct buffer request = { 0 };
    const struct target_start start = { .after = "1-0" };
    if (!target_of_url(text, &t)) {
        target_request(&t, &start, &request);
        for (size_t i = 0; i < request.len; i++)
            CHECK(request.at[i] > ' ' && request.at[i] <= '~');
        for (const char *p = t.host_header; *p; p++)
            CHECK(*p > ' ' && *p <= '~');
        CHECK(t.port > 0 && t.port < 65536 && t.name.len > 0);
    }
    buffer_free(&request);
    target_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *at = must_alloc(size + 1);
    memcpy(at, data, size);
    at[size] = '\0';
    struct told t;
    if (told_read((struct view){ at, size }, &t)) {
        check_line(&t, false);
        if (t.kind == TOLD_EVENT)
            check_line(&t, true);
    }
    check_url(at);
    free(at);
    return 0;
}
