// bond-broker status: how the broker of these settings is, for people.
//
// /health says whether it answers, /ready whether it can serve, /stats (of a broker that has
// it) what it counts.
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/fetch.h"
#include "cli/told.h"

struct status {
    struct fetched health, ready, stats;
    bool is_ready, has_stats;
    struct buffer detail; // why it is not ready
};

static void read_detail(struct status *s)
{
    struct view body = buffer_view(&s->ready.body), raw;
    struct buffer detail = { 0 };
    if (json_valid(body) && json_member(body, VIEW("detail"), &raw) && json_unescape(raw, &detail))
        told_add_clean(&s->detail, buffer_view(&detail));
    else
        buffer_printf(&s->detail, "/ready says %d", s->ready.status);
    buffer_free(&detail);
}

static void ask(const struct config *c, struct status *s)
{
    fetch_from_config(c, "/health", &s->health);
    if (s->health.status == 0)
        return;
    fetch_from_config(c, "/ready", &s->ready);
    s->is_ready = s->ready.status == 200;
    if (!s->is_ready)
        read_detail(s);
    fetch_for_operators(c, "/stats", &s->stats);
    s->has_stats = s->stats.status == 200 && json_valid(buffer_view(&s->stats.body));
}

// ---- the table --------------------------------------------------------------------

static void print_row(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void print_row(const char *name, const char *fmt, ...)
{
    va_list args;
    struct buffer clean = { 0 };
    told_add_clean(&clean, view_of(name));
    printf("%-34.*s ", (int)clean.len, clean.at);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
    buffer_free(&clean);
}

// 1234567 is read as 1,234,567; what is no whole number keeps a few places.
static void print_number(const char *name, double value)
{
    char digits[64];
    struct buffer grouped = { 0 };
    bool is_whole = value < 1e15 && value > -1e15 && value == (double)(int64_t)value;
    if (is_whole)
        snprintf(digits, sizeof(digits), "%" PRId64, (int64_t)value);
    else
        snprintf(digits, sizeof(digits), "%.6g", value);
    size_t len = strlen(digits);
    for (size_t i = 0; i < len; i++) {
        buffer_add(&grouped, digits + i, 1);
        bool is_group = is_whole && digits[i] != '-' && i + 1 < len && (len - i - 1) % 3 == 0;
        buffer_add_view(&grouped, is_group ? VIEW(",") : VIEW(""));
    }
    print_row(name, VIEW_FMT, VIEW_ARG(buffer_view(&grouped)));
    buffer_free(&grouped);
}

// {"count":…,"sum":…,"buckets":…}: how many, and their mean.
static void print_histogram(const char *name, const json_t *value)
{
    double count = json_number_value(json_object_get(value, "count"));
    double sum = json_number_value(json_object_get(value, "sum"));
    if (count > 0)
        print_row(name, "%.0f, mean %.6g", count, sum / count);
}

// {"labels…":"…","value":…}: of a metric that has one value for each of its labels.
static void print_labelled(const char *name, const json_t *value)
{
    struct buffer full = { 0 };
    const char *key;
    json_t *label, *number = json_object_get(value, "value");
    buffer_printf(&full, "%s", name);
    json_object_foreach((json_t *)(uintptr_t)value, key, label) if (json_is_string(label))
        buffer_printf(&full, " %s", json_string_value(label));
    buffer_add(&full, "", 1);
    if (json_is_number(number) && json_number_value(number) != 0)
        print_number(full.at, json_number_value(number));
    else if (json_is_object(number))
        print_histogram(full.at, number);
    buffer_free(&full);
}

static void print_metric(const char *name, const json_t *value)
{
    size_t i;
    json_t *one;
    if (json_is_number(value))
        print_number(name, json_number_value(value));
    else if (json_is_string(value))
        print_row(name, "%s", json_string_value(value));
    else if (json_is_array(value))
        json_array_foreach(value, i, one) print_labelled(name, one);
    else if (json_object_get(value, "count"))
        print_histogram(name, value);
}

static void print_stats(const struct status *s)
{
    const char *name;
    json_t *value, *metrics;
    json_t *stats = json_loadb(s->stats.body.at, s->stats.body.len, 0, NULL);
    json_object_foreach(stats, name, value) print_metric(name, value);
    metrics = json_object_get(stats, "metrics");
    json_object_foreach(metrics, name, value) print_metric(name, value);
    json_decref(stats);
}

static void print_table(const struct config *c, const struct status *s)
{
    print_row("broker", "%s port %" PRId64 " answers", fetch_host(c), c->port);
    if (s->is_ready)
        print_row("ready", "yes");
    else
        print_row("ready", "no: " VIEW_FMT, VIEW_ARG(buffer_view(&s->detail)));
    if (s->has_stats)
        print_stats(s);
    else if (s->stats.status == 401 || s->stats.status == 403)
        print_row("stats", "not shown: /stats says %d", s->stats.status);
}

// ---- JSON -------------------------------------------------------------------------

static void print_json(const struct status *s)
{
    struct buffer out = { 0 };
    bool answers = s->health.status != 0;
    buffer_printf(&out, "{\"answers\":%s,\"ready\":%s,\"detail\":", answers ? "true" : "false",
                  s->is_ready ? "true" : "false");
    if (!answers)
        json_add_string(&out, view_of(s->health.why));
    else if (s->is_ready)
        buffer_add_view(&out, VIEW("null"));
    else
        json_add_string(&out, buffer_view(&s->detail));
    buffer_add_view(&out, VIEW(",\"stats\":"));
    buffer_add_view(&out, s->has_stats ? view_trim(buffer_view(&s->stats.body)) : VIEW("null"));
    printf(VIEW_FMT "}\n", VIEW_ARG(buffer_view(&out)));
    buffer_free(&out);
}

static int status(struct cli *c)
{
    struct status s = { 0 };
    ask(&c->config, &s);
    if (cli_value(c, "--json"))
        print_json(&s);
    else if (s.health.status)
        print_table(&c->config, &s);
    else
        fprintf(stderr, "bond-broker: no broker answers at %s port %" PRId64 ": %s\n",
                fetch_host(&c->config), c->config.port, s.health.why);
    fetched_done(&s.health);
    fetched_done(&s.ready);
    fetched_done(&s.stats);
    buffer_free(&s.detail);
    return s.is_ready ? 0 : 1;
}

static const struct cli_option status_options[] = {
    { "--json", NULL, "one JSON object: {\"answers\", \"ready\", \"detail\", \"stats\"}" },
    { 0 },
};

const struct cli_command cli_status = {
    .name = "status",
    .synopsis = "[--json]",
    .about = "say how the broker at BOND_HOST:BOND_PORT is: whether it serves, what it counts",
    .more = "What it counts is shown where the broker has /stats and shows it to this machine.",
    .options = status_options,
    .examples = "bond-broker status\n"
                "bond-broker status --json | jq .ready\n",
    .exits = "0 if it serves, 1 if it does not or nothing answers, 2 if it was used wrongly",
    .run = status,
};
