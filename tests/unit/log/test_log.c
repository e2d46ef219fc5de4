#include "log/log.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A log in one line: each extent with its first seq, an item by its bytes, '.' for
// one that has none: "0:[aa bb .] 3:[cc]". Segments have room for three items and
// little more, so that borders are near.

#define SEGMENT_SIZE (3 * sizeof(struct item) + 16)

static struct log tail, worker;

static int set_up(void **state)
{
    (void)state;
    log_init(&tail);
    log_init(&worker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    log_done(&tail);
    log_done(&worker);
    return segment_bytes_in_use() != 0; // every reference was given back
}

static void append(uint64_t id_ms, int64_t time_ms, enum item_kind kind, struct view bytes)
{
    struct segment *made;
    struct item item = { .id = { id_ms, 0 }, .time_ms = time_ms, .kind = kind };
    assert_true(log_append(&tail, item, VIEW(""), bytes, SEGMENT_SIZE, &made));
}

static void event(uint64_t id_ms, const char *bytes)
{
    append(id_ms, (int64_t)id_ms, ITEM_EVENT, view_of(bytes));
}

static void gap(uint64_t id_ms)
{
    append(id_ms, (int64_t)id_ms, ITEM_GAP, VIEW(""));
}

// As many events as there are words, ids 1, 2, 3, …; "." is a gap.
static void items(const char *words)
{
    uint64_t id_ms = tail.end_seq;
    while (*words) {
        size_t len = strcspn(words, " ");
        bool is_gap = len == 1 && *words == '.';
        id_ms++;
        append(id_ms, (int64_t)id_ms, is_gap ? ITEM_GAP : ITEM_EVENT,
               (struct view){ words, is_gap ? 0 : len });
        words += len + (words[len] == ' ');
    }
}

static void tell(const struct log *l, struct buffer *out)
{
    for (size_t i = 0; i < l->len; i++) {
        const struct extent *e = log_extent(l, i);
        buffer_printf(out, "%s%llu:[", i ? " " : "", (unsigned long long)e->first_seq);
        for (uint32_t n = 0; n < e->count; n++) {
            uint32_t start = segment_start(e->segment, n);
            uint32_t len = segment_item(e->segment, n)->end - start;
            buffer_printf(out, "%s%.*s", n ? " " : "", len ? (int)len : 1,
                          len ? e->segment->data + start : ".");
        }
        buffer_printf(out, "]");
    }
    buffer_add(out, "", 1);
}

static void assert_log(const struct log *l, const char *expected)
{
    struct buffer out = { 0 };
    tell(l, &out);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

// What log_gather gives from there, each piece in its own: "aabb|cc".
static void assert_gathers_until(uint64_t until_seq, struct cursor at, size_t max, size_t room,
                                 const char *expected)
{
    struct iovec pieces[8];
    struct buffer out = { 0 };
    size_t count = room, total = 0;
    size_t bytes = log_gather(&tail, at, until_seq, max, pieces, &count);
    assert_true(count <= room);
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(pieces[i].iov_len, 0);
        total += pieces[i].iov_len;
        buffer_printf(&out, "%s%.*s", i ? "|" : "", (int)pieces[i].iov_len,
                      (const char *)pieces[i].iov_base);
    }
    buffer_add(&out, "", 1);
    assert_int_equal(bytes, total);
    assert_string_equal(out.at, expected);
    buffer_free(&out);
}

static void assert_gathers(struct cursor at, size_t max, size_t room, const char *expected)
{
    assert_gathers_until(UINT64_MAX, at, max, room, expected);
}

static void assert_cursor(struct cursor c, uint64_t seq, uint32_t skip)
{
    assert_int_equal(c.seq, seq);
    assert_int_equal(c.skip, skip);
}

static void assert_advances(struct cursor at, size_t bytes, uint64_t seq, uint32_t skip)
{
    assert_cursor(log_advance(&tail, at, bytes), seq, skip);
}

static struct eventid id_of(uint64_t ms)
{
    return (struct eventid){ ms, 0 };
}

// The impossible stops the process: it is done by a child.
static void assert_stops(void (*impossible)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        impossible();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

// ---- an empty log -----------------------------------------------------------

static void an_empty_log_ends_where_it_begins(void **state)
{
    (void)state;
    log_trim(&tail, 0);
    log_trim(&tail, 100);
    assert_log(&tail, "");
    assert_int_equal(tail.first_seq, 0);
    assert_int_equal(tail.end_seq, 0);
    assert_int_equal(log_seek_time(&tail, 0), 0);
    assert_int_equal(log_seek_id(&tail, id_of(5)), 0);
    assert_int_equal(log_seek_after(&tail, id_of(5)), 0);
    assert_gathers((struct cursor){ 0 }, 100, 8, "");
    assert_advances((struct cursor){ 0 }, 0, 0, 0);
}

static void ask_for_no_item(void)
{
    log_item(&tail, 0);
}

static void ask_for_no_extent(void)
{
    log_extent(&tail, 0);
}

static void it_has_no_item_and_no_extent(void **state)
{
    (void)state;
    assert_stops(ask_for_no_item);
    assert_stops(ask_for_no_extent);
}

// ---- appending --------------------------------------------------------------

static void a_new_segment_is_told(void **state)
{
    (void)state;
    struct segment *made;
    struct item item = { .id = { 1, 0 } };
    assert_true(log_append(&tail, item, VIEW("a"), VIEW("b"), SEGMENT_SIZE, &made));
    assert_non_null(made);
    assert_ptr_equal(made, log_extent(&tail, 0)->segment);
    assert_true(log_append(&tail, item, VIEW(""), VIEW("c"), SEGMENT_SIZE, &made));
    assert_null(made);
    assert_log(&tail, "0:[ab c]");
}

static void extents_follow_when_segments_are_full(void **state)
{
    (void)state;
    items("a b c d e f g");
    assert_log(&tail, "0:[a b c] 3:[d e f] 6:[g]");
    assert_int_equal(tail.first_seq, 0);
    assert_int_equal(tail.end_seq, 7);
    assert_int_equal(tail.bytes, 3 * SEGMENT_SIZE);
    for (uint64_t seq = 0; seq < 7; seq++)
        assert_int_equal(log_item(&tail, seq)->id.ms, seq + 1);
}

static void what_is_larger_than_a_segment_has_its_own(void **state)
{
    (void)state;
    char large[4 * SEGMENT_SIZE];
    memset(large, 'x', sizeof(large));
    items("a");
    append(2, 2, ITEM_EVENT, (struct view){ large, sizeof(large) });
    event(3, "b");
    assert_int_equal(tail.len, 3);
    assert_int_equal(log_extent(&tail, 1)->count, 1);
    assert_int_equal(log_extent(&tail, 1)->end, sizeof(large));
    assert_true(tail.bytes > 2 * SEGMENT_SIZE + sizeof(large));
    assert_int_equal(log_item(&tail, 2)->id.ms, 3);
}

static void items_without_bytes_may_stand_anywhere(void **state)
{
    (void)state;
    items(". a . b . c . . . d");
    assert_log(&tail, "0:[. a .] 3:[b . c] 6:[. . .] 9:[d]");
}

static void what_cannot_be_had_leaves_no_trace(void **state)
{
    (void)state;
    struct segment *made = (struct segment *)&tail;
    const struct view vast = { "", SEGMENT_BYTES_MAX };
    assert_false(log_append(&tail, (struct item){ 0 }, VIEW(""), vast, SEGMENT_SIZE, &made));
    assert_null(made);
    assert_log(&tail, "");
    items("a");
    assert_false(log_append(&tail, (struct item){ 0 }, VIEW(""), vast, SEGMENT_SIZE, &made));
    assert_null(made);
    items("b");
    assert_log(&tail, "0:[a b]");
    assert_int_equal(tail.end_seq, 2);
}

// ---- trimming ---------------------------------------------------------------

static void whole_extents_leave(void **state)
{
    (void)state;
    items("a b c d e f g");
    log_trim(&tail, 2);
    assert_log(&tail, "0:[a b c] 3:[d e f] 6:[g]");
    log_trim(&tail, 3);
    assert_log(&tail, "3:[d e f] 6:[g]");
    assert_int_equal(tail.first_seq, 3);
    assert_int_equal(tail.bytes, 2 * SEGMENT_SIZE);
    log_trim(&tail, 3); // again
    log_trim(&tail, 0); // long gone
    log_trim(&tail, 5); // half
    assert_log(&tail, "3:[d e f] 6:[g]");
    assert_int_equal(log_item(&tail, 3)->id.ms, 4);
}

static void ask_for_what_has_left(void)
{
    log_item(&tail, 2);
}

static void ask_for_what_is_to_come(void)
{
    log_item(&tail, 7);
}

static void what_has_left_or_is_to_come_is_not_there(void **state)
{
    (void)state;
    items("a b c d e f g");
    log_trim(&tail, 3);
    assert_stops(ask_for_what_has_left);
    assert_stops(ask_for_what_is_to_come);
}

static void seqs_go_on_when_all_has_left(void **state)
{
    (void)state;
    items("a b c d");
    log_trim(&tail, 4);
    assert_log(&tail, "");
    assert_int_equal(tail.first_seq, 4);
    assert_int_equal(tail.end_seq, 4);
    assert_int_equal(tail.bytes, 0);
    assert_int_equal(segment_bytes_in_use(), 0);
    items("e");
    assert_log(&tail, "4:[e]");
    log_trim(&tail, 100); // beyond the end
    assert_log(&tail, "");
    assert_int_equal(tail.first_seq, 5);
    assert_int_equal(tail.end_seq, 5);
}

static void the_array_of_extents_stays_as_small_as_the_log(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        items("a b c");
        if (tail.len > 4)
            log_trim(&tail, log_extent(&tail, 1)->first_seq);
        assert_int_equal(log_item(&tail, tail.first_seq)->id.ms, tail.first_seq + 1);
    }
    assert_int_equal(tail.len, 4);
    assert_true(tail.cap <= 16);
    assert_int_equal(tail.bytes, 4 * SEGMENT_SIZE);
}

// ---- counting ---------------------------------------------------------------

static void bytes_to_the_end_are_counted_from_anywhere(void **state)
{
    (void)state;
    items(". a b . . c d . e .");
    int64_t bytes = 0;
    for (uint64_t seq = tail.end_seq; seq > tail.first_seq; seq--) {
        size_t len = log_bytes(&tail, seq - 1).len;
        bytes += (int64_t)len;
        assert_int_equal(log_count_bytes(&tail, (struct cursor){ .seq = seq - 1 }), bytes);
        if (len > 0)
            assert_int_equal(log_count_bytes(&tail, (struct cursor){ seq - 1, 1 }), bytes - 1);
    }
    assert_true(bytes > 0);
    assert_int_equal(log_count_bytes(&tail, (struct cursor){ .seq = tail.end_seq }), 0);
}

static void events_are_counted_across_extents(void **state)
{
    (void)state;
    items(". a b . . c d . e .");
    assert_int_equal(log_count_events(&tail, 0, 10), 5);
    assert_int_equal(log_count_events(&tail, 1, 3), 2);
    assert_int_equal(log_count_events(&tail, 3, 5), 0);
    assert_int_equal(log_count_events(&tail, 5, 9), 3);
    assert_int_equal(log_count_events(&tail, 4, 4), 0);
    assert_int_equal(log_count_events(&tail, 10, 10), 0);
    assert_true(log_has_gaps(&tail, 0, 2));
    assert_false(log_has_gaps(&tail, 1, 3));
    assert_false(log_has_gaps(&tail, 5, 7));
    assert_true(log_has_gaps(&tail, 5, 8));
    assert_false(log_has_gaps(&tail, 3, 3));
}

// Each client that fell behind is told how many it missed: were that to walk the items,
// it would be clients times items in one turn of the worker.
static void counting_looks_at_no_item_but_the_last_before_a_border(void **state)
{
    (void)state;
    struct segment *made;
    for (uint64_t i = 0; i < 1000; i++) {
        struct item item = { .id = id_of(i), .kind = ITEM_EVENT };
        assert_true(log_append(&tail, item, VIEW(""), VIEW("x"), 64 * KIB, &made));
    }
    for (uint64_t seq = 0; seq < 1000; seq++)
        if (seq != 9 && seq != 989) // between them, nothing but nonsense
            memset((void *)(uintptr_t)log_item(&tail, seq), 0, sizeof(struct item));
    assert_int_equal(log_count_events(&tail, 10, 990), 980);
    assert_false(log_has_gaps(&tail, 10, 990));
}

// ---- runs --------------------------------------------------------------------

static void runs_leave_with_their_extents(void **state)
{
    (void)state;
    items("a b c d");
    log_trim(&tail, 3);
    assert_int_equal(tail.run_seq, 3);
    log_reset(&tail);
    assert_int_equal(tail.run_seq, 4);
    event(1, "e");
    log_trim(&tail, 5);
    assert_int_equal(tail.run_seq, 5);
    event(2, "f");
}

// ---- seeking by time --------------------------------------------------------

static void time_is_sought_at_or_behind(void **state)
{
    (void)state;
    const int64_t times[] = { 10, 20, 20, 20, 20, 30, 40, 40 };
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        append(i + 1, times[i], ITEM_EVENT, VIEW("x"));
    assert_int_equal(log_seek_time(&tail, INT64_MIN), 0);
    assert_int_equal(log_seek_time(&tail, 10), 0);
    assert_int_equal(log_seek_time(&tail, 11), 1);
    assert_int_equal(log_seek_time(&tail, 20), 1); // the first of equal ones
    assert_int_equal(log_seek_time(&tail, 21), 5);
    assert_int_equal(log_seek_time(&tail, 40), 6);
    assert_int_equal(log_seek_time(&tail, 41), 8);
    assert_int_equal(log_seek_time(&tail, INT64_MAX), 8);
}

static void of_what_has_left_nothing_is_found(void **state)
{
    (void)state;
    const int64_t times[] = { 10, 20, 20, 20, 20, 30 };
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        append(i + 1, times[i], ITEM_EVENT, VIEW("x"));
    log_trim(&tail, 3);
    assert_int_equal(log_seek_time(&tail, 10), 3);
    assert_int_equal(log_seek_time(&tail, 20), 3);
    assert_int_equal(log_seek_time(&tail, 25), 5);
}

static void gaps_have_a_time_and_runs_do_not_matter(void **state)
{
    (void)state;
    append(900, 10, ITEM_EVENT, VIEW("a"));
    append(900, 20, ITEM_GAP, VIEW(""));
    log_reset(&tail);
    append(1, 20, ITEM_EVENT, VIEW("b"));
    append(2, 30, ITEM_EVENT, VIEW("c"));
    assert_int_equal(log_seek_time(&tail, 15), 1);
    assert_int_equal(log_seek_time(&tail, 20), 1);
    assert_int_equal(log_seek_time(&tail, 30), 3);
}

// ---- seeking by id ----------------------------------------------------------

static void assert_seeks(uint64_t id_ms, uint64_t from, uint64_t after)
{
    assert_int_equal(log_seek_id(&tail, id_of(id_ms)), from);
    assert_int_equal(log_seek_after(&tail, id_of(id_ms)), after);
}

static void ids_are_sought_at_or_behind(void **state)
{
    (void)state;
    for (uint64_t id = 10; id <= 70; id += 10)
        event(id, "x");
    assert_seeks(0, 0, 0);
    assert_seeks(10, 0, 1);
    assert_seeks(15, 1, 1);
    assert_seeks(30, 2, 3); // over the extents' border
    assert_seeks(70, 6, 7);
    assert_seeks(71, 7, 7);
    assert_seeks(UINT64_MAX, 7, 7);
    assert_int_equal(log_seek_id(&tail, (struct eventid){ 20, 1 }), 2);
    assert_int_equal(log_seek_after(&tail, (struct eventid){ 9, UINT64_MAX }), 0);
    log_trim(&tail, 3);
    assert_seeks(10, 3, 3);
    assert_seeks(40, 3, 4);
}

// A gap has the id of what stood before it: whoever has that still gets the gap.
static void a_gap_lies_behind_the_event_of_its_id(void **state)
{
    (void)state;
    event(10, "a");
    gap(10);
    gap(10);
    event(20, "b");
    assert_seeks(10, 0, 1);
    assert_seeks(11, 3, 3);
    assert_seeks(20, 3, 4);
}

static void a_gap_alone_is_found_by_its_id(void **state)
{
    (void)state;
    gap(10);
    event(20, "a");
    assert_seeks(10, 0, 0);
    assert_seeks(15, 1, 1);
}

static void ids_are_sought_in_the_latest_run(void **state)
{
    (void)state;
    event(10, "a");
    event(20, "b");
    event(30, "c");
    event(40, "d");
    gap(40);
    log_reset(&tail);
    event(5, "e");
    event(20, "f");
    event(35, "g");
    assert_seeks(1, 5, 5);
    assert_seeks(5, 5, 6);
    assert_seeks(20, 6, 7); // in both: the latest
    assert_seeks(25, 7, 7); // in none
    assert_seeks(36, 8, 8);
}

static void an_older_run_has_what_it_has_exactly(void **state)
{
    (void)state;
    event(10, "a");
    event(20, "b");
    gap(20);
    log_reset(&tail);
    event(10, "c");
    event(30, "d");
    gap(30);
    log_reset(&tail);
    event(5, "e");
    assert_seeks(20, 1, 2); // and the gap behind it
    assert_seeks(10, 3, 4); // the newer of two older ones
    assert_seeks(30, 4, 5);
    assert_seeks(25, 7, 7); // a gap's id is not enough, nor one in between
    assert_seeks(6, 7, 7);
    log_trim(&tail, 3);
    assert_seeks(20, 7, 7);
    assert_seeks(10, 3, 4);
}

static void a_run_that_has_nothing_yet_is_sought_too(void **state)
{
    (void)state;
    event(10, "a");
    event(20, "b");
    log_reset(&tail);
    assert_seeks(5, 2, 2);
    assert_seeks(10, 0, 1);
    assert_seeks(20, 1, 2);
    assert_seeks(30, 2, 2);
}

static void behind_the_last_of_an_older_run_comes_the_next(void **state)
{
    (void)state;
    event(10, "a");
    event(20, "b");
    log_reset(&tail);
    event(20, "c");
    log_reset(&tail);
    event(1, "d");
    assert_seeks(20, 2, 3);
    assert_seeks(10, 0, 1);
}

// A stream that is read again after a failover asks this for each of its entries. Walked,
// it would be 10^10 steps and more: minutes.
static void an_older_run_is_not_walked(void **state)
{
    (void)state;
    const uint64_t count = 200000;
    struct segment *made;
    for (uint64_t i = 0; i < count; i++) {
        struct item item = { .id = id_of(10 * i), .kind = ITEM_EVENT };
        assert_true(log_append(&tail, item, VIEW(""), VIEW("x"), 64 * KIB, &made));
    }
    log_reset(&tail);
    event(5, "y");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seq;
        assert_true(log_find_id(&tail, id_of(10 * i), &seq));
        assert_int_equal(seq, i);
        assert_false(log_has_id(&tail, id_of(10 * i + 1)));
    }
}

