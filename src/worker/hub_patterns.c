#include "worker/hub_patterns.h"

#include "base/clock.h"
#include "worker/admission.h"
#include "worker/seat.h"
#include "worker/tell.h"

#define STEPS_PER_TURN 1024 // seats that are made or ended, over all clients of a worker
#define SLICE 64            // of them for one client, before the next one has its turn
#define CLOCK_ERROR_MS 20   // what is known of Redis's clock may be ahead by so much

// ---- subscribing ----------------------------------------------------------------

static void keep_ref(struct view ref, char *out, uint8_t *len, bool *has_ref)
{
    *has_ref = ref.at != NULL;
    *len = (uint8_t)ref.len;
    if (ref.len)
        memcpy(out, ref.at, ref.len);
}

// Who has something to take or to say.
static void call(struct interest *i)
{
    list_move(&i->pattern->all->behind, &i->node);
}

static void watch_expiry(struct interest *i, int64_t expiry_s)
{
    struct hub *h = i->hub;
    i->has_expiry = h->client->all->config->expire_live;
    i->expiry_s = expiry_s;
    i->told_expiring = false;
    if (i->has_expiry && expiry_s - EXPIRING_S < h->look_at_s)
        h->look_at_s = expiry_s - EXPIRING_S;
}

// Live means from now on, whenever the stream is found.
static struct start fix_start(struct start start, int64_t time_ms)
{
    if (start.kind == START_LIVE || start.kind == START_LAST)
        start.at_ms = time_ms;
    return start;
}

static bool has_room(struct client *c, const struct answer_to *to)
{
    if (client_hub(c)->interest_count < HUB_PATTERNS_MAX)
        return true;
    hub_refuse(c, to, "too_many_streams", "this connection has as many patterns as it may have");
    return false;
}

static void begin(struct client *c, struct pattern *p, const struct answer_to *to,
                  const struct subscribe_options *o, const struct wish *wish, int64_t expiry_s)
{
    struct hub *h = client_hub(c);
    struct interest *i = hub_add_interest(h, p);
    const char *wrong = NULL;
    if (o->after.len)
        wrong = "after of a pattern is an object from stream to id, and the handshake's is none";
    size_t most = (size_t)c->all->config->max_streams_per_client;
    if (!wrong && !interest_add_bookmarks(i, o->after_ids, most))
        wrong = "after of a pattern is an object from stream to id, for at most as many streams "
                "as BOND_MAX_STREAMS_PER_CLIENT";
    if (wrong) {
        hub_refuse(c, to, "bad_request", wrong);
        hub_drop_interest(i);
        return;
    }
    i->slow = wish->slow & 3;
    i->every_ms = wish->every_ms & ((1u << 22) - 1);
    i->time_ms = clients_redis_now_ms(c->all) - CLOCK_ERROR_MS;
    i->start = fix_start(wish->start, i->time_ms);
    keep_ref(to->ref, i->ref, &i->ref_len, &i->has_ref);
    watch_expiry(i, expiry_s);
    deadline_cancel(&h->empty);
    client_recount(c, false);
    deadline_arm(&c->all->pattern_joins, &i->join, c->all->loop->now_ms);
    if (p->is_heard)
        call(i);
}

void hub_subscribe_pattern(struct client *c, const struct answer_to *to,
                           const struct subscribe_options *o, const struct wish *wish)
{
    struct hub *h = client_hub(c);
    int64_t expiry_s = 0;
    if (!c->all->config->patterns) {
        hub_refuse(c, to, "patterns_off", "this broker takes no patterns (BOND_PATTERNS=0)");
        return;
    }
    if (!hub_check_token(c, to, o, &expiry_s))
        return;
    struct interest *known = hub_find_interest(h, to->name);
    if (known && known->is_ending) { // by itself: when it has, this is carried out
        h->awaited = known;
        h->command.next--;
        return;
    }
    if (known) {
        hub_refuse(c, to, "already_subscribed", "this connection has the pattern already");
        return;
    }
    if (!has_room(c, to))
        return;
    struct pattern *p = patterns_find(c->all->patterns, to->name);
    if (p)
        begin(c, p, to, o, wish, expiry_s);
    else
        hub_refuse(c, to, "unavailable", "the broker looks for as many patterns as it may");
}

