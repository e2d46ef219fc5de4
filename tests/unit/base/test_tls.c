#include "base/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

// ---- how the tests speak ----------------------------------------------------
// A socketpair: we are the client, with base/tls; the peer is plain OpenSSL, or no TLS
// at all. Neither end blocks, so the two take turns. The peer's certificate is made
// anew for each run, for redis.example and 127.0.0.1, and signs itself.

static char ca_file[] = "/tmp/bond-test-tls-XXXXXX";
static SSL_CTX *peer_context;

struct talk {
    int fds[2]; // ours, the peer's
    struct tls_context *context;
    struct tls *tls;
    SSL *peer; // NULL: it speaks no TLS
};

static void sign_itself(X509 *cert, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(cert);
    const unsigned char common[] = "a test";
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600L);
    X509_set_pubkey(cert, key);
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:redis.example,IP:127.0.0.1");
    X509_add_ext(cert, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
}

static int make_peer(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN); // as main does
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    sign_itself(cert, key);
    FILE *out = fdopen(mkstemp(ca_file), "w");
    PEM_write_X509(out, cert);
    fclose(out);
    peer_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(peer_context, cert);
    SSL_CTX_use_PrivateKey(peer_context, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

static int forget_peer(void **state)
{
    (void)state;
    SSL_CTX_free(peer_context);
    return unlink(ca_file);
}

static struct talk talk_with(const struct tls_options *options, const char *host, bool verify_host,
                             bool peer_speaks_tls)
{
    struct talk t = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, t.fds), 0);
    assert_int_equal(tls_context_new(options, &t.context), TLS_SET_UP);
    t.tls = tls_connect(t.context, t.fds[0], host, verify_host);
    assert_non_null(t.tls);
    if (peer_speaks_tls) {
        t.peer = SSL_new(peer_context);
        SSL_set_fd(t.peer, t.fds[1]);
        SSL_set_accept_state(t.peer);
    }
    return t;
}

static struct talk talk(const char *host)
{
    const struct tls_options options = { .ca_file = ca_file, .verify_cert = true };
    return talk_with(&options, host, true, true);
}

static enum tls_result shake(struct talk *t)
{
    enum tls_result result;
    while ((result = tls_handshake(t->tls)) == TLS_WAIT) {
        assert_false(tls_wants_write(t->tls)); // a socketpair has room for a handshake
        SSL_do_handshake(t->peer);
    }
    if (result == TLS_DONE)
        assert_int_equal(SSL_do_handshake(t->peer), 1);
    return result;
}

static void hang_up(struct talk *t)
{
    if (t->peer)
        SSL_free(t->peer);
    t->peer = NULL;
    close(t->fds[1]);
    t->fds[1] = -1;
}

static void end(struct talk *t)
{
    tls_free(t->tls);
    hang_up(t);
    close(t->fds[0]);
    tls_context_free(t->context);
}

static void agrees(struct talk t)
{
    assert_int_equal(shake(&t), TLS_DONE);
    end(&t);
}

static void fails(struct talk t, const char *why)
{
    assert_int_equal(shake(&t), TLS_FAILED);
    if (!strstr(tls_why(t.tls), why))
        fail_msg("%s", tls_why(t.tls));
    end(&t);
}

// ---- who is trusted ---------------------------------------------------------

static void a_peer_of_the_right_name_is_trusted(void **state)
{
    (void)state;
    agrees(talk("redis.example"));
    agrees(talk("127.0.0.1"));
}

static void a_peer_of_another_name_is_not(void **state)
{
    (void)state;
    fails(talk("other.example"), "hostname mismatch");
    fails(talk("127.0.0.2"), "IP address mismatch");
    fails(talk("::1"), "IP address mismatch");
}

static void the_name_may_go_unchecked(void **state)
{
    (void)state;
    const struct tls_options options = { .ca_file = ca_file, .verify_cert = true };
    agrees(talk_with(&options, "other.example", false, true));
}

static void a_peer_whom_no_authority_signed_is_not_trusted(void **state)
{
    (void)state;
    const struct tls_options strict = { .verify_cert = true }, lenient = { .verify_cert = false };
    fails(talk_with(&strict, "redis.example", true, true), "self-signed certificate");
    agrees(talk_with(&lenient, "other.example", false, true));
}

static void files_that_cannot_be_read(void **state)
{
    (void)state;
    struct tls_context *context;
    struct tls_options no_ca = { .ca_file = "/nowhere" };
    struct tls_options no_cert = { .ca_file = ca_file, .cert_file = "/nowhere" };
    struct tls_options no_key = { .ca_file = ca_file, .cert_file = ca_file }; // it holds no key
    assert_int_equal(tls_context_new(&no_ca, &context), TLS_BAD_CA);
    assert_int_equal(tls_context_new(&no_cert, &context), TLS_BAD_CERT);
    assert_int_equal(tls_context_new(&no_key, &context), TLS_BAD_KEY);
}