// A stream that is deleted in a loop: what is kept of its lives has an end.
static void so_many_older_runs_are_remembered(void **state)
{
    (void)state;
    const uint64_t runs = LOG_OLDER_RUNS_MAX + 100;
    for (uint64_t run = 0; run < runs; run++) {
        event(1000 - run, "x"); // each id in one run alone
        log_reset(&tail);
    }
    assert_int_equal(tail.older_count, LOG_OLDER_RUNS_MAX);
    assert_int_equal(tail.older_cap, LOG_OLDER_RUNS_MAX);
    for (uint64_t run = 0; run < runs; run++)
        assert_int_equal(log_has_id(&tail, id_of(1000 - run)), run >= 100);
    log_trim(&tail, runs - 3);
    assert_int_equal(tail.older_count, 3 + (runs - 3 - tail.first_seq));
    log_trim(&tail, runs);
    assert_int_equal(tail.older_count, 0);
}

static void a_run_without_items_is_none(void **state)
{
    (void)state;
    log_reset(&tail);
    event(10, "a");
    log_reset(&tail);
    log_reset(&tail);
    assert_int_equal(tail.older_count, 1);
    uint64_t starts[LOG_OLDER_RUNS_MAX + 1];
    assert_int_equal(log_runs_from(&tail, 0, starts), 2);
    assert_int_equal(starts[0], 0);
    assert_int_equal(starts[1], 1);
    assert_int_equal(log_runs_from(&tail, 1, starts), 1);
    assert_int_equal(log_runs_from(&tail, 2, starts), 0);
}

