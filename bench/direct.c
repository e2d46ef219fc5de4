#include "direct.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "publisher.h"
#include "stamp.h"
#include "wire/resp.h"

#define READ_MAX (256 * KIB)
#define ID_MAX 64

static void ask(int fd, const char *key, const char *last)
{
    const struct view command[] = { VIEW("XREAD"), VIEW("COUNT"),   VIEW("256"),  VIEW("BLOCK"),
                                    VIEW("0"),     VIEW("STREAMS"), view_of(key), view_of(last) };
    struct buffer out = { 0 };
    resp_command(&out, ARRAY_LEN(command), command);
    if (send(fd, out.at, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
        fprintf(stderr, "bond-bench: XREAD: %s\n", strerror(errno));
    buffer_free(&out);
}

static void take_event(struct board *board, struct tally *t, struct view data, uint64_t *due,
                       int64_t now_ns)
{
    struct stamp stamp;
    if (!stamp_read(data, &stamp)) {
        tally_add(&t->malformed, 1);
        return;
    }
    if (stamp.number < *due) {
        tally_add(&t->late, 1);
        return;
    }
    tally_add(&t->lost, stamp.number - *due);
    tally_add(&t->delivered, 1);
    *due = stamp.number + 1;
    if (stamp.due_ns >= atomic_load_explicit(&board->measure_from_ns, memory_order_relaxed))
        histogram_add(&t->latency, now_ns - stamp.due_ns);
}

// [[key, [[id, [field, data]], …]]]: two texts follow each id.
static void take_reply(struct board *board, struct tally *t, struct view reply, uint64_t *due,
                       char *last, int64_t now_ns)
{
    struct resp_reader r = resp_open(reply);
    struct resp_node node, id, data;
    resp_next(&r, &node); // the streams
    resp_next(&r, &node); // the stream
    resp_next(&r, &node); // its key
    resp_next(&r, &node); // its entries
    for (size_t i = node.count; i > 0; i--) {
        resp_next(&r, &node);
        resp_next(&r, &id);
        resp_next(&r, &node); // the fields
        resp_next(&r, &node); // "data"
        if (!resp_next(&r, &data))
            return;
        take_event(board, t, data.text, due, now_ns);
        snprintf(last, ID_MAX, VIEW_FMT, VIEW_ARG(id.text));
    }
}

_Noreturn void direct_run(const struct options *o, struct board *board, struct tally *tally)
{
    char key[160], last[ID_MAX] = "0-0"; // the stream is new, so nothing can slip by
    struct buffer in = { 0 };
    struct resp_scan scan = { 0 };
    uint64_t due = o->prefill;
    int fd = dial(o->redis_host, o->redis_port);
    if (fd < 0)
        _exit(1);
    snprintf(key, sizeof(key), "stream:%s0", o->stream_name);
    ask(fd, key, o->prefill ? "$" : last);
    tally_add(&tally->connected, 1);
    for (;;) {
        size_t size;
        buffer_reserve(&in, READ_MAX);
        ssize_t n = recv(fd, in.at + in.len, READ_MAX, 0);
        int64_t now_ns = clock_ns();
        if (n <= 0)
            _exit(1);
        in.len += (size_t)n;
        if (resp_scan(&scan, buffer_view(&in), &size) != RESP_DONE)
            continue;
        take_reply(board, tally, (struct view){ in.at, size }, &due, last, now_ns);
        ask(fd, key, last);
        buffer_drop(&in, size);
        scan = (struct resp_scan){ 0 };
    }
}
