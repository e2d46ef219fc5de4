#include "shared/exposition.h"

#include <inttypes.h>

#include "base/json.h"

// ---- numbers --------------------------------------------------------------------

// A whole number of a small unit, as a decimal fraction of the base unit. Rows of a gauge may
// add up to something below 0.
static void add_number(struct buffer *out, uint64_t value, int digits)
{
    static const uint64_t tens[] = { 1, 10, 100, 1000, 10000, 100000, 1000000 };
    bool negative = (int64_t)value < 0;
    uint64_t magnitude = negative ? -value : value, unit = tens[digits];
    buffer_printf(out, "%s%" PRIu64, negative ? "-" : "", magnitude / unit);
    if (digits > 0)
        buffer_printf(out, ".%0*" PRIu64, digits, magnitude % unit);
}

// A bucket's bound: without zeros at its end. OpenMetrics wants a point in it.
static void add_bound(struct buffer *out, uint64_t value, int digits, bool openmetrics)
{
    add_number(out, value, digits);
    while (digits > 0 && out->at[out->len - 1] == '0')
        out->len--;
    if (digits > 0 && out->at[out->len - 1] == '.')
        out->len--;
    bool has_point = false;
    for (size_t i = out->len; i > 0 && !has_point && out->at[i - 1] != '"'; i--)
        has_point = out->at[i - 1] == '.';
    if (openmetrics && !has_point)
        buffer_add_view(out, VIEW(".0"));
}

// ---- labels ---------------------------------------------------------------------

// What stands before a sample: the names and values of its labels, 0 to 2 of them.
struct labelling {
    const char *names[2], *values[2];
};

static struct labelling labels_of_cell(const struct metric *m, size_t i)
{
    const struct metric_labels *l = m->labels;
    struct labelling of = { { l->names[0], l->names[1] }, { NULL, NULL } };
    if (l->values) {
        of.values[0] = l->values[i][0];
        of.values[1] = l->values[i][1];
    }
    return of;
}

static bool is_by_row(const struct metric *m)
{
    return m->labels->by_thread || m->labels->by_source;
}

// The row's label for this metric; NULL: the metric has nothing to do with the row.
static const char *label_of_row(const struct metric *m, const struct metrics *row)
{
    return m->labels->by_thread ? row->thread : row->source;
}

static void add_label_value(struct buffer *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            buffer_printf(out, "\\%c", *value);
        else if (*value == '\n')
            buffer_add_view(out, VIEW("\\n"));
        else
            buffer_add(out, value, 1);
    }
}

// {a="x",b="y", and le="…" where it is not empty: the caller closes the brace.
static bool add_labels(struct buffer *out, const struct labelling *of)
{
    size_t count = 0;
    for (; count < 2 && of->names[count] && of->values[count]; count++) {
        buffer_printf(out, count == 0 ? "{%s=\"" : ",%s=\"", of->names[count]);
        add_label_value(out, of->values[count]);
        buffer_add_view(out, VIEW("\""));
    }
    return count > 0;
}

// ---- Prometheus and OpenMetrics ---------------------------------------------------

static void add_head(struct buffer *out, const struct metric *m, bool openmetrics)
{
    static const char *const types[] = { "counter", "gauge", "gauge", "histogram" };
    const char *suffix = m->kind == KIND_COUNTER && !openmetrics ? "_total" : "";
    buffer_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", m->name, suffix, m->help, m->name,
                  suffix, types[m->kind]);
    if (openmetrics && *m->unit)
        buffer_printf(out, "# UNIT %s %s\n", m->name, m->unit);
}

static void add_sample(struct buffer *out, const struct metric *m, const char *suffix,
                       const struct labelling *of, uint64_t value, int digits)
{
    buffer_printf(out, "%s%s", m->name, suffix);
    buffer_add_view(out, add_labels(out, of) ? VIEW("} ") : VIEW(" "));
    add_number(out, value, digits);
    buffer_add_view(out, VIEW("\n"));
}