// ---- gathering --------------------------------------------------------------

static void pieces_are_extents(void **state)
{
    (void)state;
    items("aa bb cc dd ee ff gg");
    assert_gathers((struct cursor){ 0 }, 100, 8, "aabbcc|ddeeff|gg");
    assert_gathers((struct cursor){ .seq = 1 }, 100, 8, "bbcc|ddeeff|gg");
    assert_gathers((struct cursor){ .seq = 3 }, 100, 8, "ddeeff|gg");
    assert_gathers((struct cursor){ .seq = 6 }, 100, 8, "gg");
    assert_gathers((struct cursor){ .seq = 7 }, 100, 8, "");
    assert_gathers((struct cursor){ .seq = 2, .skip = 1 }, 100, 8, "c|ddeeff|gg");
    assert_gathers((struct cursor){ .seq = 6, .skip = 1 }, 100, 8, "g");
}

static void there_are_no_more_bytes_than_asked_for(void **state)
{
    (void)state;
    items("aa bb cc dd ee ff gg");
    assert_gathers((struct cursor){ 0 }, 0, 8, "");
    assert_gathers((struct cursor){ 0 }, 3, 8, "aab");
    assert_gathers((struct cursor){ 0 }, 6, 8, "aabbcc");
    assert_gathers((struct cursor){ 0 }, 7, 8, "aabbcc|d");
    assert_gathers((struct cursor){ .seq = 1, .skip = 1 }, 4, 8, "bcc|d");
    assert_gathers((struct cursor){ 0 }, 14, 8, "aabbcc|ddeeff|gg");
}

