#include "worker/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/ws.h"

// ---- how the tests speak ----------------------------------------------------

static struct loop loop;
static struct paces paces;
static struct stream *s;
static struct form_writer writer;
static struct budget budget;
static struct outbox out;
static struct pace *p;
static int ticks;

static void due(struct deadline *d)
{
    (void)d;
    ticks++;
}

static void begin(enum form form)
{
    s = calloc(1, sizeof(*s) + 3);
    s->form = form;
    s->id_len = 1;
    memcpy(s->key, "\1s", 2);
    list_init(&s->paces);
    log_init(&s->log);
    p = pace_join(&paces, s, 1000);
}

static int set_up(void **state)
{
    (void)state;
    list_init(&loop.queues);
    paces_init(&paces, &loop, due);
    budget_init(&budget, 1 << 20);
    ticks = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    outbox_done(&out, &budget);
    if (s) {
        pace_leave(s, 1000);
        log_done(&s->log);
        free(s);
    }
    s = NULL;
    paces_done(&paces);
    form_writer_done(&writer);
    budget_done(&budget);
    return segment_bytes_in_use() != 0;
}

static void append(uint64_t id_ms, enum item_kind kind, const char *payload)
{
    struct segment *made;
    struct buffer bytes = { 0 };
    struct item item = { .id = { id_ms, 0 }, .time_ms = (int64_t)id_ms, .kind = kind };
    const struct gap gap = { .reason = GAP_TRIMMED, .after = item.id, .missed = MISSED_UNKNOWN };
    if (kind == ITEM_EVENT)
        form_event(&writer, s->form, VIEW("s"), item.id, view_of(payload), &bytes);
    else
        form_gap(&writer, s->form, VIEW("s"), &gap, &bytes);
    assert_true(log_append(&s->log, item, buffer_view(&bytes), VIEW(""), 512, &made));
    buffer_free(&bytes);
}

static void events(uint64_t from, uint64_t to)
{
    char text[24];
    for (uint64_t i = from; i <= to; i++) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)i);
        append(i, ITEM_EVENT, text);
    }
}

// What goes out, with the frames' headers cut off (short frames have two bytes).
static const char *chosen(uint64_t *seq)
{
    static char text[4096];
    struct iovec pieces[32];
    size_t count = 32, len = 0;
    pace_choose(p, seq, s->log.end_seq, &out, &budget);
    outbox_gather(&out, sizeof(text), pieces, &count);
    for (size_t i = 0; i < count; i++) {
        memcpy(text + len, pieces[i].iov_base, pieces[i].iov_len);
        len += pieces[i].iov_len;
    }
    outbox_done(&out, &budget);
    text[len] = '\0';
    return len > 2 ? text + 2 : text;
}

// ---- durations --------------------------------------------------------------

static void durations_have_a_unit_and_two_digits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ms; // 0: refused
    } cases[] = {
        { "10ms", 10 },       { "9ms", 0 },   { "250ms", 250 },    { "999ms", 1000 },
        { "1234ms", 1300 },   { "1s", 1000 }, { "61s", 61000 },    { "3599s", 3600000 },
        { "3600s", 3600000 }, { "3601s", 0 }, { "5m", 300000 },    { "60m", 3600000 },
        { "1h", 3600000 },    { "2h", 0 },    { "1", 0 },          { "ms", 0 },
        { "01s", 0 },         { "1.5s", 0 },  { "-1s", 0 },        { "1S", 0 },
        { "1 s", 0 },         { "1sec", 0 },  { "99999999ms", 0 }, { "", 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t ms = 0;
        bool ok = every_parse(view_of(cases[i].text), &ms);
        if (ok != (cases[i].ms > 0) || ms != cases[i].ms)
            fail_msg("%s: %d, %u", cases[i].text, ok, ms);
    }
}

static void there_are_some_hundred_paces_at_most(void **state)
{
    (void)state;
    char text[16];
    size_t distinct = 0;
    uint32_t before = 0;
    for (int ms = EVERY_MIN_MS; ms <= EVERY_MAX_MS; ms++) {
        uint32_t every_ms;
        snprintf(text, sizeof(text), "%dms", ms);
        assert_true(every_parse(view_of(text), &every_ms));
        assert_true(every_ms >= (uint32_t)ms);
        distinct += every_ms != before;
        before = every_ms;
    }
    assert_in_range(distinct, 100, 600);
}

