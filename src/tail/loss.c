#include "tail/loss.h"

#include "log/notice.h"

struct stream_info stream_info_read(struct resp_reader *r, const struct resp_node *map)
{
    struct stream_info info = { 0 };
    struct resp_node name, value;
    if (resp_is_error(map, VIEW("ERR no such key"))) {
        info.known = true;
        return info;
    }
    if (map->type != RESP_MAP && map->type != RESP_ARRAY)
        return info;
    info.known = info.exists = true;
    for (size_t i = 0; i + 1 < map->count; i += 2) {
        if (!resp_next(r, &name) || !resp_next(r, &value))
            break;
        struct resp_reader children = *r;
        resp_skip(r, &value);
        if (view_eq(name.text, VIEW("length"))) {
            info.length = (uint64_t)value.integer;
        } else if (view_eq(name.text, VIEW("entries-added"))) {
            info.added = (uint64_t)value.integer;
            info.added_known = true;
        } else if (view_eq(name.text, VIEW("last-generated-id"))) {
            eventid_parse(value.text, &info.last_generated);
        } else if (view_eq(name.text, VIEW("max-deleted-entry-id"))) {
            eventid_parse(value.text, &info.max_deleted);
        } else if (view_eq(name.text, VIEW("first-entry"))) {
            struct resp_node id;
            info.has_entries = value.type == RESP_ARRAY && value.count == 2 &&
                               resp_next(&children, &id) && eventid_parse(id.text, &info.first);
        }
    }
    return info;
}

static struct loss nothing(void)
{
    return (struct loss){ .kind = LOSS_NOTHING };
}

static struct loss trimmed(int64_t missed)
{
    return (struct loss){ .kind = LOSS_TRIMMED, .missed = missed };
}

static struct loss reset(const char *why)
{
    return (struct loss){ .kind = LOSS_RESET, .missed = MISSED_UNKNOWN, .why = why };
}

static bool is_counted(const struct stream_had *had, const struct stream_info *info)
{
    return had->added_known && info->added_known;
}

// It can be neither another stream that was filled unseen nor one that lost what it had when
// Redis came back (see loss.h).
static bool is_the_same_life(const struct stream_had *had, const struct stream_info *info)
{
    if (had->unsure)
        return false;
    return had->added >= LIFE_IS_LONG || eventid_cmp(info->max_deleted, had->last) == 0;
}

// `first` < last: nothing that is newer than `first` was trimmed.
static struct loss explain_within(const struct stream_had *had, const struct stream_info *info)
{
    if (had->unsure)
        return reset("Redis came back without the newest entry");
    if (!info->added_known)
        return nothing();
    if (eventid_cmp(info->max_deleted, had->last) < 0)
        return reset("it never had the event that we had last");
    if (had->added_known && !is_the_same_life(had, info)) {
        struct loss loss = reset("it may be another stream");
        loss.may_be_the_same = true;
        return loss;
    }
    return nothing();
}

// So many came since and are not there: were they trimmed?
static struct loss explain_gone(const struct stream_had *had, const struct stream_info *info,
                                uint64_t gone)
{
    bool xdel_may_have = eventid_cmp(info->max_deleted, had->counted) > 0;
    bool xdel_took_some = xdel_may_have && eventid_cmp(info->max_deleted, had->last) > 0;
    if (!is_the_same_life(had, info))
        return trimmed(MISSED_UNKNOWN);
    if (gone == 0 || (gone == 1 && xdel_took_some))
        return nothing();
    return trimmed(xdel_may_have ? MISSED_UNKNOWN : (int64_t)gone);
}

// Nothing up to `last` is left.
static struct loss explain_all_gone(const struct stream_had *had, const struct stream_info *info)
{
    if (eventid_cmp(info->last_generated, had->last) == 0) {
        bool xdel_may_have = eventid_cmp(info->max_deleted, had->counted) > 0;
        bool was_added_to = is_counted(had, info) && info->added != had->added;
        return was_added_to && !xdel_may_have ? reset("it is another one with the same last id")
                                              : nothing();
    }
    if (!is_counted(had, info))
        return trimmed(MISSED_UNKNOWN);
    if (info->added < had->added + info->length)
        return reset("it holds more than was added to it since");
    return explain_gone(had, info, info->added - had->added - info->length);
}

struct loss loss_explain(const struct stream_had *had, const struct stream_info *info)
{
    if (!info->exists)
        return reset("it was deleted");
    if (eventid_cmp(info->last_generated, had->last) < 0)
        return reset("its ids went back");
    if (is_counted(had, info) && info->added < had->added)
        return reset("it was deleted and created again");
    if (info->has_entries && eventid_cmp(info->first, had->last) <= 0)
        return explain_within(had, info);
    return explain_all_gone(had, info);
}

struct loss loss_at_the_start(const struct stream_had *had, const struct stream_info *info)
{
    if (!is_counted(had, info) || info->added <= had->added + info->length)
        return nothing();
    bool xdel_took_some = !eventid_is_none(info->max_deleted);
    bool is_one = info->added - had->added - info->length == 1;
    return xdel_took_some && is_one ? nothing() : trimmed(MISSED_UNKNOWN);
}
