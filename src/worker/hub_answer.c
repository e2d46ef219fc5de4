#include "worker/hub_answer.h"

#include "base/clock.h"
#include "worker/admission.h"
#include "worker/closing.h"
#include "worker/tell.h"

#define SAY_EVERY_MS 1000

void hub_refuse(struct client *c, const struct answer_to *to, const char *code, const char *detail)
{
    static struct say_limit limit;
    uint64_t not_said;
    struct buffer *text = tell_empty_text(c);
    notice_refused(text, to->is_pattern, to->name, code, detail, to->ref);
    tell_text(c, client_hub(c)->form, "refused", text);
    clients_count_refusal(c->all, code);
    if (say_limited(&limit, c->all->loop->now_ms, SAY_EVERY_MS, &not_said))
        say(SAY_INFO, "refused", SAY_S("code", code),
            SAY_V(to->is_pattern ? "pattern" : "stream", to->name), SAY_S("detail", detail),
            SAY_I("not_said", (int64_t)not_said));
}

enum token_verdict hub_verify(const struct clients *all, const struct subscribe_options *o,
                              struct view name, int64_t *expiry_s)
{
    return admission_verify(all->config, o->token, o->scope, name, clock_wall_ms(), expiry_s);
}

void hub_bad_token(struct client *c)
{
    if (c->visitor &&
        door_bad_token_of(c->all->door, c->visitor, c->all->loop->now_ms) != DOOR_OPEN)
        close_with(c, WS_CLOSE_POLICY, VIEW("too many bad tokens"), "guesses tokens");
}

bool hub_check_token(struct client *c, const struct answer_to *to,
                     const struct subscribe_options *o, int64_t *expiry_s)
{
    enum token_verdict verdict = hub_verify(c->all, o, to->name, expiry_s);
    if (verdict == TOKEN_OK)
        return true;
    hub_refuse(c, to, token_verdict_name(verdict), token_verdict_sentence(verdict));
    if (verdict != TOKEN_MISSING)
        hub_bad_token(c);
    return false;
}

bool hub_may_answer(const struct client *c)
{
    return c->state == CLIENT_OPEN && c->extra->outbox.bytes < OUTBOX_MAX &&
           list_empty(&client_hub(c)->endings);
}

void hub_mind_empty(struct client *c)
{
    struct hub *h = client_hub(c);
    bool is_empty = h->count == 0 && h->interest_count == 0;
    if (is_empty && !deadline_armed(&h->empty))
        deadline_arm(&c->all->no_seats, &h->empty, c->all->loop->now_ms);
}
