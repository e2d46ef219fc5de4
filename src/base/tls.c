#include "base/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_context {
    SSL_CTX *openssl;
    bool verify_cert;
};

struct tls {
    SSL *openssl;
    bool verify_cert;
    bool wants_write;
    bool answers_plainly; // what came is no TLS
    const char *why;
};

// ---- what connections have in common ----------------------------------------

static enum tls_setup load_certificates(SSL_CTX *openssl, const struct tls_options *options)
{
    if (options->ca_file ? SSL_CTX_load_verify_locations(openssl, options->ca_file, NULL) != 1
                         : SSL_CTX_set_default_verify_paths(openssl) != 1)
        return TLS_BAD_CA;
    if (!options->cert_file)
        return TLS_SET_UP;
    const char *key_file = options->key_file ? options->key_file : options->cert_file;
    if (SSL_CTX_use_certificate_chain_file(openssl, options->cert_file) != 1)
        return TLS_BAD_CERT;
    if (SSL_CTX_use_PrivateKey_file(openssl, key_file, SSL_FILETYPE_PEM) != 1)
        return TLS_BAD_KEY;
    return TLS_SET_UP;
}

// Writes may be partial, as everywhere, and the caller's buffer may have moved before a
// write is tried again. Many servers hang up without TLS's own goodbye; the protocols that
// we speak say themselves where a message ends, so that nothing can be cut off unseen.
static enum tls_setup set_up(SSL_CTX *openssl, const struct tls_options *options)
{
    if (!openssl || SSL_CTX_set_min_proto_version(openssl, TLS1_2_VERSION) != 1)
        return TLS_NO_OPENSSL;
    SSL_CTX_set_mode(openssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(openssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(openssl, options->verify_cert ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return load_certificates(openssl, options);
}

enum tls_setup tls_context_new(const struct tls_options *options, struct tls_context **out)
{
    SSL_CTX *openssl = SSL_CTX_new(TLS_client_method());
    enum tls_setup result = set_up(openssl, options);
    if (result != TLS_SET_UP) {
        SSL_CTX_free(openssl);
        return result;
    }
    *out = must_alloc(sizeof(**out));
    **out = (struct tls_context){ .openssl = openssl, .verify_cert = options->verify_cert };
    return TLS_SET_UP;
}

void tls_context_free(struct tls_context *context)
{
    if (context)
        SSL_CTX_free(context->openssl);
    free(context);
}

// ---- one connection ---------------------------------------------------------

// OpenSSL copies the name, but asks for one that it may write.
static bool set_server_name(SSL *openssl, const char *host)
{
    char *name = strdup(host);
    CHECK(name != NULL);
    bool is_set = SSL_set_tlsext_host_name(openssl, name) == 1;
    free(name);
    return is_set;
}

// An address is compared as an address, and is no server name (RFC 6066 s. 3).
static bool name_peer(SSL *openssl, const char *host, bool verify_host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(openssl);
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;

    if (!is_address && !set_server_name(openssl, host))
        return false;
    if (!verify_host)
        return true;
    return is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1
                      : X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

struct tls *tls_connect(const struct tls_context *context, int fd, const char *host,
                        bool verify_host)
{
    SSL *openssl = SSL_new(context->openssl);
    CHECK(openssl != NULL);
    if (SSL_set_fd(openssl, fd) != 1 || !name_peer(openssl, host, verify_host)) {
        SSL_free(openssl);
        return NULL;
    }
    SSL_set_connect_state(openssl);
    struct tls *t = must_alloc(sizeof(*t));
    *t = (struct tls){ .openssl = openssl, .verify_cert = context->verify_cert };
    return t;
}

void tls_free(struct tls *t)
{
    if (t)
        SSL_free(t->openssl);
    free(t);
}

// Why OpenSSL failed, as a sentence without its file names and numbers.
static const char *reason(struct tls *t, int error)
{
    long verdict = SSL_get_verify_result(t->openssl);
    unsigned long code = ERR_peek_last_error();
    t->answers_plainly = ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER;
    if (t->answers_plainly) // the version is the first thing that is wrong with any text
        return "the other end does not speak TLS";
    if (verdict != X509_V_OK && t->verify_cert)
        return X509_verify_cert_error_string(verdict);
    if (code && ERR_reason_error_string(code))
        return ERR_reason_error_string(code);
    return error == SSL_ERROR_SYSCALL && errno ? strerror(errno) : "the other end hung up";
}

// OpenSSL keeps errors in a queue of the thread's: it must be empty before each call, or
// an old one is taken for that call's.
static void before_call(struct tls *t)
{
    t->wants_write = false;
    ERR_clear_error();
    errno = 0;
}

// What came of an OpenSSL call that returned `result`.
static enum tls_result outcome(struct tls *t, int result)
{
    if (result == 1)
        return TLS_DONE;
    int error = SSL_get_error(t->openssl, result);
    t->wants_write = error == SSL_ERROR_WANT_WRITE;
    if (t->wants_write || error == SSL_ERROR_WANT_READ)
        return TLS_WAIT;
    if (error == SSL_ERROR_ZERO_RETURN)
        return TLS_CLOSED;
    t->why = reason(t, error);
    return TLS_FAILED;
}

// One that hangs up in the middle of a handshake has not merely closed.
enum tls_result tls_handshake(struct tls *t)
{
    before_call(t);
    enum tls_result result = outcome(t, SSL_do_handshake(t->openssl));
    if (result != TLS_CLOSED)
        return result;
    t->why = reason(t, SSL_ERROR_ZERO_RETURN);
    return TLS_FAILED;
}

enum tls_result tls_read(struct tls *t, char *at, size_t len, size_t *done)
{
    before_call(t);
    return outcome(t, SSL_read_ex(t->openssl, at, len, done));
}

enum tls_result tls_write(struct tls *t, const char *at, size_t len, size_t *done)
{
    before_call(t);
    return outcome(t, SSL_write_ex(t->openssl, at, len, done));
}

bool tls_holds_bytes(const struct tls *t)
{
    return SSL_pending(t->openssl) > 0;
}

bool tls_wants_write(const struct tls *t)
{
    return t->wants_write;
}

bool tls_is_spoken(const struct tls *t)
{
    return !t->answers_plainly && BIO_number_read(SSL_get_rbio(t->openssl)) > 0;
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}