void hub_pattern_join_due(struct deadline *d)
{
    call(CONTAINER_OF(d, struct interest, join));
}

// ---- ending ---------------------------------------------------------------------

static void end_later(struct interest *i, int code, const char *reason, struct view ref)
{
    if (i->is_ending)
        return;
    i->is_ending = true;
    i->end_code = code;
    i->end_reason = reason;
    i->end_at = 0;
    keep_ref(ref, i->end_ref, &i->end_ref_len, &i->has_end_ref);
    call(i);
}

void hub_unsubscribe_pattern(struct client *c, const struct answer_to *to)
{
    struct hub *h = client_hub(c);
    struct interest *i = hub_find_interest(h, to->name);
    if (i == NULL || i->is_ending) {
        hub_refuse(c, to, "not_subscribed", "this connection does not have that");
        return;
    }
    end_later(i, WS_CLOSE_NORMAL, "unsubscribed", to->ref);
    h->awaited = i; // the next command must not find it half gone
}

// Others may leave in between, and slots then move to lower places: so it looks again.
static void end_seats(struct interest *i, size_t most)
{
    struct hub *h = i->hub;
    for (size_t steps = h->slot_count + most; steps > 0 && i->seats > 0 && most > 0; steps--) {
        if (i->end_at >= h->slot_count)
            i->end_at = 0;
        struct seat *seat = h->slots[i->end_at];
        if (seat && seat_interest(seat) == i->number) {
            seat_end(seat, i->end_code, view_of(i->end_reason), (struct view){ 0 });
            most--;
        } else {
            i->end_at++;
        }
    }
}

static void end_some(struct interest *i, size_t most)
{
    struct client *c = i->hub->client;
    end_seats(i, most);
    if (i->seats > 0) {
        call(i);
        return;
    }
    hub_end_interest(i);
    hub_mind_empty(c);
}

// Before `subscribed` was said, it is refused.
static void fail(struct interest *i)
{
    struct client *c = i->hub->client;
    const struct answer_to to = { pattern_text(i->pattern), true, interest_ref(i) };
    if (i->is_said) {
        end_later(i, WS_CLOSE_FAILURE, i->pattern->failure, (struct view){ 0 });
        return;
    }
    hub_refuse(c, &to, "unavailable", i->pattern->failure);
    hub_drop_interest(i);
    hub_mind_empty(c);
}

// ---- what it is handed ----------------------------------------------------------

static void say_subscribed(struct client *c, struct interest *i)
{
    struct buffer *text = tell_empty_text(c);
    notice_subscribed(text, pattern_text(i->pattern), i->time_ms, interest_ref(i));
    tell_text(c, client_hub(c)->form, "subscribed", text);
    deadline_cancel(&i->join);
    i->is_said = true;
}

static void say_expiring(struct client *c, struct interest *i)
{
    struct buffer *text = tell_empty_text(c);
    notice_expiring_pattern(text, pattern_text(i->pattern),
                            i->expiry_s - clock_wall_ms() / MS_PER_S);
    tell_text(c, client_hub(c)->form, "expiring", text);
    i->says_expiring = false;
}

