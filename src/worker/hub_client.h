// A client of many streams: how it comes in, what it asks for in-band, how it is sent away
// (docs/protocol.md, 19). On the worker's thread.
#pragma once

#include "worker/admission.h"
#include "worker/client.h"

// Lets it in, and subscribes to the streams that the handshake names. Takes over visitor.
void hub_open(struct client *c, const struct admission *a, struct view handshake,
              struct visitor *visitor);

// A whole message. It is carried out as far as the answers leave; the rest of it follows
// with hub_go_on, and until then no other message may be taken (hub_is_busy).
void hub_take_message(struct client *c, bool is_text, struct view message);
void hub_go_on(struct client *c);
bool hub_is_busy(const struct client *c);

// The stream cannot be followed: this seat ends, and the others go on.
void hub_fail_seat(struct seat *seat, int code, struct view reason);

// Live expiry: looks at the seats' tokens when something is due. now_ms: Unix time.
void hub_look_at_expiry(struct client *c, int64_t now_ms);

bool hub_has_caught_up(const struct client *c);

void hub_empty_due(struct deadline *d); // it has subscribed to nothing for too long