static void gathering_gives_no_more_pieces_than_there_is_room_for(void **state)
{
    (void)state;
    items("aa bb cc dd ee ff gg");
    assert_gathers((struct cursor){ 0 }, 100, 0, "");
    assert_gathers((struct cursor){ 0 }, 100, 1, "aabbcc");
    assert_gathers((struct cursor){ .seq = 2 }, 100, 2, "cc|ddeeff");
    assert_gathers((struct cursor){ .seq = 2 }, 3, 1, "cc");
}

static void gathering_ends_before_a_certain_item(void **state)
{
    (void)state;
    items("aa bb cc dd ee ff gg");
    assert_gathers_until(7, (struct cursor){ 0 }, 100, 8, "aabbcc|ddeeff|gg");
    assert_gathers_until(6, (struct cursor){ 0 }, 100, 8, "aabbcc|ddeeff");
    assert_gathers_until(5, (struct cursor){ 0 }, 100, 8, "aabbcc|ddee");
    assert_gathers_until(3, (struct cursor){ 0 }, 100, 8, "aabbcc");
    assert_gathers_until(1, (struct cursor){ 0 }, 100, 8, "aa");
    assert_gathers_until(1, (struct cursor){ .skip = 1 }, 100, 8, "a");
    assert_gathers_until(5, (struct cursor){ .seq = 4, .skip = 1 }, 100, 8, "e");
    assert_gathers_until(5, (struct cursor){ .seq = 3 }, 3, 8, "dde");
    assert_gathers_until(0, (struct cursor){ 0 }, 100, 8, "");
    assert_gathers_until(4, (struct cursor){ .seq = 4 }, 100, 8, "");
    assert_gathers_until(2, (struct cursor){ .seq = 5 }, 100, 8, ""); // it is past that
}

