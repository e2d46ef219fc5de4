// The plain HTTP pages. Pure: they append a whole reply.
#pragma once

#include "base/base.h"
#include "wire/http.h"

struct page_state {
    bool readable; // Redis can be read
    bool draining;
};

// Answers `req` when its path is a page of ours (true); false: not ours.
bool page_answer(const struct http_request *req, struct page_state state, struct buffer *out);
// What a path that nobody knows gets: exactly FastAPI's, which existing clients see.
void page_not_found(struct buffer *out, bool keep_alive);
void page_method_not_allowed(struct buffer *out, bool keep_alive); // but GET