// A cell of a metric in the row that is named, with all others of the same source; without a
// row, over all of them.
static uint64_t value_of(const struct metric *m, size_t cell, const struct metric_rows *rows,
                         const struct metrics *row)
{
    if (row == NULL)
        return m->kind == KIND_PEAK ? metric_rows_peak(rows, cell) : metric_rows_sum(rows, cell);
    if (m->labels->by_thread)
        return metrics_get(row, cell);
    uint64_t sum = 0;
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i]->source == row->source)
            sum += metrics_get(rows->rows[i], cell);
    return sum;
}

// What a histogram's cells are, in one row or all of them: read once.
struct samples {
    uint64_t buckets[64], count, sum;
};

static struct samples samples_of(const struct metric *m, const struct metric_rows *rows,
                                 const struct metrics *row)
{
    struct samples s = { .count = 0 };
    size_t buckets = metric_buckets(m);
    CHECK(buckets <= ARRAY_LEN(s.buckets));
    for (size_t i = 0; i <= buckets; i++) {
        uint64_t value = value_of(m, m->cell + i, rows, row);
        if (i == buckets) {
            s.sum = value;
            break;
        }
        s.buckets[i] = value;
        s.count += value;
    }
    return s;
}

static void add_histogram(struct buffer *out, const struct metric *m, const struct samples *s,
                          const struct labelling *of, bool openmetrics)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i < metric_buckets(m); i++) {
        so_far += s->buckets[i];
        buffer_printf(out, "%s_bucket", m->name);
        buffer_add_view(out, add_labels(out, of) ? VIEW(",le=\"") : VIEW("{le=\""));
        if (i + 1 == metric_buckets(m))
            buffer_add_view(out, VIEW("+Inf"));
        else
            add_bound(out, metric_bucket_bound(m, i), m->digits, openmetrics);
        buffer_printf(out, "\"} %" PRIu64 "\n", so_far);
    }
    add_sample(out, m, "_sum", of, s->sum, m->digits);
    add_sample(out, m, "_count", of, s->count, 0);
}

// row: NULL where all of them count together.
static void add_text(struct buffer *out, const struct metric *m, const struct metric_rows *rows,
                     const struct metrics *row, bool openmetrics)
{
    struct labelling of = labels_of_cell(m, 0);
    if (row)
        of.values[0] = label_of_row(m, row);
    if (m->kind == KIND_HISTOGRAM) {
        const struct samples s = samples_of(m, rows, row);
        add_histogram(out, m, &s, &of, openmetrics);
        return;
    }
    const char *suffix = m->kind == KIND_COUNTER ? "_total" : "";
    for (size_t i = 0; i < (row ? 1 : m->labels->count); i++) {
        if (!row)
            of = labels_of_cell(m, i);
        add_sample(out, m, suffix, &of, value_of(m, m->cell + i, rows, row), m->digits);
    }
}

// ---- JSON -----------------------------------------------------------------------

// "buckets" has [largest value, samples] of each bucket that has some; null: no bound.
static void add_json_histogram(struct buffer *out, const struct metric *m, const struct samples *s)
{
    const char *comma = "";
    buffer_printf(out, "\"count\":%" PRIu64 ",\"sum\":", s->count);
    add_number(out, s->sum, m->digits);
    buffer_add_view(out, VIEW(",\"buckets\":["));
    for (size_t i = 0; i < metric_buckets(m); i++) {
        if (s->buckets[i] == 0)
            continue;
        buffer_printf(out, "%s[", comma);
        if (i + 1 == metric_buckets(m))
            buffer_add_view(out, VIEW("null"));
        else
            add_number(out, metric_bucket_bound(m, i), m->digits);
        buffer_printf(out, ",%" PRIu64 "]", s->buckets[i]);
        comma = ",";
    }
    buffer_add_view(out, VIEW("]"));
}

static void add_json_labels(struct buffer *out, const struct labelling *of)
{
    for (size_t i = 0; i < 2 && of->names[i] && of->values[i]; i++) {
        buffer_printf(out, "\"%s\":", of->names[i]);
        json_add_string(out, view_of(of->values[i]));
        buffer_add_view(out, VIEW(","));
    }
}

