// REDIS_URL as redis-py reads it. Pure.
#pragma once

#include "base/base.h"

struct redis_url {
    bool unix_socket, tls;
    char *host;            // or the socket's path
    int port;              // 6379 where none is given
    char *user, *password; // NULL where none is given
    int db;
    char *ca_file;              // ssl_ca_certs
    char *cert_file, *key_file; // ssl_certfile, ssl_keyfile
    bool verify_cert;           // false with ssl_cert_reqs=none
    bool verify_host;           // false with ssl_check_hostname=false or ssl_cert_reqs=none
};

// redis://[[user][:password]@][host][:port][/db][?db=N&username=U&password=P]
// rediss://…  with ssl_ca_certs, ssl_cert_reqs (none|optional|required),
// ssl_check_hostname, ssl_certfile, ssl_keyfile     unix://[user:password@]/path[?db=N]
// User, password, host and path are percent-decoded; an IPv6 host stands in [].
// Other parameters are redis-py's own (timeouts, pools): they are ignored. Where
// redis-py is lenient (a bare '%'), so is this: API and broker are given the same URL.
// Stricter than redis-py: a database that is no number is refused. redis-py takes it for
// database 0, and then nobody knows why no event comes. Stricter than redis-py before 6: a
// certificate must name the host, unless the URL says otherwise.
// Returns NULL and fills *out (free with redis_url_done), or a sentence that says
// what is wrong; it never quotes the password.
const char *redis_url_parse(struct view text, struct redis_url *out);
void redis_url_done(struct redis_url *url);
// The URL without user and password, for people: "redis://host:6379/0".
void redis_url_show(const struct redis_url *url, struct buffer *out);
