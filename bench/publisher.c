#include "publisher.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stamp.h"

#define FILL_BATCH 1000
#define READ_MAX (64 * KIB)
#define PACKED_BYTES 6000 // redis-py begins a new write when it has packed more than this

int dial(const char *host, int port)
{
    const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        fprintf(stderr, "bond-bench: %s is no host\n", host);
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        fprintf(stderr, "bond-bench: cannot connect to %s:%d: %s\n", host, port, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    }
    freeaddrinfo(found);
    return fd;
}

bool publisher_open(struct publisher *p, const struct options *o)
{
    *p = (struct publisher){
        .o = o,
        .fd = o->post ? dial(o->host, o->port) : dial(o->redis_host, o->redis_port),
        .event = must_alloc(o->size),
        .lag = calloc(1, sizeof(struct histogram)),
    };
    CHECK(p->lag != NULL);
    return p->fd >= 0;
}

// ---- writing ----------------------------------------------------------------------

// As Bond's API does it, but for its MAXLEN of 1000: at 1,000 events a second that
// is one second, and a pause of the machine would count as the server's loss.
static void add_xadd(struct publisher *p, const char *stream)
{
    char key[160], maxlen[24];
    snprintf(key, sizeof(key), "stream:%s", stream);
    snprintf(maxlen, sizeof(maxlen), "%zu", p->o->maxlen);
    const struct view command[] = {
        VIEW("XADD"),    view_of(key), VIEW("MAXLEN"), VIEW("~"),
        view_of(maxlen), VIEW("*"),    VIEW("data"),   { p->event, p->o->size },
    };
    resp_command(&p->out, ARRAY_LEN(command), command);
}

static void add_post(struct publisher *p, const char *stream)
{
    const char *mark = strstr(p->o->post, "{stream}");
    size_t before = mark ? (size_t)(mark - p->o->post) : strlen(p->o->post);
    buffer_printf(&p->out, "POST %.*s%s%s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %zu\r\n\r\n",
                  (int)before, p->o->post, mark ? stream : "", mark ? mark + 8 : "", p->o->host,
                  p->o->port, p->o->size);
    buffer_add(&p->out, p->event, p->o->size);
}

static void add_event(struct publisher *p, uint64_t event, int64_t due_ns)
{
    char stream[128];
    snprintf(stream, sizeof(stream), "%s%zu", p->o->stream_name, stream_of(p->o, event));
    stamp_write((struct stamp){ number_of(p->o, event), due_ns }, p->event, p->o->size);
    if (p->o->post)
        add_post(p, stream);
    else
        add_xadd(p, stream);
    p->sent++;
}

static bool write_out(struct publisher *p)
{
    while (p->out.len) {
        ssize_t n = send(p->fd, p->out.at, p->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "bond-bench: publishing failed: %s\n", strerror(errno));
            return false;
        }
        if (n > 0)
            buffer_drop(&p->out, (size_t)n);
    }
    return true;
}

// Between two commands of a burst: does what has been packed so far leave now?
static bool is_write_full(const struct publisher *p)
{
    switch (p->o->burst_writes) {
    case BURST_EACH: return true;
    case BURST_PACKED: return p->out.len > PACKED_BYTES;
    case BURST_ONE: return false;
    }
    return false;
}

// ---- answers ----------------------------------------------------------------------

static void take_error(struct publisher *p, struct view answer)
{
    if (p->errors++ == 0)
        fprintf(stderr, "bond-bench: publishing was refused: " VIEW_FMT "\n",
                (int)(answer.len < 200 ? answer.len : 200), answer.at);
}

// One answer at the buffer's start: its size; 0: it is not whole.
static size_t take_redis_answer(struct publisher *p, struct view bytes)
{
    struct resp_scan scan = { 0 };
    size_t size = 0;
    enum resp_result result = resp_scan(&scan, bytes, &size);
    CHECK(result != RESP_BAD);
    if (result == RESP_DONE && *bytes.at == '-')
        take_error(p, (struct view){ bytes.at, size });
    return result == RESP_DONE ? size : 0;
}

static size_t take_http_answer(struct publisher *p, struct view bytes)
{
    const char *end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    struct view head = { bytes.at, (size_t)(end - bytes.at) + 4 };
    size_t body = 0;
    for (const char *at = head.at; at < end; at++)
        if (strncasecmp(at, "\r\nContent-Length:", 17) == 0)
            body = (size_t)strtoul(at + 17, NULL, 10);
        else if (strncasecmp(at, "\r\nTransfer-Encoding:", 20) == 0)
            CHECK(!"an answer without Content-Length: not understood here");
    if (bytes.len < head.len + body)
        return 0;
    if (head.len < 12 || head.at[9] != '2')
        take_error(p, head);
    return head.len + body;
}

// Takes the answers that are there; waits until at most `pending` are missing.
static bool read_answers(struct publisher *p, uint64_t pending)
{
    for (;;) {
        size_t used = 0, size;
        do {
            struct view rest = { p->in.at + used, p->in.len - used };
            size = rest.len == 0 ? 0
                   : p->o->post  ? take_http_answer(p, rest)
                                 : take_redis_answer(p, rest);
            used += size;
            p->answered += size > 0;
        } while (size > 0);
        buffer_drop(&p->in, used);

        bool wait = p->sent - p->answered > pending;
        buffer_reserve(&p->in, READ_MAX);
        ssize_t n = recv(p->fd, p->in.at + p->in.len, READ_MAX, wait ? 0 : MSG_DONTWAIT);
        if (n > 0)
            p->in.len += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            return true;
        else if (n == 0 || errno != EINTR) {
            fprintf(stderr, "bond-bench: the publishing connection is gone\n");
            return false;
        }
    }
}

// ---- the pace ---------------------------------------------------------------------

bool publisher_run(struct publisher *p, uint64_t first, uint64_t count, int64_t start_ns)
{
    const struct options *o = p->o;
    for (uint64_t done = 0; done < count;) {
        int64_t due_ns = due_of(o, start_ns, done);
        sleep_until(due_ns);
        histogram_add(p->lag, clock_ns() - due_ns);
        uint64_t burst_end = done + o->burst < count ? done + o->burst : count;
        while (done < burst_end) {
            add_event(p, first + done++, due_ns);
            if (o->post && (!write_out(p) || !read_answers(p, 0)))
                return false;
            if (is_write_full(p) && !write_out(p))
                return false;
        }
        if (!write_out(p) || !read_answers(p, UINT64_MAX))
            return false;
    }
    return read_answers(p, 0);
}

bool publisher_fill(struct publisher *p, uint64_t first, uint64_t count)
{
    for (uint64_t done = 0; done < count;) {
        uint64_t batch_end = done + FILL_BATCH < count ? done + FILL_BATCH : count;
        while (done < batch_end) {
            add_event(p, first + done++, clock_ns());
            if (p->o->post && (!write_out(p) || !read_answers(p, 0)))
                return false;
        }
        if (!write_out(p) || !read_answers(p, 0))
            return false;
    }
    return true;
}