static void add_json_value(struct buffer *out, const struct metric *m, size_t i,
                           const struct metric_rows *rows, const struct metrics *row)
{
    struct labelling of = labels_of_cell(m, i);
    if (row)
        of.values[0] = label_of_row(m, row);
    bool bare = m->kind != KIND_HISTOGRAM && of.values[0] == NULL;
    if (!bare)
        buffer_add_view(out, VIEW("{"));
    add_json_labels(out, &of);
    if (m->kind == KIND_HISTOGRAM) {
        const struct samples s = samples_of(m, rows, row);
        add_json_histogram(out, m, &s);
    } else {
        if (!bare)
            buffer_add_view(out, VIEW("\"value\":"));
        add_number(out, value_of(m, m->cell + i, rows, row), m->digits);
    }
    if (!bare)
        buffer_add_view(out, VIEW("}"));
}

// Without "bond_": "connections_accepted_total".
static void add_json_name(struct buffer *out, const struct metric *m)
{
    const char *name = strncmp(m->name, "bond_", 5) == 0 ? m->name + 5 : m->name;
    buffer_printf(out, "\"%s%s\":", name, m->kind == KIND_COUNTER ? "_total" : "");
}

// ---- pieces ---------------------------------------------------------------------

// Is it a row by itself for this metric? Not: it is none of its rows, or adds to an earlier one.
static bool is_row_of(const struct metric *m, const struct metric_rows *rows, size_t row)
{
    const char *label = label_of_row(m, rows->rows[row]);
    for (size_t i = 0; label && m->labels->by_source && i < row; i++)
        if (rows->rows[i]->source == label)
            return false;
    return label != NULL;
}

// The next such row, from that one on; rows->count: none.
static size_t next_row(const struct metric *m, const struct metric_rows *rows, size_t row)
{
    while (row < rows->count && !is_row_of(m, rows, row))
        row++;
    return row;
}

static void add_json_piece(struct exposition *e, const struct metric_rows *rows, size_t row,
                           bool is_first, bool is_last, struct buffer *out)
{
    const struct metric *m = &metric_table[e->metric];
    bool is_list = is_by_row(m) || m->labels->values;
    if (is_first) {
        if (e->metric > 0)
            buffer_add_view(out, VIEW(","));
        add_json_name(out, m);
        if (is_list)
            buffer_add_view(out, VIEW("["));
    } else {
        buffer_add_view(out, VIEW(","));
    }
    if (is_by_row(m)) {
        add_json_value(out, m, 0, rows, rows->rows[row]);
    } else {
        for (size_t i = 0; i < m->labels->count; i++) {
            if (i > 0)
                buffer_add_view(out, VIEW(","));
            add_json_value(out, m, i, rows, NULL);
        }
    }
    if (is_last && is_list)
        buffer_add_view(out, VIEW("]"));
}

static void add_text_piece(struct exposition *e, const struct metric_rows *rows, size_t row,
                           bool is_first, struct buffer *out)
{
    const struct metric *m = &metric_table[e->metric];
    bool openmetrics = e->format == EXPOSITION_OPENMETRICS;
    if (is_first)
        add_head(out, m, openmetrics);
    add_text(out, m, rows, is_by_row(m) ? rows->rows[row] : NULL, openmetrics);
}

bool exposition_next(struct exposition *e, const struct metric_rows *rows, struct buffer *out)
{
    if (e->metric == metric_table_len) {
        bool ends = e->format == EXPOSITION_OPENMETRICS && e->row == 0;
        if (ends)
            buffer_add_view(out, VIEW("# EOF\n"));
        e->row = 1;
        return ends;
    }
    const struct metric *m = &metric_table[e->metric];
    bool is_first = e->row == 0;
    size_t row = is_by_row(m) ? next_row(m, rows, e->row) : 0;
    CHECK(row < rows->count); // each metric has a row, or it would not be in the table
    size_t next = is_by_row(m) ? next_row(m, rows, row + 1) : rows->count;
    bool is_last = next == rows->count;
    if (e->format == EXPOSITION_JSON)
        add_json_piece(e, rows, row, is_first, is_last, out);
    else
        add_text_piece(e, rows, row, is_first, out);
    e->row = is_last ? 0 : next;
    e->metric += is_last;
    return true;
}
