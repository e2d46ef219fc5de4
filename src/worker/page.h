// The plain HTTP pages. Pure: they append a whole reply, with its body even to a HEAD.
#pragma once

#include "base/base.h"
#include "wire/http.h"

struct page_state {
    bool readable;    // Redis can be read
    bool leaving;     // the broker is going away
    struct view date; // the line of the Date header, which each reply gets
};

// Answers `req` when its path is a page of ours (true); false: not ours.
bool page_answer(const struct http_request *req, struct page_state state, struct buffer *out);
// What a path that nobody knows gets: the JSON of FastAPI, which existing clients see.
void page_not_found(const struct http_request *req, struct view date, struct buffer *out);
// allow: the methods that the path has, as in "GET, OPTIONS".
void page_method_not_allowed(const struct http_request *req, const char *allow, struct view date,
                             struct buffer *out);
