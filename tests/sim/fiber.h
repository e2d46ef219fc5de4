// A thread of a simulated process, as a coroutine: a stack of its own, entered by the
// scheduler, left where the thread would wait. One runs at a time, so that the order in
// which threads run is the scheduler's choice alone.
//
// Coroutines and not loops that are stepped: broker_run() itself, with its start, its
// sigwait and its drain, runs as it is, and a thread can be left at any call, so that
// another one comes in between. A switch costs some 5 ns (x86-64; elsewhere ucontext does
// it, with two system calls).
#pragma once

#include "base/base.h"

struct fiber;

struct fiber *fiber_new(void (*run)(void *arg), void *arg);
void fiber_free(struct fiber *f); // wherever it stands: what is on its stack is forgotten

void fiber_enter(struct fiber *f); // until it leaves or its run returns
void fiber_leave(void);            // in a fiber: back to who entered it
bool fiber_has_ended(const struct fiber *f);