// A stream that the client has already is passed over.
static void hand(struct client *c, struct interest *i, struct view id)
{
    struct hub *h = client_hub(c);
    const struct answer_to to = { .name = id };
    struct stream *known = streams_known(c->all->streams, h->form, id);
    if (known && hub_find(h, known))
        return;
    if (h->count >= (size_t)c->all->config->max_streams_per_client) {
        hub_refuse(c, &to, "too_many_streams",
                   "it matches a pattern, but this connection has as many streams as it may "
                   "have (BOND_MAX_STREAMS_PER_CLIENT)");
        return;
    }
    struct seat *seat = hub_sit(h, known ? known : streams_find(c->all->streams, h->form, id));
    const struct start start = interest_start_in(i, id);
    seat->by_pattern = true;
    seat->interest_number = i->number;
    seat->slow = i->slow;
    seat->every_ms = i->every_ms;
    if (i->every_ms > 0)
        pace_join(&c->all->paces, seat->stream, i->every_ms);
    i->seats++;
    seat_start(seat, &start, (struct view){ 0 });
}

static void hand_some(struct client *c, struct interest *i, size_t most)
{
    struct name *name = NULL;
    for (; most > 0 && hub_may_answer(c); most--) {
        name = pattern_name_from(i->pattern, i->next_seq);
        if (name == NULL)
            break;
        i->next_seq = name->seq + 1;
        hand(c, i, name_view(name));
    }
    client_recount(c, false);
    if (name)
        call(i); // there may be more
    else
        list_move(&i->pattern->idle, &i->node);
}

static void serve(struct interest *i)
{
    struct client *c = i->hub->client;
    hub_call(i->hub);
    if (!hub_may_answer(c)) {
        list_move(&i->hub->stalled, &i->node);
    } else if (i->is_ending) {
        end_some(i, SLICE);
    } else if (i->pattern->failure) {
        fail(i);
    } else {
        if (!i->is_said)
            say_subscribed(c, i);
        if (i->says_expiring)
            say_expiring(c, i);
        hand_some(c, i, c->all->draining ? 0 : SLICE); // who is sent away gets no more streams
    }
}

bool hub_patterns_turn(struct clients *all)
{
    struct list *behind = &all->patterns->behind;
    for (size_t slices = STEPS_PER_TURN / SLICE; slices > 0 && !list_empty(behind); slices--)
        serve(LIST_ITEM(behind->next, struct interest, node));
    return !list_empty(behind);
}

void hub_patterns_wake(struct client *c)
{
    struct hub *h = client_hub(c);
    if (h && !list_empty(&h->stalled) && hub_may_answer(c))
        list_take_all(&c->all->patterns->behind, &h->stalled);
}

// ---- live expiry ----------------------------------------------------------------

static void look_at(struct interest *i, int64_t now_ms)
{
    struct hub *h = i->hub;
    int64_t left_ms = i->expiry_s * MS_PER_S - now_ms;
    if (left_ms < 0) {
        end_later(i, WS_CLOSE_EXPIRED, "the token has expired", (struct view){ 0 });
        return;
    }
    if (left_ms <= EXPIRING_S * MS_PER_S && !i->told_expiring) {
        i->told_expiring = i->says_expiring = true;
        call(i);
    }
    int64_t next_s = i->told_expiring ? i->expiry_s : i->expiry_s - EXPIRING_S;
    if (next_s < h->look_at_s)
        h->look_at_s = next_s;
}

void hub_patterns_look_at_expiry(struct client *c, int64_t now_ms)
{
    const struct hub *h = client_hub(c);
    for (size_t n = 0; h->interests && n < HUB_PATTERNS_MAX; n++)
        if (h->interests[n] && h->interests[n]->has_expiry && !h->interests[n]->is_ending)
            look_at(h->interests[n], now_ms);
}

size_t hub_patterns_renew(struct client *c, const struct subscribe_options *o)
{
    const struct hub *h = client_hub(c);
    size_t renewed = 0;
    for (size_t n = 0; h->interests && n < HUB_PATTERNS_MAX; n++) {
        struct interest *i = h->interests[n];
        int64_t expiry_s;
        if (i == NULL || i->is_ending ||
            hub_verify(c->all, o, pattern_text(i->pattern), &expiry_s) != TOKEN_OK)
            continue;
        watch_expiry(i, expiry_s);
        i->says_expiring = true;
        call(i);
        renewed++;
    }
    return renewed;
}
