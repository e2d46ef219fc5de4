#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FULL (256 * KIB)
#define COLUMNS 80 // where the terminal does not say
#define ERASE "\r\033[K"

// ---- signals --------------------------------------------------------------------

static void end_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

// The shell's prompt is to begin on an empty line. Only calls that a handler may make.
static void end_by_signal(int number)
{
    ssize_t ignored = write(STDERR_FILENO, ERASE, sizeof(ERASE) - 1);
    (void)ignored;
    end_by(number);
}

// The reader of our pipe has gone. Its other end is watched, for a quiet stream would not
// write, and so never notice.
static void reader_ready(struct watch *w, uint32_t events)
{
    (void)w;
    if (events & (EPOLLERR | EPOLLHUP))
        end_by(SIGPIPE);
}

// ---- the line of state ------------------------------------------------------------

static void write_error(struct view text)
{
    ssize_t ignored = write(STDERR_FILENO, text.at, text.len);
    (void)ignored; // nobody is left to tell
}

static void hide_state(struct screen *s)
{
    if (s->is_shown)
        write_error(VIEW(ERASE));
    s->is_shown = false;
}

static void show_state(struct screen *s)
{
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    size_t columns = is_known ? size.ws_col : COLUMNS;
    struct buffer line = { 0 };
    if (!s->has_state || s->state.len == 0)
        return;
    size_t len = s->state.len < columns - 1 ? s->state.len : columns - 1;
    buffer_printf(&line, ERASE "%s%.*s%s", s->is_coloured ? "\033[7m" : "", (int)len, s->state.at,
                  s->is_coloured ? "\033[0m" : "");
    write_error(buffer_view(&line));
    buffer_free(&line);
    s->is_shown = true;
}

void screen_state(struct screen *s, struct view line)
{
    if (!s->has_state)
        return;
    s->state.len = 0;
    buffer_add_view(&s->state, line);
    show_state(s);
}

void screen_note(struct screen *s, struct view line)
{
    struct buffer text = { 0 };
    screen_flush(s); // in the order in which things happened
    hide_state(s);
    buffer_printf(&text, "bond-broker: " VIEW_FMT "\n", VIEW_ARG(line));
    write_error(buffer_view(&text));
    buffer_free(&text);
    show_state(s);
}

// ---- lines ------------------------------------------------------------------------

// A terminal or a pipe may have been made non-blocking by whoever shares it.
static bool wait_until_writable(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&out, 1, -1) >= 0 || errno == EINTR;
}

static bool write_all(struct view left)
{
    while (left.len) {
        ssize_t n = write(STDOUT_FILENO, left.at, left.len);
        if (n >= 0)
            left = (struct view){ left.at + n, left.len - (size_t)n };
        else if (errno == EPIPE)
            end_by(SIGPIPE);
        else if (errno != EINTR && (errno != EAGAIN || !wait_until_writable()))
            return false;
    }
    return true;
}

bool screen_flush(struct screen *s)
{
    if (s->out.len == 0)
        return true;
    hide_state(s);
    bool written = write_all(buffer_view(&s->out));
    if (!written)
        fprintf(stderr, "bond-broker: cannot write: %s\n", strerror(errno));
    s->out.len = 0;
    show_state(s);
    return written;
}

void screen_flush_if_full(struct screen *s)
{
    if (s->out.len >= FULL)
        screen_flush(s);
}

void screen_init(struct screen *s, struct loop *loop, bool may_colour)
{
    const char *no_color = getenv("NO_COLOR");
    bool is_terminal = isatty(STDOUT_FILENO);
    *s = (struct screen){ .reader.ready = reader_ready };
    s->is_coloured = is_terminal && may_colour && !(no_color && *no_color);
    s->has_state = is_terminal && isatty(STDERR_FILENO);
    if (s->has_state) {
        signal(SIGINT, end_by_signal);
        signal(SIGTERM, end_by_signal);
    }
    loop_watch(loop, STDOUT_FILENO, &s->reader, 0); // a file cannot be watched, nor need it be
}

void screen_done(struct screen *s)
{
    screen_flush(s);
    hide_state(s);
    buffer_free(&s->out);
    buffer_free(&s->state);
}