static void what_has_no_bytes_is_no_piece(void **state)
{
    (void)state;
    items("a . . . . . . b .");
    assert_log(&tail, "0:[a . .] 3:[. . .] 6:[. b .]");
    assert_gathers((struct cursor){ 0 }, 100, 2, "a|b");
    assert_gathers((struct cursor){ .seq = 1 }, 100, 1, "b"); // no room is spent on it
    assert_gathers((struct cursor){ .seq = 4 }, 100, 8, "b");
    assert_gathers((struct cursor){ .seq = 8 }, 100, 8, "");
    assert_gathers_until(5, (struct cursor){ 0 }, 100, 8, "a");
    assert_gathers_until(7, (struct cursor){ .seq = 1 }, 100, 8, "");
    assert_gathers_until(8, (struct cursor){ .seq = 1 }, 100, 8, "b");
}

static void gather_what_has_left(void)
{
    struct iovec piece;
    size_t count = 1;
    log_gather(&tail, (struct cursor){ .seq = 2 }, 4, 1, &piece, &count);
}

static void what_has_left_cannot_be_gathered(void **state)
{
    (void)state;
    items("a b c d");
    log_trim(&tail, 3);
    assert_stops(gather_what_has_left);
}

// ---- advancing --------------------------------------------------------------

static void a_cursor_stands_between_bytes(void **state)
{
    (void)state;
    items("aa bbb c dd");
    assert_log(&tail, "0:[aa bbb c] 3:[dd]");
    const struct cursor start = { 0 };
    const struct cursor places[] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 }, { 1, 2 },
                                     { 2, 0 }, { 3, 0 }, { 3, 1 }, { 4, 0 } };
    for (size_t from = 0; from < ARRAY_LEN(places); from++)
        for (size_t to = from; to < ARRAY_LEN(places); to++)
            assert_advances(places[from], to - from, places[to].seq, places[to].skip);
    assert_advances(start, 0, 0, 0);
}

