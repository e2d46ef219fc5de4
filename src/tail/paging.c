#include "tail/paging.h"

#define PAGE_GROWTH 64 // times, from one full page to the next

void paging_init(struct paging *p)
{
    *p = (struct paging){ .page = PAGE_FIRST, .expected = PAGE_FIRST };
}

static size_t at_least(size_t n, size_t least)
{
    return n < least ? least : n;
}

static size_t at_most(size_t n, size_t most)
{
    return n > most ? most : n;
}

void paging_learn(struct paging *p, size_t entries, size_t bytes, bool is_full)
{
    p->entry_bytes = at_least(bytes / entries, 1);
    size_t wanted = is_full ? p->page * PAGE_GROWTH : p->page;
    wanted = at_most(wanted, at_most(PAGE_BYTES / p->entry_bytes, PAGE_MAX));
    p->page = at_least(wanted, PAGE_MIN);
    // The one that we have, and as many as came; one more costs little if it does not come.
    p->expected = is_full ? p->page : at_most(entries + 1, p->page);
}

void paging_ask_less(struct paging *p)
{
    p->page = at_least(p->page / 2, PAGE_MIN);
    p->expected = at_most(p->expected, p->page);
}
