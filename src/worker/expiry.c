#include "worker/expiry.h"

#include <jansson.h>

#include "base/clock.h"
#include "wire/token.h"
#include "worker/admission.h"
#include "worker/closing.h"
#include "worker/flush.h"

#define EXPIRING_S 30
#define AUTHS_AT_ONCE 10 // then one each AUTH_MS
#define AUTH_MS 1000
#define SAY_EVERY_MS 1000

void expiry_watch(struct client *c)
{
    struct clients *all = c->all;
    const struct config *config = all->config;
    int64_t soon_s =
        EXPIRING_S + config->ping_seconds + config->pong_seconds + COMMENT_MS / MS_PER_S;
    if (c->expiry_s == 0 || c->expiry_s - clock_wall_ms() / MS_PER_S > soon_s ||
        (c->extra && c->extra->ending))
        return;
    if (all->ending_len == all->ending_cap) {
        all->ending_cap = all->ending_cap ? all->ending_cap * 2 : 64;
        all->ending = realloc(all->ending, all->ending_cap * sizeof(struct client *));
        CHECK(all->ending != NULL);
    }
    struct extra *x = client_extra(c);
    x->ending = true;
    x->told_expiring = false;
    x->ending_at = all->ending_len;
    all->ending[all->ending_len++] = c;
}

void expiry_look(struct client *c, int64_t now_ms)
{
    int64_t left_ms = c->expiry_s * MS_PER_S - now_ms;
    if (left_ms < 0) {
        close_open(c, WS_CLOSE_EXPIRED, VIEW("the token has expired"), RECONNECT_MIN_MS,
                   "token expired");
    } else if (left_ms <= EXPIRING_S * MS_PER_S && !c->extra->told_expiring) {
        c->extra->told_expiring = true;
        c->extra->says_expiring = client_tells(c) && !client_is_sse(c);
        client_flush(c);
    }
}

// ---- the in-band message --------------------------------------------------------

// The token of an auth message, to be freed; NULL: the text is none.
static char *read_auth(struct view message)
{
    json_t *json = json_loadb(message.at, message.len, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(json, "type"));
    const char *token = json_string_value(json_object_get(json, "token"));
    char *copy = type && token && strcmp(type, "auth") == 0 ? strdup(token) : NULL;
    json_decref(json);
    return copy;
}

static bool comes_too_often(struct client *c)
{
    struct extra *x = client_extra(c);
    int64_t now_ms = c->all->loop->now_ms;
    if (x->auth_from_ms < now_ms)
        x->auth_from_ms = now_ms;
    x->auth_from_ms += AUTH_MS;
    return x->auth_from_ms - now_ms > AUTHS_AT_ONCE * AUTH_MS;
}

// The door counts bad tokens of an address, wherever they come.
static bool guesses(struct client *c)
{
    enum door_verdict verdict = door_bad_token_of(c->all->door, c->visitor, c->all->loop->now_ms);
    return verdict != DOOR_OPEN;
}

static void say_renewal(struct client *c, enum token_verdict verdict)
{
    static struct say_limit limit;
    uint64_t not_said;
    if (say_limited(&limit, c->all->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_INFO, "token_renewal", SAY_V("stream", stream_id(c->sub.stream)),
            SAY_S("verdict", token_verdict_name(verdict)), SAY_NOT_SAID(not_said));
}

static void renew(struct client *c, const char *token)
{
    struct clients *all = c->all;
    struct view secrets[ADMISSION_SECRETS];
    int64_t expiry_s = 0;
    admission_secrets(all->config, secrets);
    enum token_verdict verdict = token_verify(view_of(token), stream_id(c->sub.stream), secrets,
                                              ADMISSION_SECRETS, clock_wall_ms(), &expiry_s);
    say_renewal(c, verdict);
    if (verdict == TOKEN_OK) {
        c->expiry_s = expiry_s;
        client_forget_ending(c);
        expiry_watch(c);
    } else if (guesses(c)) {
        close_with(c, WS_CLOSE_POLICY, VIEW("too many bad tokens"), "guesses tokens");
        return;
    }
    client_extra(c)->says_expiring = true;
    client_flush(c);
}

void expiry_take_message(struct client *c, struct view message)
{
    char *token = message.len <= AUTH_MAX ? read_auth(message) : NULL;
    if (token == NULL)
        return;
    if (comes_too_often(c))
        close_with(c, WS_CLOSE_POLICY, VIEW("too many auth messages"), "renews too often");
    else
        renew(c, token);
    free(token);
}