// ---- bytes ------------------------------------------------------------------

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct talk t = talk("redis.example");
    char at[16];
    size_t n = 0;
    assert_int_equal(shake(&t), TLS_DONE);
    assert_int_equal(tls_read(t.tls, at, sizeof(at), &n), TLS_WAIT); // nothing yet

    assert_int_equal(tls_write(t.tls, "question", 8, &n), TLS_DONE);
    assert_int_equal(n, 8);
    assert_int_equal(SSL_read(t.peer, at, sizeof(at)), 8);
    assert_memory_equal(at, "question", 8);

    assert_int_equal(SSL_write(t.peer, "answer", 6), 6);
    assert_int_equal(tls_read(t.tls, at, sizeof(at), &n), TLS_DONE);
    assert_int_equal(n, 6);
    assert_memory_equal(at, "answer", 6);
    end(&t);
}

static size_t write_until_full(struct talk *t, const char *bytes, size_t len)
{
    size_t sent = 0, n;
    while (sent < len && tls_write(t->tls, bytes + sent, len - sent, &n) == TLS_DONE)
        sent += n;
    return sent;
}

// What waits is tried again from another buffer, as a buffer that grew is.
static void a_write_that_waits_goes_on_where_it_was(void **state)
{
    (void)state;
    struct talk t = talk("redis.example");
    const size_t len = 4 * MIB;
    char *bytes = must_alloc(len), *moved = must_alloc(len), *got = must_alloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    memcpy(moved, bytes, len);
    assert_int_equal(shake(&t), TLS_DONE);

    size_t sent = write_until_full(&t, bytes, len), come = 0;
    assert_true(sent < len);
    assert_true(tls_wants_write(t.tls));
    memset(bytes, 0, len);
    while (come < len) {
        int n = SSL_read(t.peer, got + come, (int)(len - come));
        come += n > 0 ? (size_t)n : 0;
        sent += write_until_full(&t, moved + sent, len - sent);
    }
    assert_memory_equal(got, moved, len);
    free(bytes);
    free(moved);
    free(got);
    end(&t);
}

// ---- the end ----------------------------------------------------------------

static void a_goodbye_and_a_hang_up_without_one_are_a_close(void **state)
{
    (void)state;
    for (int says_goodbye = 0; says_goodbye <= 1; says_goodbye++) {
        struct talk t = talk("redis.example");
        char at[16];
        size_t n;
        assert_int_equal(shake(&t), TLS_DONE);
        if (says_goodbye)
            SSL_shutdown(t.peer);
        hang_up(&t);
        assert_int_equal(tls_read(t.tls, at, sizeof(at), &n), TLS_CLOSED);
        end(&t);
    }
}

static void a_hang_up_in_the_handshake_is_a_failure(void **state)
{
    (void)state;
    struct talk t = talk("redis.example");
    assert_int_equal(tls_handshake(t.tls), TLS_WAIT);
    char hello[4096];
    assert_true(read(t.fds[1], hello, sizeof(hello)) > 0); // or it were a reset
    hang_up(&t);
    assert_int_equal(tls_handshake(t.tls), TLS_FAILED);
    assert_string_equal(tls_why(t.tls), "the other end hung up");
    end(&t);
}

// A peer that speaks something else is told from one that fails in TLS.
static void a_peer_without_tls(void **state)
{
    (void)state;
    const struct tls_options options = { .verify_cert = true };
    struct talk t = talk_with(&options, "redis.example", true, false);
    assert_int_equal(tls_handshake(t.tls), TLS_WAIT);
    assert_false(tls_is_spoken(t.tls)); // so far: it may be silent for ever
    assert_int_equal(write(t.fds[1], "-ERR unknown command\r\n", 22), 22);
    assert_int_equal(tls_handshake(t.tls), TLS_FAILED);
    assert_string_equal(tls_why(t.tls), "the other end does not speak TLS");
    assert_false(tls_is_spoken(t.tls));
    end(&t);

    t = talk("other.example");
    assert_int_equal(shake(&t), TLS_FAILED);
    assert_true(tls_is_spoken(t.tls));
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_of_the_right_name_is_trusted),
        cmocka_unit_test(a_peer_of_another_name_is_not),
        cmocka_unit_test(the_name_may_go_unchecked),
        cmocka_unit_test(a_peer_whom_no_authority_signed_is_not_trusted),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(a_write_that_waits_goes_on_where_it_was),
        cmocka_unit_test(a_goodbye_and_a_hang_up_without_one_are_a_close),
        cmocka_unit_test(a_peer_without_tls),
        cmocka_unit_test(a_hang_up_in_the_handshake_is_a_failure),
    };
    return cmocka_run_group_tests(tests, make_peer, forget_peer);
}
