#include "shared/letter.h"

void news_take(struct news *news, struct log *l)
{
    log_trim(l, news->first_seq);
    for (size_t i = 0; i < news->extent_count; i++)
        log_extend(l, &news->extents[i]);
    if (l->len == 0) // what there was has left the ring
        log_skip_to(l, news->end_seq);
    for (size_t i = 0; i < news->run_count; i++)
        log_begin_run(l, news_runs(news)[i]);
}
