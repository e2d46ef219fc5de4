// What the broker tells one client of itself, besides the events that all hear: `hello`,
// `live`, its own gaps, `source`, `expiring`. Each goes into the client's outbox, in its
// stream's form; the caller sees to it that the outbox is between two frames.
#pragma once

#include "worker/client.h"

// On a shared socket `names` is true: `source` and `expiring` say which stream they are of.

// `hello`: the window as it is now begins at window_ms, Redis's clock.
void tell_hello(struct client *c, const struct stream *s, int64_t window_ms, struct view ref);
void tell_gap(struct client *c, const struct stream *s, const struct gap *gap);
void tell_source(struct client *c, const struct stream *s, bool names); // stale or ok, as it is
// All that there was when the client came has been sent, up to seq.
// known: the newest id of the stream when the client got its place.
void tell_live(struct client *c, const struct stream *s, uint64_t seq, struct eventid known);
void tell_expiring(struct client *c, const struct stream *s, bool names, int64_t expiry_s);
void tell_closing(struct client *c, int code, struct view reason, int64_t reconnect_ms);
// One of notice.h's texts, in a form that tells.
void tell_text(struct client *c, enum form form, const char *name, const struct buffer *json);
struct buffer *tell_empty_text(struct client *c); // to write it into

// `stale` is due at once, `ok` when the client has had what it missed.
bool tell_source_is_due(const struct client *c);
bool tell_live_is_due(const struct client *c);

// Where who stands at seq is: to resume from here loses nothing. 0-0: nowhere.
struct eventid tell_id_before(const struct stream *s, uint64_t seq);
// Where the client is: to resume from here loses nothing. 0-0: it is nowhere yet.
struct eventid tell_last_id(const struct client *c);
