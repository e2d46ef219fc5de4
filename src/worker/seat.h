// What happens to one seat of a hub: it waits for its stream, begins, is told what is its own
// to know, falls behind, ends. (hub.h has the seats themselves.)
#pragma once

#include "worker/client.h"
#include "worker/hub.h"

#define SEAT_JOIN_MS 1000 // then a seat whose stream is not primed says so

// Has just been made: begins, or waits until its stream is primed. ref: of the command.
void seat_start(struct seat *seat, const struct start *start, struct view ref);
// The stream is primed, or (`refreshed`) has been read again. Nothing, if it has to ask first.
void seat_begin(struct seat *seat, bool refreshed);
void seat_join_due(struct deadline *d);

// The log drops what lies before first_seq; the seat stands before it.
void seat_fall_behind(struct seat *seat, uint64_t first_seq);

// Its stream has news, or Redis is (un)readable: it is ready, if that is something to it.
void seat_look(struct seat *seat);
// Puts into the outbox what is due before its next event.
void seat_say(struct seat *seat);
// Up to where its events may be sent now; its own place if none may.
uint64_t seat_may_send_to(const struct seat *seat);
// It has neither anything to send nor to say.
bool seat_is_done(const struct seat *seat);

// Ends it, between two frames: `unsubscribed` follows.
void seat_end(struct seat *seat, int code, struct view reason, struct view ref);

// Where it is: to resume from here loses nothing. 0-0: nowhere.
struct eventid seat_last_id(const struct seat *seat);

void hub_call(struct hub *h); // it is flushed in this turn, unless its socket takes nothing now
