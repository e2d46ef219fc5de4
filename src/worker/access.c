#include "worker/access.h"

#include "base/hash.h"

#define CREDENTIALS_MAX 1024

// A browser asks for the password then, with any user.
#define CHALLENGE "WWW-Authenticate: Basic realm=\"bond-broker\", charset=\"UTF-8\"\r\n"

static bool take_scheme(struct view *header, struct view scheme)
{
    if (header->len <= scheme.len ||
        !view_eq_nocase((struct view){ header->at, scheme.len }, scheme))
        return false;
    *header = view_trim((struct view){ header->at + scheme.len, header->len - scheme.len });
    return true;
}

// What stands behind the first colon of "user:password".
static bool password_is(struct view base64, struct view token)
{
    char text[CREDENTIALS_MAX];
    ptrdiff_t len = hash_base64_bytes(base64);
    if (len < 0 || (size_t)len > sizeof(text))
        return false;
    hash_base64_decode(base64, (uint8_t *)text);
    const char *colon = memchr(text, ':', (size_t)len);
    if (colon == NULL)
        return false;
    struct view password = { colon + 1, (size_t)(text + len - (colon + 1)) };
    return hash_equal(password, token);
}

static bool has_token(const struct http_request *req, struct view token)
{
    struct view header = http_header(req, "Authorization");
    if (take_scheme(&header, VIEW("Bearer ")))
        return hash_equal(header, token);
    return take_scheme(&header, VIEW("Basic ")) && password_is(header, token);
}

// A proxy on this machine would make everybody a local caller. Those that are set up as
// usual say whom they speak for.
static bool came_through_a_proxy(const struct http_request *req)
{
    static const char *const headers[] = { "X-Forwarded-For", "Forwarded", "X-Real-IP", "Via" };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        if (http_header_count(req, headers[i]) > 0)
            return true;
    return false;
}

bool access_check(const struct http_request *req, const struct config *config, bool is_loopback,
                  struct refusal *no)
{
    struct view token = view_of(config->admin_token);
    if (token.len > 0 && has_token(req, token))
        return true;
    if (token.len > 0 && http_header_count(req, "Authorization") == 0)
        *no = (struct refusal){ 401, "token_missing",
                                "the admin token is needed (BOND_ADMIN_TOKEN), as a Bearer token "
                                "or as the password of any user",
                                CHALLENGE };
    else if (token.len > 0)
        *no = (struct refusal){ 401, "token_invalid", "this is not the admin token", CHALLENGE };
    else if (!is_loopback || came_through_a_proxy(req))
        *no = (struct refusal){ 403, "forbidden",
                                "without an admin token (BOND_ADMIN_TOKEN) only callers on the "
                                "broker's own machine may see this",
                                "" };
    else
        return true;
    return false;
}
