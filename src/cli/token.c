// bond-broker token, bond-broker check-token.
#include <stdio.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "wire/token.h"

#define TTL_DEFAULT_S 3600

int cli_token(int argc, char **argv)
{
    const char *stream = NULL;
    uint64_t ttl_s = TTL_DEFAULT_S;
    bool full = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--full") == 0)
            full = true;
        else if (stream == NULL && strcmp(argv[i], "--scope") == 0 && i + 1 < argc)
            stream = argv[++i]; // it is signed just as an id is
        else if (stream == NULL && strncmp(argv[i], "--scope=", 8) == 0)
            stream = argv[i] + 8;
        else if (strcmp(argv[i], "--ttl") == 0 || strncmp(argv[i], "--ttl=", 6) == 0) {
            const char *text = argv[i][5] ? argv[i] + 6 : i + 1 < argc ? argv[++i] : "";
            if (!view_u64(view_of(text), &ttl_s) || ttl_s > UINT32_MAX)
                return cli_wrong_usage("--ttl needs a whole number of seconds");
        } else if (stream == NULL && argv[i][0] != '\0' && strncmp(argv[i], "--", 2) != 0)
            stream = argv[i];
        else
            return cli_wrong_usage("token takes one stream id, or one --scope");
    }
    if (stream == NULL || *stream == '\0')
        return cli_wrong_usage("token needs a stream id or a --scope");

    struct config c;
    if (!cli_load(&c))
        return CLI_USAGE;
    char token[TOKEN_MAX + 1];
    int64_t expiry_s = clock_wall_ms() / MS_PER_S + (int64_t)ttl_s;
    token_mint(view_of(stream), view_of(c.secret), expiry_s, full, token);
    puts(token);
    cli_warn_of_default_secret(&c);
    config_done(&c);
    return 0;
}

int cli_check_token(int argc, char **argv)
{
    if (argc != 2)
        return cli_wrong_usage("check-token needs a stream id and a token");
    struct config c;
    if (!cli_load(&c))
        return CLI_USAGE;
    const struct view secrets[] = { view_of(c.secret), view_of(c.secret_previous) };
    int64_t expiry_s, now_ms = clock_wall_ms();
    enum token_verdict verdict = token_verify(view_of(argv[1]), view_of(argv[0]), secrets,
                                              ARRAY_LEN(secrets), now_ms, &expiry_s);
    if (verdict == TOKEN_OK)
        printf("ok: valid for another %lld s\n", (long long)(expiry_s - now_ms / MS_PER_S));
    else
        fprintf(stderr, "%s: %s\n", token_verdict_name(verdict), token_verdict_sentence(verdict));
    cli_warn_of_default_secret(&c);
    config_done(&c);
    return verdict == TOKEN_OK ? 0 : 1;
}
