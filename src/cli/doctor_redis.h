// What `doctor` asks Redis: is it there, what may the broker do, and does it keep what the
// broker is to replay. Writes nothing.
#pragma once

#include "cli/findings.h"
#include "shared/config.h"

void doctor_ask_redis(const struct config *c, struct findings *f);