// ---- the newest event -------------------------------------------------------

static void the_newest_says_for_how_many_it_stands(void **state)
{
    (void)state;
    uint64_t seq = 0;
    begin(FORM_ENVELOPE);
    events(1, 1);
    assert_string_equal(chosen(&seq),
                        "{\"type\":\"event\",\"stream\":\"s\",\"id\":\"1-0\",\"data\":1}");
    events(2, 9);
    assert_string_equal(
        chosen(&seq),
        "{\"type\":\"event\",\"stream\":\"s\",\"id\":\"9-0\",\"skipped\":7,\"data\":9}");
    assert_int_equal(seq, s->log.end_seq);
    assert_string_equal(chosen(&seq), "");
}

static void raw_has_no_place_to_say_so(void **state)
{
    (void)state;
    uint64_t seq = 0;
    begin(FORM_RAW);
    events(1, 9);
    assert_string_equal(chosen(&seq), "9");
}

static void a_compressed_one_is_made_anew(void **state)
{
    (void)state;
    uint64_t seq = 0;
    char text[600] = "[";
    begin(FORM_ENVELOPE_DEFLATED);
    while (strlen(text) < 500)
        strcat(text, "\"again and again\",");
    strcat(text, "1]");
    append(1, ITEM_EVENT, text);
    append(2, ITEM_EVENT, text);
    assert_int_equal(pace_choose(p, &seq, s->log.end_seq, &out, &budget), 1);
    struct iovec piece;
    size_t count = 1;
    outbox_gather(&out, 4096, &piece, &count);
    struct view frame = { piece.iov_base, piece.iov_len };
    assert_true(ws_is_deflated(frame));
    struct buffer plain = { 0 };
    struct inflater *inflater = inflater_new();
    assert_int_equal(inflater_run(inflater, form_raw_payload(frame), 4096, &plain), INFLATE_OK);
    assert_non_null(memmem(plain.at, plain.len, "\"id\":\"2-0\",\"skipped\":1,\"data\":[", 31));
    inflater_free(inflater);
    buffer_free(&plain);
}

static void gaps_on_the_way_are_told(void **state)
{
    (void)state;
    uint64_t seq = 0;
    begin(FORM_ENVELOPE);
    events(1, 2);
    append(2, ITEM_GAP, NULL);
    events(5, 6);
    append(6, ITEM_GAP, NULL);
    const char *text = chosen(&seq);
    const char *first = strstr(text, "\"after\":\"2-0\""), *event = strstr(text, "\"skipped\":3");
    const char *last = strstr(text, "\"after\":\"6-0\"");
    assert_true(first && event && last && first < event && event < last);
}

static void what_has_left_the_log_is_counted_too(void **state)
{
    (void)state;
    uint64_t seq = 0;
    begin(FORM_ENVELOPE);
    events(1, 100);
    log_trim(&s->log, 90);
    assert_true(s->log.first_seq > 0);
    assert_non_null(strstr(chosen(&seq), "\"id\":\"100-0\",\"skipped\":99,"));
}

static void all_of_a_pace_share_one_selection(void **state)
{
    (void)state;
    uint64_t one = 0, other = 0;
    begin(FORM_ENVELOPE);
    events(1, 10);
    chosen(&one);
    char *made = p->selection.at;
    made[2] = '#'; // if it is made again, this is gone
    assert_int_equal(chosen(&other)[0], '#');
}

// ---- ticks ------------------------------------------------------------------

static void who_is_owed_something_gets_a_tick(void **state)
{
    (void)state;
    begin(FORM_ENVELOPE);
    events(1, 3);
    pace_owe(p, 3);
    assert_false(deadline_armed(&p->tick));
    pace_owe(p, 2);
    assert_true(deadline_armed(&p->tick) && p->owes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(durations_have_a_unit_and_two_digits),   TEST(there_are_some_hundred_paces_at_most),
        TEST(the_newest_says_for_how_many_it_stands), TEST(raw_has_no_place_to_say_so),
        TEST(a_compressed_one_is_made_anew),          TEST(gaps_on_the_way_are_told),
        TEST(what_has_left_the_log_is_counted_too),   TEST(all_of_a_pace_share_one_selection),
        TEST(who_is_owed_something_gets_a_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
