// How many entries one read of a stream asks for. Redis knows counts only; what matters,
// to the memory of the replies and to the time that one takes, is bytes. So it begins with
// a small page, learns from each answer how large the stream's entries are, and lets
// the page grow only while pages come back full.
//
// Pure: no clock, no I/O.
#pragma once

#include "base/base.h"

#define PAGE_BYTES (1 * MIB) // what one read is to bring, going by what came before
#define PAGE_FIRST 4         // entries, while their size is not known
#define PAGE_MIN 2           // one of them is the one that we have
#define PAGE_MAX 512

struct paging {
    size_t page;        // entries to ask for in one read
    size_t entry_bytes; // of the entries that were read last, on average; 0: not known yet
    size_t expected;    // entries that the next read will bring, if it goes on as it was
};

void paging_init(struct paging *p);
// An answer of so many entries (not 0) came; `is_full`: there may be more behind them.
void paging_learn(struct paging *p, size_t entries, size_t bytes, bool is_full);
// The answer did not come before the connection broke: ask for half as much.
void paging_ask_less(struct paging *p);
