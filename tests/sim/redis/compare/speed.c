#include "speed.h"

#include <stdio.h>
#include <time.h>

#include "../model.h"
#include "wire/resp.h"

#define EVENTS 500
#define STREAMS 8
#define PADDING "................................................................................"

static double used_s(void) // processor time: the machine has others to serve
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum who { LINK, HOTLINE, WRITER, WHO_COUNT };

// Who says what, in turn; written once, so that only the model is measured.
struct script {
    struct buffer text;
    size_t count, end[3 * EVENTS + 1]; // of each in text
    enum who who[3 * EVENTS + 1];
};

static void add_turn(struct script *s, enum who who)
{
    s->who[s->count] = who;
    s->end[s->count++] = s->text.len;
}

// What a broker does about an event: the key is read because tracking said so, XREAD BLOCK and
// XRANGE wait for the next one, and it comes.
static void write_event(struct script *s, int i)
{
    char key[] = "stream:0", id[24];
    key[7] = (char)('0' + i % STREAMS);
    snprintf(id, sizeof(id), "%d-0", 1 + i / STREAMS);
    const struct view k = view_of(key), from = view_of(id), n = VIEW("100");
    const struct view range[] = { VIEW("XRANGE"), k, from, VIEW("+"), VIEW("COUNT"), n };
    const struct view block[] = {
        VIEW("XREAD"), VIEW("BLOCK"), VIEW("1000"), VIEW("COUNT"), VIEW("1"), VIEW("STREAMS"), k,
        from
    };
    resp_command(&s->text, ARRAY_LEN(range), range);
    add_turn(s, LINK);
    resp_command(&s->text, ARRAY_LEN(block), block);
    resp_command(&s->text, ARRAY_LEN(range), range);
    add_turn(s, HOTLINE);
    snprintf(id, sizeof(id), "%d-0", 2 + i / STREAMS);
    const struct view add[] = { VIEW("XADD"), k, view_of(id), VIEW("data"), VIEW(PADDING) };
    resp_command(&s->text, ARRAY_LEN(add), add);
    add_turn(s, WRITER);
}

static void write_script(struct script *s)
{
    buffer_add_view(&s->text, VIEW("HELLO 3\r\nCLIENT TRACKING ON\r\n"));
    add_turn(s, LINK);
    for (int i = 0; i < EVENTS; i++)
        write_event(s, i);
}

static size_t play(const struct script *s)
{
    struct model *m = model_new(&(struct model_options){ .unix_us = 1700000000000000 });
    struct model_conn *conns[WHO_COUNT];
    size_t heard = 0, from = 0;
    for (int i = 0; i < WHO_COUNT; i++)
        conns[i] = model_connect(m);
    for (size_t i = 0; i < s->count; from = s->end[i++]) {
        model_feed(conns[s->who[i]], s->text.at + from, s->end[i] - from);
        for (int j = 0; j < WHO_COUNT; j++) {
            size_t len = model_output(conns[j]).len;
            model_output_taken(conns[j], len);
            heard += len;
        }
    }
    model_free(m);
    return heard;
}

void speed_measure(double seconds)
{
    static struct script script;
    write_script(&script);
    size_t worlds = 0, heard = 0;
    double began = used_s();
    for (; used_s() - began < seconds; worlds++)
        heard += play(&script);
    double us = (used_s() - began) * 1e6 / (double)worlds;
    printf(
        "a world of %d XADD, %d XREAD BLOCK, %d XRANGE on %d streams: %.0f us, %.0f ns a command, "
        "%zu bytes answered\n",
        EVENTS, EVENTS, 2 * EVENTS, STREAMS, us, us * 1000 / (4 * EVENTS), heard / worlds);
    buffer_free(&script.text);
}
