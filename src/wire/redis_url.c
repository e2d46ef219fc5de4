#include "wire/redis_url.h"

#define DEFAULT_PORT 6379
#define DB_UNKNOWN (-1)
#define DB_MAX 1000000 // more than any server has; SELECT answers for the rest

static struct view skip(struct view v, size_t len)
{
    return (struct view){ v.at + len, v.len - len };
}

// Cuts *rest at the first of `any`: gives what stands before it and leaves it and
// what follows in *rest.
static struct view take_until(struct view *rest, const char *any)
{
    struct view head = { rest->at, 0 };
    while (head.len < rest->len && !strchr(any, rest->at[head.len]))
        head.len++;
    *rest = skip(*rest, head.len);
    return head;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// As Python's unquote: a '%' that begins no escape stands for itself, so that a
// password with a bare '%' works here when it works there; so does %00, which no
// C string can hold. The result is the caller's.
static char *unquote(struct view raw)
{
    char *text = must_alloc(raw.len + 1), *out = text;
    for (size_t i = 0; i < raw.len; i++) {
        bool escape = raw.at[i] == '%' && raw.len - i > 2;
        int high = escape ? hex_digit(raw.at[i + 1]) : -1;
        int low = escape ? hex_digit(raw.at[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            *out++ = raw.at[i];
        } else {
            *out++ = (char)(high << 4 | low);
            i += 2;
        }
    }
    *out = '\0';
    return text;
}

// redis-py decodes a query's values twice, first with '+' for a space. An escaped
// percent sign is therefore written %2525 there, and we read the same URL.
static char *unquote_query(struct view raw)
{
    char *plain = must_alloc(raw.len + 1);
    for (size_t i = 0; i < raw.len; i++)
        plain[i] = raw.at[i] == '+' ? ' ' : raw.at[i];
    char *once = unquote((struct view){ plain, raw.len });
    char *twice = unquote(view_of(once));
    free(plain);
    free(once);
    return twice;
}

// Takes ownership of text. redis-py takes an empty user, password or file for none.
static void set_text(char **to, char *text)
{
    free(*to);
    *to = text[0] ? text : NULL;
    if (!text[0])
        free(text);
}

static bool parse_db(struct view text, int *db)
{
    uint64_t n;
    if (!view_u64(text, &n) || n > DB_MAX)
        return false;
    *db = (int)n;
    return true;
}

static bool is_false(struct view text)
{
    static const char *const words[] = { "0", "f", "false", "n", "no" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (view_eq_nocase(text, view_of(words[i])))
            return true;
    return false;
}

static const char *set_cert_reqs(struct redis_url *url, struct view value)
{
    if (view_eq(value, VIEW("none")))
        url->verify_cert = url->verify_host = false;
    else if (!view_eq(value, VIEW("optional")) && !view_eq(value, VIEW("required")))
        return "ssl_cert_reqs is none of: none, optional, required";
    return NULL; // of a server's certificate, "optional" asks what "required" asks
}

static const char *set_parameter(struct redis_url *url, struct view name, struct view raw)
{
    char **text = view_eq(name, VIEW("username"))       ? &url->user
                  : view_eq(name, VIEW("password"))     ? &url->password
                  : view_eq(name, VIEW("ssl_ca_certs")) ? &url->ca_file
                  : view_eq(name, VIEW("ssl_certfile")) ? &url->cert_file
                  : view_eq(name, VIEW("ssl_keyfile"))  ? &url->key_file
                                                        : NULL;
    if (text) {
        set_text(text, unquote_query(raw));
        return NULL;
    }

    char *owned = unquote_query(raw);
    struct view value = view_of(owned);
    const char *wrong = NULL;
    if (view_eq(name, VIEW("db")) && !parse_db(value, &url->db))
        wrong = "db is not a database number";
    else if (view_eq(name, VIEW("ssl_cert_reqs")))
        wrong = set_cert_reqs(url, value);
    else if (view_eq(name, VIEW("ssl_check_hostname")) && is_false(value))
        url->verify_host = false;
    free(owned);
    return wrong;
}

// `query` is what stands after the '?'. Parameters without a value are passed over.
static const char *parse_query(struct redis_url *url, struct view query)
{
    while (query.len) {
        struct view value = take_until(&query, "&");
        struct view name = take_until(&value, "=");
        if (value.len > 1) {
            const char *wrong = set_parameter(url, name, skip(value, 1));
            if (wrong)
                return wrong;
        }
        query = skip(query, query.len ? 1 : 0);
    }
    return NULL;
}

static void parse_user_info(struct redis_url *url, struct view info)
{
    struct view user = take_until(&info, ":");
    if (user.len)
        set_text(&url->user, unquote(user));
    if (info.len > 1)
        set_text(&url->password, unquote(skip(info, 1)));
}

// The usual cause is a password that was not escaped, and then the wrong port is a
// piece of it: it may not be quoted.
static const char *parse_port(struct redis_url *url, struct view text)
{
    uint64_t port = DEFAULT_PORT;
    if (text.len && (!view_u64(text, &port) || port == 0 || port > 65535))
        return "the port is not a number from 1 to 65535 (a '/', '?', '#', '@' or ':' in a "
               "password must be percent-encoded)";
    url->port = (int)port;
    return NULL;
}

// [user[:password]@][host][:port]
static const char *parse_authority(struct redis_url *url, struct view text)
{
    const char *at = text.len ? memrchr(text.at, '@', text.len) : NULL;
    if (at) {
        parse_user_info(url, (struct view){ text.at, (size_t)(at - text.at) });
        text = skip(text, (size_t)(at - text.at) + 1);
    }

    struct view host;
    if (view_starts(text, VIEW("["))) {
        text = skip(text, 1);
        host = take_until(&text, "]");
        if (!text.len || !host.len)
            return "the IPv6 address is empty or does not end with ']'";
        text = skip(text, 1);
    } else {
        host = take_until(&text, ":");
    }
    if (text.len && text.at[0] != ':')
        return "there is something between the host and the port";

    set_text(&url->host, unquote(host));
    if (!url->host)
        url->host = strdup("localhost");
    CHECK(url->host != NULL);
    return parse_port(url, skip(text, text.len ? 1 : 0));
}

// What the path is but for slashes at both ends; nothing is database 0. It may be a piece
// of a password that was not escaped: it may not be quoted.
static const char *parse_db_path(struct redis_url *url, struct view path)
{
    char *owned = unquote(path);
    struct view text = view_of(owned);
    while (text.len && text.at[0] == '/')
        text = skip(text, 1);
    while (text.len && text.at[text.len - 1] == '/')
        text.len--;
    bool is_wrong = text.len && !parse_db(text, &url->db);
    free(owned);
    return is_wrong ? "the database is not a number, as in redis://host:6379/0 (a '/' in a "
                      "password must be percent-encoded)"
                    : NULL;
}

// unix://[user:password@]/path: a host there means nothing.
static const char *parse_socket(struct redis_url *url, struct view authority, struct view path)
{
    const char *at = authority.len ? memrchr(authority.at, '@', authority.len) : NULL;
    if (at)
        parse_user_info(url, (struct view){ authority.at, (size_t)(at - authority.at) });
    set_text(&url->host, unquote(path));
    return url->host ? NULL : "there is no path, as in unix:///run/redis/redis.sock";
}

static const char *parse_scheme(struct redis_url *url, struct view *rest)
{
    struct view scheme = take_until(rest, ":");
    url->tls = view_eq_nocase(scheme, VIEW("rediss"));
    url->unix_socket = view_eq_nocase(scheme, VIEW("unix"));
    if (!view_starts(*rest, VIEW("://")) ||
        !(url->tls || url->unix_socket || view_eq_nocase(scheme, VIEW("redis"))))
        return "it begins with none of: redis://, rediss://, unix://";
    *rest = skip(*rest, 3);
    return NULL;
}

// As redis-py has it, user and password before the '@' win over those in the query, but a
// db in the query wins over the path, which then means nothing. The path comes last: if a
// password was not escaped, the port is often wrong too, and its sentence says more.
static const char *parse(struct redis_url *url, struct view text)
{
    const char *wrong = parse_scheme(url, &text);
    if (wrong)
        return wrong;
    struct view query = take_until(&text, "#"); // a fragment means nothing
    struct view path = take_until(&query, "?");
    struct view authority = take_until(&path, "/");

    wrong = parse_query(url, skip(query, query.len ? 1 : 0));
    if (wrong)
        return wrong;
    bool is_db_known = url->db != DB_UNKNOWN;
    if (!is_db_known)
        url->db = 0;
    if (url->unix_socket)
        return parse_socket(url, authority, path);
    wrong = parse_authority(url, authority);
    return wrong || is_db_known ? wrong : parse_db_path(url, path);
}

const char *redis_url_parse(struct view text, struct redis_url *out)
{
    struct redis_url url = {
        .port = DEFAULT_PORT, .db = DB_UNKNOWN, .verify_cert = true, .verify_host = true
    };
    text = view_trim(text);
    if (text.len && memchr(text.at, '\0', text.len))
        return "it holds a NUL character";

    const char *wrong = parse(&url, text);
    if (wrong)
        redis_url_done(&url);
    else
        *out = url;
    return wrong;
}

void redis_url_done(struct redis_url *url)
{
    free(url->host);
    free(url->user);
    free(url->password);
    free(url->ca_file);
    free(url->cert_file);
    free(url->key_file);
    *url = (struct redis_url){ 0 };
}

void redis_url_show(const struct redis_url *url, struct buffer *out)
{
    if (url->unix_socket) {
        buffer_printf(out, "unix://%s?db=%d", url->host, url->db);
        return;
    }
    bool is_ipv6 = strchr(url->host, ':') != NULL;
    buffer_printf(out, "%s://%s%s%s:%d/%d", url->tls ? "rediss" : "redis", is_ipv6 ? "[" : "",
                  url->host, is_ipv6 ? "]" : "", url->port, url->db);
}
