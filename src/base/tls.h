// TLS over a socket that is connected and does not block. It opens, watches and closes
// no socket and knows no peer: its owner says what to trust, what to show, and waits.
//
//   tls_connect ──▶ tls_handshake until TLS_DONE ──▶ tls_read, tls_write
//
// A context may be shared; a `struct tls` belongs to one thread. The process must ignore
// SIGPIPE: OpenSSL writes to sockets that may be gone.
#pragma once

#include "base/base.h"

struct tls_options {
    const char *ca_file;              // NULL: the authorities that the system trusts
    const char *cert_file, *key_file; // what we show; NULL: nothing. No key: it is in cert_file
    bool verify_cert;                 // a known authority must have signed what the peer shows
};

enum tls_setup { TLS_SET_UP, TLS_NO_OPENSSL, TLS_BAD_CA, TLS_BAD_CERT, TLS_BAD_KEY };

struct tls_context; // what connections with the same options have in common
enum tls_setup tls_context_new(const struct tls_options *options, struct tls_context **out);
void tls_context_free(struct tls_context *context); // nothing, if NULL

enum tls_result {
    TLS_DONE,   // the handshake is over; or so many bytes, at least one, were read or written
    TLS_WAIT,   // not now: again when the socket can be read or, if tls_wants_write, written
    TLS_CLOSED, // the other end has closed the connection
    TLS_FAILED, // tls_why
};

struct tls;
// The client's end of fd, which stays the caller's. `host` is the name or the address that
// the peer's certificate must have if verify_host. NULL: that host cannot be used.
struct tls *tls_connect(const struct tls_context *context, int fd, const char *host,
                        bool verify_host);
void tls_free(struct tls *t); // nothing, if NULL

enum tls_result tls_handshake(struct tls *t);
enum tls_result tls_read(struct tls *t, char *at, size_t len, size_t *done);
// A write that had to wait may be tried again from another place in memory.
enum tls_result tls_write(struct tls *t, const char *at, size_t len, size_t *done);

bool tls_holds_bytes(const struct tls *t); // decrypted already: epoll does not tell of them
bool tls_wants_write(const struct tls *t); // the last call waits until the socket takes bytes
// During the handshake: the other end has answered in TLS. If it has not, this may be a port
// without TLS.
bool tls_is_spoken(const struct tls *t);
const char *tls_why(const struct tls *t); // after TLS_FAILED, for people; no secret in it
