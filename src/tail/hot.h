// Which streams are waited for on a source's hotline: those that changed last, unless so
// much changes that a round for each change would cost Redis more than it saves.
//
// What the hotline answers, the feed takes "beside" its reads (feed_take_beside): only if
// it is plainly what we had, and then something new. All else is read on the link.
#pragma once

#include "tail/source.h"

extern const struct hotline_events hot_events; // the hotline's, with the source as ctx

void hot_init(struct source *s);
void hot_wait(struct source *s);        // once a turn, behind the turn's reads
void hot_count_reads(struct source *s); // once a second: is it too busy for the hotline?
// Redis pushed that a hot stream changed: the hotline brings it; but a DEL does not end
// an XREAD, so it is read on the link too, a little later.
void hot_changed(struct feed *f);