static void it_goes_over_several_extents(void **state)
{
    (void)state;
    items("aa bb cc dd ee ff gg hh ii jj");
    assert_advances((struct cursor){ 0 }, 12, 6, 0);
    assert_advances((struct cursor){ 0 }, 13, 6, 1);
    assert_advances((struct cursor){ .seq = 1, .skip = 1 }, 15, 9, 0);
    assert_advances((struct cursor){ .seq = 2 }, 16, 10, 0);
    log_trim(&tail, 3);
    assert_advances((struct cursor){ .seq = 5, .skip = 1 }, 2, 6, 1);
}

static void it_passes_what_has_no_bytes(void **state)
{
    (void)state;
    items("a . . . . . . b . . . .");
    assert_log(&tail, "0:[a . .] 3:[. . .] 6:[. b .] 9:[. . .]");
    assert_advances((struct cursor){ 0 }, 0, 0, 0);
    assert_advances((struct cursor){ 0 }, 1, 7, 0);
    assert_advances((struct cursor){ .seq = 1 }, 0, 7, 0);
    assert_advances((struct cursor){ .seq = 4 }, 0, 7, 0);
    assert_advances((struct cursor){ .seq = 7 }, 1, 12, 0);
    assert_advances((struct cursor){ .seq = 8 }, 0, 12, 0);
    assert_advances((struct cursor){ .seq = 11 }, 0, 12, 0);
    assert_advances((struct cursor){ .seq = 0 }, 2, 12, 0);
    assert_advances((struct cursor){ .seq = 12 }, 0, 12, 0);
}

static void a_log_of_gaps_is_passed_in_one_step(void **state)
{
    (void)state;
    items(". . . . .");
    assert_gathers((struct cursor){ 0 }, 100, 8, "");
    assert_advances((struct cursor){ 0 }, 0, 5, 0);
    assert_advances((struct cursor){ .seq = 3 }, 0, 5, 0);
}

static void advance_beyond_the_end(void)
{
    log_advance(&tail, (struct cursor){ 0 }, 5);
}

