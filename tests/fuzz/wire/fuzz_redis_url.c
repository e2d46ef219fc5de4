// A URL that is taken can be connected to and is shown without its secrets: what
// is shown is a URL that means the same place. Input: the URL.
#include "wire/redis_url.h"

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

// Characters of a host or path that show leaves as they are, but parse would not:
// then what is shown is for people only.
static bool is_plain(const char *text)
{
    return !strpbrk(text, "%/?#@[] \t") && text[0];
}

static void check_taken(const struct redis_url *url)
{
    CHECK(url->host && url->host[0]);
    CHECK(url->port > 0 && url->port <= 65535 && url->db >= 0);
    CHECK(!(url->unix_socket && url->tls));
    CHECK(url->verify_cert || !url->verify_host);
    CHECK(!url->user || url->user[0]);
    CHECK(!url->password || url->password[0]);
}

static void check_shown(const struct redis_url *url)
{
    struct buffer shown = { 0 };
    struct redis_url again;
    redis_url_show(url, &shown);
    if (!url->unix_socket && is_plain(url->host)) {
        CHECK(redis_url_parse(buffer_view(&shown), &again) == NULL);
        CHECK(same_text(again.host, url->host) && again.port == url->port && again.db == url->db);
        CHECK(again.tls == url->tls && !again.user && !again.password);
        redis_url_done(&again);
    }
    buffer_free(&shown);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_url url;
    const char *wrong = redis_url_parse((struct view){ (const char *)data, size }, &url);
    if (wrong) {
        CHECK(wrong[0] != '\0');
        return 0;
    }
    check_taken(&url);
    check_shown(&url);
    redis_url_done(&url);
    CHECK(!url.host && !url.password);
    return 0;
}
