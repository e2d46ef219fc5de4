// A client of the brokers, as a state machine: of a stream, in one format, over its reconnects.
// It speaks the protocol byte by byte, checks what a single connection can (docs/protocol.md),
// and writes down what it had for the judge.
//
//   AWAY ──again──▶ CONNECTING ──▶ HEAD ──101 or 200──▶ OPEN ──closed, cut, tired──▶ AWAY
//
// A *steady* one never misbehaves and reads at once: a witness. The others do what the world's
// plan tells them: they stall, hang up in the midst of a frame, go silent, send garbage and
// floods, and come back, to whichever broker, with the id that they had last.
#pragma once

#include <zlib.h>

#include "brokers.h"
#include "publisher.h"
#include "record.h"

#define GUEST_SECRET "a secret of the simulated world"

enum guest_kind { GUEST_ENVELOPE, GUEST_SSE, GUEST_RAW, GUEST_HISTORY };

enum guest_state { GUEST_AWAY, GUEST_CONNECTING, GUEST_HEAD, GUEST_OPEN };

struct guest {
    int number;
    char name[24];
    enum guest_kind kind;
    bool steady, deflates, skips, slow_reader;
    struct publisher *stream;
    struct brokers *brokers;
    struct rng rng;
    struct record record;
    int token_s; // how long its tokens live, with live expiry; 0: without it

    enum guest_state state;
    struct end *end;
    int broker;
    struct event wake, again;
    int64_t stalled_until_us, wishes_us; // it reads no sooner; when it would like to be woken
    struct buffer in, out;
    size_t taken; // bytes of `in` that have been looked at
    z_stream inflater;
    struct item opening; // what the handshake asked for
    int close_code;
    bool greeted, told_closing, was_live, is_stale; // it was told so
    char sse_event[16], sse_id[EVENTID_MAX + 1];
    struct buffer sse_data;
    bool sse_has_data;

    struct eventid last, place; // the last event's id; what `live` named, where it had none
    bool has_last, has_place;
    int newest; // the place of the newest event that it had; -1: none
    int refusals;
    bool hurries; // the faults are over: come back soon, do not misbehave
};

void guest_init(struct guest *g, int number, struct publisher *stream, struct brokers *brokers,
                uint64_t seed);
void guest_done(struct guest *g);
void guest_start(struct guest *g);

// What a plan may tell it; nothing happens where it does not fit its state.
void guest_stall(struct guest *g, int64_t for_us); // reads nothing
void guest_leave(struct guest *g);                 // closes as one should
void guest_abort(struct guest *g);                 // resets the connection, wherever it is
void guest_go_silent(struct guest *g); // half-open: its machine is gone, and nobody knows
void guest_talk(struct guest *g);      // messages that mean nothing, in fragments
void guest_flood(struct guest *g, int pings);
void guest_send_garbage(struct guest *g);
void guest_hurry(struct guest *g);

// For the readers of one format (guest_ws.c, guest_sse.c).
bool guest_take_ws(struct guest *g); // what has come; false: it is over
bool guest_take_sse(struct guest *g);
bool guest_take_history(struct guest *g);
void guest_send_frame(struct guest *g, int head, struct view payload);
void guest_note_event(struct guest *g, struct view data, bool has_id, struct eventid id);
void guest_note_gap(struct guest *g, struct view json);
void guest_note_live(struct guest *g, struct view json);
void guest_note_source(struct guest *g, struct view json);
void guest_renew_token(struct guest *g);
void guest_complain(struct guest *g, const char *what, struct view about);
