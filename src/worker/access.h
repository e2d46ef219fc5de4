// Who may see how the broker fares (/metrics, /stats, /streams): who has the admin token, or,
// where there is none, whoever calls from this machine and through no proxy. Pure.
#pragma once

#include "worker/admission.h"

// False: *no says why not.
bool access_check(const struct http_request *req, const struct config *config, bool is_loopback,
                  struct refusal *no);
