// What a request gets: a page, a refusal, or a place in a stream. On the worker's
// thread.
#pragma once

#include "worker/client.h"

void answer_request(struct client *c, const struct http_request *req);
