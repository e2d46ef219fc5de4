#include "cli/findings.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cli/told.h"

static const char *const names[] = { "ok", "note", "warn", "wrong" };
static const char *const colours[] = { "\033[32m", "\033[36m", "\033[33m", "\033[31m" };

static void print_line(const struct findings *f, enum finding_state state, const char *check,
                       const char *hint, struct view text)
{
    struct buffer clean = { 0 };
    told_add_clean(&clean, text);
    printf("%s%-5s%s %-12s " VIEW_FMT "%s%s\n", f->is_coloured ? colours[state] : "", names[state],
           f->is_coloured ? "\033[0m" : "", check, VIEW_ARG(buffer_view(&clean)),
           *hint ? "; to do: " : "", hint);
    fflush(stdout); // the next check may take its time
    buffer_free(&clean);
}

static void add_member(struct buffer *json, const char *name, struct view text)
{
    buffer_printf(json, "%s\"%s\":", json->at[json->len - 1] == '{' ? "" : ",", name);
    json_add_string(json, utf8_valid(text) ? text : VIEW("(no UTF-8)"));
}

static void add_json(struct findings *f, enum finding_state state, const char *check,
                     const char *hint, struct view text)
{
    buffer_printf(&f->json, "%s\n  {", f->json.len ? "," : "");
    add_member(&f->json, "check", view_of(check));
    add_member(&f->json, "state", view_of(names[state]));
    add_member(&f->json, "text", text);
    if (*hint)
        add_member(&f->json, "hint", view_of(hint));
    buffer_add_view(&f->json, VIEW("}"));
}

void findings_add(struct findings *f, enum finding_state state, const char *check, const char *hint,
                  const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    CHECK(vasprintf(&text, fmt, args) >= 0);
    va_end(args);
    f->count[state]++;
    if (f->is_json)
        add_json(f, state, check, hint, view_of(text));
    else
        print_line(f, state, check, hint, view_of(text));
    free(text);
}

int findings_end(struct findings *f)
{
    size_t wrong = f->count[FINDING_WRONG], warnings = f->count[FINDING_WARN];
    if (f->is_json)
        printf("{\"ok\":%s,\"wrong\":%zu,\"warnings\":%zu,\"checks\":[" VIEW_FMT "\n]}\n",
               wrong ? "false" : "true", wrong, warnings, VIEW_ARG(buffer_view(&f->json)));
    else
        printf("%zu wrong, %zu warning%s\n", wrong, warnings, warnings == 1 ? "" : "s");
    buffer_free(&f->json);
    return wrong ? 1 : 0;
}
