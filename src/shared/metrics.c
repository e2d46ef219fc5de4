#include "shared/metrics.h"

// ---- labels ---------------------------------------------------------------------

#define ONE_VALUE(name) { #name, NULL },
#define SECOND_IS_VALUE(name, text) { text, NULL },
#define TWO_VALUES(name, first, second) { first, second },
#define CLOSE_VALUE(name, code) { #code, NULL },

static const char *const client_values[][2] = { CLIENT_KINDS(TWO_VALUES) };
static const char *const refusal_values[][2] = { REFUSAL_CODES(ONE_VALUE) };
static const char *const close_values[][2] = { WS_CLOSE_CODES(CLOSE_VALUE){ "other", NULL },
                                               { "none", NULL } };
static const char *const gap_values[][2] = { GAP_REASONS(SECOND_IS_VALUE) };
static const char *const skip_values[][2] = { SKIP_REASONS(SECOND_IS_VALUE) };
static const char *const version_values[][2] = { { BOND_VERSION, NULL } };

_Static_assert(ARRAY_LEN(close_values) == CLOSED_COUNT, "each cell has its label");

static const struct metric_labels
    labelled_NONE = { .count = 1 },
    labelled_THREAD = { .by_thread = true, .names = { "thread" } },
    labelled_SOURCE = { .by_source = true, .names = { "source" } },
    labelled_CLIENT = { .count = CELLS_CLIENT,
                        .names = { "route", "format" },
                        .values = client_values },
    labelled_REFUSAL = { .count = CELLS_REFUSAL, .names = { "code" }, .values = refusal_values },
    labelled_CLOSE = { .count = CELLS_CLOSE, .names = { "code" }, .values = close_values },
    labelled_GAP = { .count = CELLS_GAP, .names = { "reason" }, .values = gap_values },
    labelled_SKIP = { .count = CELLS_SKIP, .names = { "reason" }, .values = skip_values },
    labelled_VERSION = { .count = 1, .names = { "version" }, .values = version_values };

// ---- the table ------------------------------------------------------------------

#define VALUE_ROW(id, kind_, labels_, name_, unit_, digits_, help_)                                \
    { .kind = KIND_##kind_,                                                                        \
      .labels = &labelled_##labels_,                                                               \
      .cell = METRIC_##id,                                                                         \
      .name = (name_),                                                                             \
      .unit = (unit_),                                                                             \
      .help = (help_),                                                                             \
      .digits = (digits_) },

#define HISTOGRAM_ROW(id, labels_, name_, unit_, digits_, low, octaves_, steps, help_)             \
    { .kind = KIND_HISTOGRAM,                                                                      \
      .labels = &labelled_##labels_,                                                               \
      .cell = METRIC_##id,                                                                         \
      .name = (name_),                                                                             \
      .unit = (unit_),                                                                             \
      .help = (help_),                                                                             \
      .digits = (digits_),                                                                         \
      .low_bits = (low),                                                                           \
      .octaves = (octaves_),                                                                       \
      .step_bits = (steps) },

const struct metric metric_table[] = { METRIC_VALUES(VALUE_ROW) METRIC_HISTOGRAMS(HISTOGRAM_ROW) };
const size_t metric_table_len = ARRAY_LEN(metric_table);

static const struct metric *histogram_metric(enum histogram histogram)
{
    return &metric_table[metric_table_len - HISTOGRAMS_COUNT + histogram];
}

// ---- histograms -----------------------------------------------------------------

uint64_t metric_bucket_bound(const struct metric *m, size_t i)
{
    if (i == 0)
        return UINT64_C(1) << m->low_bits;
    size_t octave = (i - 1) >> m->step_bits, step = (i - 1) & ((1u << m->step_bits) - 1);
    uint64_t begin = UINT64_C(1) << (m->low_bits + octave);
    return begin + ((begin * (step + 1)) >> m->step_bits);
}

// The first bucket whose bound is not below the value.
static size_t bucket_of(const struct metric *m, uint64_t value)
{
    if (value <= UINT64_C(1) << m->low_bits)
        return 0;
    uint64_t below = value - 1; // bounds are inclusive
    unsigned exponent = 63 - (unsigned)__builtin_clzll(below);
    unsigned octave = exponent - m->low_bits;
    if (octave >= m->octaves)
        return metric_buckets(m) - 1;
    size_t step = (below >> (exponent - m->step_bits)) & ((1u << m->step_bits) - 1);
    return 1 + ((size_t)octave << m->step_bits) + step;
}

void metrics_observe(struct metrics *row, enum histogram histogram, uint64_t value, uint64_t weight)
{
    const struct metric *m = histogram_metric(histogram);
    metrics_add(row, m->cell + bucket_of(m, value), weight);
    metrics_add(row, m->cell + metric_buckets(m), value * weight);
}

// ---- rows -----------------------------------------------------------------------

void metric_rows_add(struct metric_rows *all, struct metrics *row)
{
    CHECK(all->count < METRIC_ROWS_MAX);
    all->rows[all->count++] = row;
}

uint64_t metric_rows_sum(const struct metric_rows *all, size_t cell)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < all->count; i++)
        sum += metrics_get(all->rows[i], cell);
    return sum;
}

uint64_t metric_rows_peak(const struct metric_rows *all, size_t cell)
{
    uint64_t peak = 0;
    for (size_t i = 0; i < all->count; i++)
        if (metrics_get(all->rows[i], cell) > peak)
            peak = metrics_get(all->rows[i], cell);
    return peak;
}