static void it_cannot_pass_the_end(void **state)
{
    (void)state;
    items("a b c d");
    assert_advances((struct cursor){ 0 }, 4, 4, 0);
    assert_stops(advance_beyond_the_end);
}

static void what_is_left_of_an_item(void **state)
{
    (void)state;
    items("aa bbb cc dddd");
    struct view rest = log_rest_of_item(&tail, (struct cursor){ .seq = 1, .skip = 1 });
    assert_true(view_eq(rest, VIEW("bb")));
    rest = log_rest_of_item(&tail, (struct cursor){ .seq = 3, .skip = 3 });
    assert_true(view_eq(rest, VIEW("d")));
    rest = log_rest_of_item(&tail, (struct cursor){ .seq = 2 });
    assert_true(view_eq(rest, VIEW("cc")));
}

// ---- a worker's log ---------------------------------------------------------

// A letter's way: the tail takes a reference when it writes, the worker takes it
// over when it reads.
static struct extent written(size_t i)
{
    struct extent e = *log_extent(&tail, i);
    segment_ref(e.segment);
    return e;
}

static void tell_worker(size_t from)
{
    for (size_t i = from; i < tail.len; i++) {
        struct extent e = written(i);
        log_extend(&worker, &e);
    }
}

static void a_worker_knows_what_it_was_told(void **state)
{
    (void)state;
    items("a b");
    tell_worker(0);
    items("c d");
    assert_log(&tail, "0:[a b c] 3:[d]");
    assert_log(&worker, "0:[a b]");
    assert_int_equal(worker.end_seq, 2);
    assert_int_equal(log_seek_time(&worker, 3), 2);
    tell_worker(0);
    assert_log(&worker, "0:[a b c] 3:[d]");
    assert_int_equal(worker.end_seq, 4);
    assert_int_equal(worker.bytes, tail.bytes);
    assert_int_equal(worker.len, 2);
}

static void an_extent_is_continued_by_its_own(void **state)
{
    (void)state;
    items("a");
    tell_worker(0);
    tell_worker(0); // nothing new
    assert_log(&worker, "0:[a]");
    items("b .");
    tell_worker(0);
    assert_log(&worker, "0:[a b .]");
    assert_int_equal(worker.end_seq, 3);
    assert_int_equal(worker.bytes, SEGMENT_SIZE);
}

static void letters_may_be_read_late(void **state)
{
    (void)state;
    items("a");
    struct extent first = written(0);
    items("b");
    struct extent second = written(0);
    items("c d");
    struct extent third = written(0), fourth = written(1);
    log_trim(&tail, 4); // the tail drops all; the letters hold what they name
    log_extend(&worker, &first);
    assert_log(&worker, "0:[a]");
    log_extend(&worker, &second);
    assert_log(&worker, "0:[a b]");
    log_extend(&worker, &third);
    log_extend(&worker, &fourth);
    assert_log(&worker, "0:[a b c] 3:[d]");
}

static void a_worker_keeps_what_the_tail_has_dropped(void **state)
{
    (void)state;
    items("aa bb cc dd");
    tell_worker(0);
    log_done(&tail);
    assert_log(&worker, "0:[aa bb cc] 3:[dd]");
    log_trim(&worker, 3);
    assert_log(&worker, "3:[dd]");
    assert_int_equal(segment_bytes_in_use(), sizeof(struct segment) + SEGMENT_SIZE);
}

// The letter says that all before seq 3 has left; of the first extent the worker
// knew a half.
static void a_half_told_extent_leaves_whole(void **state)
{
    (void)state;
    items("a b");
    tell_worker(0);
    items("c d");
    log_trim(&tail, 3);
    log_trim(&worker, tail.first_seq);
    assert_log(&worker, "");
    assert_int_equal(worker.first_seq, 2);
    assert_int_equal(worker.end_seq, 2);
    tell_worker(0);
    assert_log(&worker, "3:[d]");
    assert_int_equal(worker.first_seq, 3);
    assert_int_equal(worker.end_seq, 4);
}

// Extents came and went between two letters.
static void a_worker_may_miss_a_trimmed_extent(void **state)
{
    (void)state;
    items("a b c");
    tell_worker(0);
    items("d e f g h i j");
    log_trim(&tail, 9);
    log_trim(&worker, tail.first_seq);
    assert_log(&worker, "");
    tell_worker(0);
    assert_log(&worker, "9:[j]");
    assert_int_equal(worker.first_seq, 9);
    assert_int_equal(worker.end_seq, 10);
    assert_int_equal(log_item(&worker, 9)->id.ms, 10);
    assert_int_equal(log_seek_id(&worker, id_of(1)), 9);
    assert_int_equal(log_seek_id(&worker, id_of(11)), 10);
}

