#include "brokers.h"

#include <signal.h>

#define PORT_BASE 9000

void brokers_start(struct brokers *b, int slot)
{
    struct broker_slot *s = &b->slots[slot];
    if (s->process)
        return;
    s->number = ++b->number;
    s->port = PORT_BASE + s->number;
    s->drains = false;
    s->process = process_new(s->number);
    process_set(s->process, "BOND_PORT", "%d", s->port);
    b->set_up(b, s->process);
    process_start(s->process);
}

void brokers_drain(struct brokers *b, int slot)
{
    struct broker_slot *s = &b->slots[slot];
    if (s->process == NULL || s->process->ended)
        return;
    s->drains = true;
    process_signal(s->process, SIGTERM);
}

void brokers_kill(struct brokers *b, int slot)
{
    struct broker_slot *s = &b->slots[slot];
    if (s->process == NULL)
        return;
    process_kill(s->process);
    process_free(s->process);
    s->process = NULL;
}

void brokers_bury_ended(struct brokers *b)
{
    for (int i = 0; i < b->count; i++) {
        struct broker_slot *s = &b->slots[i];
        if (s->process == NULL || !s->process->ended)
            continue;
        if (!s->drains || s->process->status != 0)
            world_fail("%s ended %s, with %d", s->process->name,
                       s->drains ? "as it was told" : "by itself", s->process->status);
        process_free(s->process);
        s->process = NULL;
    }
}

struct broker_slot *brokers_choose(struct brokers *b, struct rng *r)
{
    struct broker_slot *chosen = NULL;
    uint64_t count = 0;
    for (int i = 0; i < b->count; i++)
        if (b->slots[i].process && !b->slots[i].drains && rng_below(r, ++count) == 0)
            chosen = &b->slots[i];
    return chosen;
}
