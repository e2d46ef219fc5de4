// What all writes to clients share: the control frames that are due, and the system call.
#pragma once

#include "worker/client.h"

// A pong that answers the newest ping (RFC 6455 s. 5.5.3), at the next flush.
void client_pong(struct client *c, struct view payload);

// Pings, comments and pongs that are due go into the outbox; are there any?
void client_queue_control(struct client *c);
bool client_has_control(const struct client *c);

ssize_t client_write(int fd, struct iovec *pieces, size_t count); // send(2), sendmsg(2)