static void a_worker_may_miss_every_trimmed_extent(void **state)
{
    (void)state;
    items("a b c d");
    log_trim(&tail, 4);
    items("e f");
    tell_worker(0);
    assert_log(&worker, "4:[e f]");
    assert_int_equal(worker.first_seq, 4);
    assert_int_equal(worker.end_seq, 6);
    assert_int_equal(log_seek_time(&worker, 0), 4);
}

// Which of the extents belong to the latest run, the letter says besides.
static void a_worker_is_told_where_the_latest_run_begins(void **state)
{
    (void)state;
    event(10, "a");
    event(20, "b");
    log_reset(&tail);
    event(20, "c");
    event(30, "d");
    tell_worker(0);
    log_begin_run(&worker, tail.run_seq);
    assert_log(&worker, "0:[a b c] 3:[d]");
    assert_int_equal(log_seek_id(&worker, id_of(20)), 2);
    assert_int_equal(log_seek_id(&worker, id_of(10)), 0);
    assert_int_equal(log_seek_after(&worker, id_of(25)), 3);
    log_trim(&worker, 3);
    assert_int_equal(worker.run_seq, 3);
}

static void leave_a_hole(void)
{
    tell_worker(2);
}

static void a_hole_in_the_middle_is_impossible(void **state)
{
    (void)state;
    items("a b c d e f g");
    struct extent first = written(0);
    log_extend(&worker, &first);
    assert_stops(leave_a_hole);
}

static void gaps_reach_a_worker_too(void **state)
{
    (void)state;
    items(". . .");
    tell_worker(0);
    items("a .");
    tell_worker(1);
    assert_log(&worker, "0:[. . .] 3:[a .]");
    struct cursor at = log_advance(&worker, (struct cursor){ 0 }, 0);
    assert_cursor(at, 3, 0);
    at = log_advance(&worker, at, 1);
    assert_cursor(at, 5, 0);
    items("b");
    tell_worker(1);
    assert_cursor(log_advance(&worker, at, 1), 6, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_log_ends_where_it_begins),
        TEST(it_has_no_item_and_no_extent),
        TEST(a_new_segment_is_told),
        TEST(extents_follow_when_segments_are_full),
        TEST(what_is_larger_than_a_segment_has_its_own),
        TEST(items_without_bytes_may_stand_anywhere),
        TEST(what_cannot_be_had_leaves_no_trace),
        TEST(whole_extents_leave),
        TEST(what_has_left_or_is_to_come_is_not_there),
        TEST(seqs_go_on_when_all_has_left),
        TEST(the_array_of_extents_stays_as_small_as_the_log),
        TEST(runs_leave_with_their_extents),
        TEST(time_is_sought_at_or_behind),
        TEST(of_what_has_left_nothing_is_found),
        TEST(gaps_have_a_time_and_runs_do_not_matter),
        TEST(ids_are_sought_at_or_behind),
        TEST(a_gap_lies_behind_the_event_of_its_id),
        TEST(a_gap_alone_is_found_by_its_id),
        TEST(ids_are_sought_in_the_latest_run),
        TEST(an_older_run_has_what_it_has_exactly),
        TEST(a_run_that_has_nothing_yet_is_sought_too),
        TEST(behind_the_last_of_an_older_run_comes_the_next),
        TEST(pieces_are_extents),
        TEST(there_are_no_more_bytes_than_asked_for),
        TEST(gathering_gives_no_more_pieces_than_there_is_room_for),
        TEST(gathering_ends_before_a_certain_item),
        TEST(what_has_no_bytes_is_no_piece),
        TEST(what_has_left_cannot_be_gathered),
        TEST(a_cursor_stands_between_bytes),
        TEST(it_goes_over_several_extents),
        TEST(it_passes_what_has_no_bytes),
        TEST(a_log_of_gaps_is_passed_in_one_step),
        TEST(it_cannot_pass_the_end),
        TEST(what_is_left_of_an_item),
        TEST(a_worker_knows_what_it_was_told),
        TEST(an_extent_is_continued_by_its_own),
        TEST(an_older_run_is_not_walked),
        TEST(so_many_older_runs_are_remembered),
        TEST(a_run_without_items_is_none),
        TEST(bytes_to_the_end_are_counted_from_anywhere),
        TEST(events_are_counted_across_extents),
        TEST(counting_looks_at_no_item_but_the_last_before_a_border),
        TEST(letters_may_be_read_late),
        TEST(a_worker_keeps_what_the_tail_has_dropped),
        TEST(a_half_told_extent_leaves_whole),
        TEST(a_worker_may_miss_a_trimmed_extent),
        TEST(a_worker_may_miss_every_trimmed_extent),
        TEST(a_worker_is_told_where_the_latest_run_begins),
        TEST(a_hole_in_the_middle_is_impossible),
        TEST(gaps_reach_a_worker_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
