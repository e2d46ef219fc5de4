// What Redis says over a source's link: replies to what was asked (asks.h), and pushes of
// what changed. What a reply says of a stream is the feed's to know (feed.h); here is
// what it may say besides: errors, of one stream or of the whole server.
#pragma once

#include "tail/source.h"

void answers_take(struct source *s, struct view reply);     // to the oldest ask
void answers_take_push(struct source *s, struct view push); // what changed
// The link broke: nothing that was asked will be answered.
void answers_lost(struct source *s);
