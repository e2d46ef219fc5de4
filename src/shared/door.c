#include "shared/door.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define STRANGERS_MAX 16384
#define BAD_TOKENS_AT_ONCE 10 // then one a second
#define BAD_TOKEN_MS 1000
#define SLOW_MAX 32 // refusals held back at once for one address

struct visitor {
    struct table_node by_address;
    struct list node; // of the strangers, while it is one
    struct in6_addr address;
    int64_t clients, slow;
    int64_t credit_from_ms; // bad tokens are free again from here on, one each BAD_TOKEN_MS
};

void door_init(struct door *d)
{
    *d = (struct door){ 0 };
    CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    table_init(&d->visitors);
    list_init(&d->strangers);
}

static void forget(struct door *d, struct visitor *v)
{
    table_remove(&d->visitors, &v->by_address);
    free(v);
}

void door_done(struct door *d)
{
    for (struct table_node *n; (n = table_any(&d->visitors));)
        forget(d, TABLE_ITEM(n, struct visitor, by_address));
    table_done(&d->visitors);
    pthread_mutex_destroy(&d->lock);
}

// ---- addresses ------------------------------------------------------------------

static struct in6_addr map_ipv4(const void *four_bytes)
{
    struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };
    memcpy(&a.s6_addr[12], four_bytes, 4);
    return a;
}

static struct in6_addr only_network(struct in6_addr a)
{
    if (!IN6_IS_ADDR_V4MAPPED(&a))
        memset(&a.s6_addr[8], 0, 8);
    return a;
}

static struct in6_addr peer_address(int fd)
{
    struct sockaddr_storage s = { 0 };
    socklen_t len = sizeof(s);
    if (getpeername(fd, (struct sockaddr *)&s, &len) != 0)
        return (struct in6_addr){ 0 };
    if (s.ss_family == AF_INET)
        return map_ipv4(&((struct sockaddr_in *)&s)->sin_addr);
    return ((struct sockaddr_in6 *)&s)->sin6_addr;
}

bool door_is_loopback(int fd)
{
    struct in6_addr a = peer_address(fd);
    return IN6_IS_ADDR_LOOPBACK(&a) || (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127);
}

// Proxies write 1.2.3.4, 1.2.3.4:567, ::1, [::1]:567.
static bool parse_address(struct view text, struct in6_addr *out)
{
    char copy[INET6_ADDRSTRLEN + 1];
    struct in_addr four;
    if (text.len && text.at[0] == '[') {
        const char *end = memchr(text.at, ']', text.len);
        text = (struct view){ text.at + 1, end ? (size_t)(end - text.at - 1) : 0 };
    } else {
        const char *colon = memchr(text.at, ':', text.len);
        if (colon && memchr(text.at, '.', (size_t)(colon - text.at)))
            text.len = (size_t)(colon - text.at);
    }
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, &four) == 1) {
        *out = map_ipv4(&four);
        return true;
    }
    return inet_pton(AF_INET6, copy, out) == 1;
}

struct in6_addr door_address(int fd, struct view forwarded_for, int64_t hops)
{
    struct in6_addr address = peer_address(fd), written;
    struct view rest = forwarded_for;
    for (int64_t hop = 0; hop < hops && rest.len > 0; hop++) {
        const char *comma = memrchr(rest.at, ',', rest.len);
        size_t start = comma ? (size_t)(comma + 1 - rest.at) : 0;
        struct view entry = view_trim((struct view){ rest.at + start, rest.len - start });
        if (parse_address(entry, &written))
            address = written;
        rest.len = comma ? start - 1 : 0;
    }
    return only_network(address);
}

void door_show_address(const struct in6_addr *address, char out[DOOR_ADDRESS_MAX])
{
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(address);
    const void *bytes = is_v4 ? address->s6_addr + 12 : address->s6_addr;
    CHECK(inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes, out, INET6_ADDRSTRLEN) != NULL);
    if (!is_v4)
        strcat(out, "/64");
}

