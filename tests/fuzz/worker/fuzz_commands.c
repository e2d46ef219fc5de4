// A client's messages on a shared socket. Whatever comes: a command or a reason, and its streams
// are within their bounds.
#include "worker/commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct command c;
    struct command_item item;
    size_t count = 0;
    command_read(&c, (struct view){ (const char *)data, size });
    CHECK((c.kind == COMMAND_BAD) == (c.why != NULL));
    CHECK(c.kind == COMMAND_BAD || c.ref.len <= COMMAND_REF_MAX);
    while (c.kind != COMMAND_BAD && command_next(&c, &item)) {
        CHECK(item.wrong || (item.name.len > 0 && item.name.len <= COMMAND_NAME_MAX));
        CHECK(item.wrong || item.options.scope.len <= COMMAND_SCOPE_MAX);
        count++;
    }
    CHECK(count <= size);
    command_done(&c);
    return 0;
}
