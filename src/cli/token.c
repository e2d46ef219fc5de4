// bond-broker token, bond-broker check-token.
#include <stdio.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "wire/token.h"

#define TTL_DEFAULT_S 3600

static int mint(struct cli *c)
{
    int64_t ttl_ms;
    if (!cli_duration(c, "--ttl", TTL_DEFAULT_S * MS_PER_S, &ttl_ms))
        return CLI_USAGE;
    if (c->argv[0][0] == '\0')
        return cli_wrong_usage(c, "the stream's id is empty");
    if (ttl_ms < MS_PER_S || ttl_ms / MS_PER_S > UINT32_MAX)
        return cli_wrong_usage(c, "--ttl must be between 1s and some hundred years");

    char token[TOKEN_MAX + 1];
    int64_t expiry_s = (clock_wall_ms() + ttl_ms) / MS_PER_S;
    token_mint(view_of(c->argv[0]), view_of(c->config.secret), expiry_s,
               cli_value(c, "--full") != NULL, token);
    puts(token);
    cli_warn_of_default_secret(&c->config);
    return 0;
}

static const struct cli_option token_options[] = {
    { "--ttl", "TIME",
      "how long it is valid: 90s, 15m, 1h (the default), 2d; a bare number is seconds" },
    { "--full", NULL, "a signature of 64 digits instead of 16" },
    { 0 },
};

const struct cli_command cli_token = {
    .name = "token",
    .synopsis = "STREAM [--ttl TIME] [--full]",
    .about = "mint a token for a stream",
    .more = "It is signed with BOND_SECRET, as the API signs it, and printed alone on a line.",
    .options = token_options,
    .examples = "bond-broker token btc-usdt\n"
                "TOKEN=$(bond-broker token btc-usdt --ttl 2d)\n",
    .exits = "0, or 2 if it was used wrongly",
    .least = 1,
    .most = 1,
    .run = mint,
};

static int check_token(struct cli *c)
{
    const struct view secrets[] = { view_of(c->config.secret), view_of(c->config.secret_previous) };
    int64_t expiry_s, now_ms = clock_wall_ms();
    enum token_verdict verdict = token_verify(view_of(c->argv[1]), view_of(c->argv[0]), secrets,
                                              ARRAY_LEN(secrets), now_ms, &expiry_s);
    if (verdict == TOKEN_OK)
        printf("ok: valid for another %lld s\n", (long long)(expiry_s - now_ms / MS_PER_S));
    else
        fprintf(stderr, "%s: %s\n", token_verdict_name(verdict), token_verdict_sentence(verdict));
    cli_warn_of_default_secret(&c->config);
    return verdict == TOKEN_OK ? 0 : 1;
}

const struct cli_command cli_check_token = {
    .name = "check-token",
    .synopsis = "STREAM TOKEN",
    .about = "say whether a token is valid now for a stream, and if not, why",
    .more = "It is checked with BOND_SECRET and BOND_SECRET_PREVIOUS, as the broker does.",
    .examples = "bond-broker check-token btc-usdt 1760003600.0123456789abcdef\n",
    .exits = "0 if it is valid, 1 if not, 2 if it was used wrongly",
    .least = 2,
    .most = 2,
    .run = check_token,
};
