// Redis answers a read with an error. Whose is it: this stream's, or the whole server's?
//
//   WRONGTYPE, NOPERM                      the stream's, for good: its clients get 1011
//   LOADING, MASTERDOWN, BUSY,
//   CLUSTERDOWN, NOAUTH                    the server's
//   anything else: MOVED, ASK, and         the server's, if no stream can be read, or if this
//   what proxies make up                   one could be until now; else it is this stream's
//
// While it is the server's, Redis counts as unreadable: clients are told `stale`, /ready
// says 503. All reads wait for a moment, then some are tried, until one brings data.
//
// An error that may be this stream's alone is tried again a few times, while another
// stream, a witness, is read too: if that brings data, the stream's clients get 1011, so
// that they do not wait in silence; if it does not, it was the server's.
#pragma once

#include "tail/source.h"

void trouble_init(struct source *s);
void trouble_reset(struct source *s); // another connection: nothing is known of it
// Once a turn: while there is trouble, some stream is read that will tell of its end.
void trouble_look(struct source *s);
// A read of that stream was answered with data, or with an error. The latter may drop it.
void trouble_none(struct feed *f);
void trouble_error(struct feed *f, struct view error);