// ---- visitors -------------------------------------------------------------------

static struct view address_key(const struct in6_addr *a)
{
    return (struct view){ (const char *)a->s6_addr, sizeof(a->s6_addr) };
}

// Nothing of it is open here: no client, no refusal held back. There may be any
// number of such addresses, so that only the latest are remembered.
static bool is_stranger(const struct visitor *v)
{
    return v->clients == 0 && v->slow == 0;
}

static void make_stranger(struct door *d, struct visitor *v)
{
    list_push(&d->strangers, &v->node);
    if (++d->stranger_count > STRANGERS_MAX) {
        struct visitor *oldest = LIST_ITEM(d->strangers.next, struct visitor, node);
        list_remove(&oldest->node);
        d->stranger_count--;
        forget(d, oldest);
    }
}

static void know(struct door *d, struct visitor *v) // a stranger no more
{
    list_remove(&v->node);
    d->stranger_count--;
}

static struct visitor *find(struct door *d, struct in6_addr address, bool make)
{
    struct table_node *n = table_find(&d->visitors, address_key(&address));
    if (n)
        return TABLE_ITEM(n, struct visitor, by_address);
    if (!make)
        return NULL;
    struct visitor *v = must_alloc(sizeof(*v));
    *v = (struct visitor){ .address = address };
    list_init(&v->node);
    table_add(&d->visitors, &v->by_address, address_key(&v->address));
    make_stranger(d, v);
    return v;
}

struct visitor *door_enter(struct door *d, struct in6_addr address, int64_t max)
{
    pthread_mutex_lock(&d->lock);
    struct visitor *v = find(d, address, true);
    if (v->clients >= max) {
        v = NULL;
    } else {
        if (is_stranger(v))
            know(d, v);
        v->clients++;
    }
    pthread_mutex_unlock(&d->lock);
    return v;
}

void door_leave(struct door *d, struct visitor *v)
{
    pthread_mutex_lock(&d->lock);
    CHECK(v->clients > 0);
    v->clients--;
    if (is_stranger(v))
        make_stranger(d, v);
    pthread_mutex_unlock(&d->lock);
}

// False: it has sent more than it may.
static bool may_send_bad_token(struct visitor *v, int64_t now_ms)
{
    if (v->credit_from_ms < now_ms)
        v->credit_from_ms = now_ms;
    v->credit_from_ms += BAD_TOKEN_MS;
    if (v->credit_from_ms - now_ms <= BAD_TOKENS_AT_ONCE * BAD_TOKEN_MS)
        return true;
    v->credit_from_ms = now_ms + BAD_TOKENS_AT_ONCE * BAD_TOKEN_MS;
    return false;
}

enum door_verdict door_bad_token(struct door *d, struct in6_addr address, int64_t now_ms)
{
    enum door_verdict verdict = DOOR_OPEN;
    pthread_mutex_lock(&d->lock);
    struct visitor *v = find(d, address, true);
    if (!may_send_bad_token(v, now_ms)) {
        verdict = v->slow < SLOW_MAX ? DOOR_SLOW : DOOR_SHUT;
        if (verdict == DOOR_SLOW) {
            if (is_stranger(v))
                know(d, v);
            v->slow++;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return verdict;
}

enum door_verdict door_bad_token_of(struct door *d, struct visitor *v, int64_t now_ms)
{
    pthread_mutex_lock(&d->lock);
    bool may = may_send_bad_token(v, now_ms);
    pthread_mutex_unlock(&d->lock);
    return may ? DOOR_OPEN : DOOR_SHUT;
}

void door_slow_done(struct door *d, struct in6_addr address)
{
    pthread_mutex_lock(&d->lock);
    struct visitor *v = find(d, address, false);
    if (v && v->slow > 0) {
        v->slow--;
        if (is_stranger(v))
            make_stranger(d, v);
    }
    pthread_mutex_unlock(&d->lock);
}
