#include "memory.h"

#include <stdarg.h>
#include <stdio.h>

struct block {
    struct list node;
    struct owner *owner;
    size_t size;
};
#define MUST_ALLOC_CODE_MAX 96 // bytes of its code, about
_Static_assert(sizeof(struct block) % 16 == 0, "what follows a block's head is aligned");

void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void __wrap_free(void *p);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
int __wrap_vasprintf(char **out, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// What is made before any world, or beside them, is nobody's: the program's own.
static struct owner program = { .name = "the program",
                                .blocks = { &program.blocks, &program.blocks } };
static struct owner *user = &program;

void owner_init(struct owner *o, const char *name)
{
    *o = (struct owner){ .name = name };
    list_init(&o->blocks);
}

void owner_drop(struct owner *o)
{
    for (struct list *node; (node = list_pop(&o->blocks));)
        __real_free(LIST_ITEM(node, struct block, node));
    o->bytes = o->count = 0;
}

struct owner *memory_use(struct owner *o)
{
    struct owner *was = user;
    user = o ? o : &program;
    return was;
}

static void count(struct block *b, struct owner *o, size_t size)
{
    b->owner = o;
    b->size = size;
    o->bytes += size;
    o->count++;
    if (o->bytes > o->bytes_max)
        o->bytes_max = o->bytes;
    list_init(&b->node);
    list_push(&o->blocks, &b->node);
}

static void uncount(struct block *b)
{
    b->owner->bytes -= b->size;
    b->owner->count--;
    list_remove(&b->node);
}

// must_alloc would stop the process; it is right to, and no promise.
static bool is_must_alloc(const char *caller)
{
    const char *begin = (const char *)(uintptr_t)must_alloc;
    return caller >= begin && caller < begin + MUST_ALLOC_CODE_MAX;
}

static void *allocate(size_t size)
{
    struct block *b = __real_malloc(sizeof(*b) + size);
    if (b == NULL)
        return NULL;
    count(b, user, size);
    return b + 1;
}

void *__wrap_malloc(size_t size)
{
    if (user->is_short && !is_must_alloc(__builtin_return_address(0)))
        return NULL;
    return allocate(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    CHECK(size == 0 || n <= SIZE_MAX / 2 / size);
    void *p = allocate(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *__wrap_realloc(void *p, size_t size)
{
    if (p == NULL)
        return allocate(size);
    struct block *b = (struct block *)p - 1;
    struct owner *o = b->owner;
    uncount(b);
    struct block *moved = __real_realloc(b, sizeof(*b) + size);
    CHECK(moved != NULL);
    count(moved, o, size);
    return moved + 1;
}

void __wrap_free(void *p)
{
    if (p == NULL)
        return;
    struct block *b = (struct block *)p - 1;
    uncount(b);
    __real_free(b);
}

char *__wrap_strndup(const char *text, size_t most)
{
    size_t len = strnlen(text, most);
    char *copy = allocate(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, PTRDIFF_MAX);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    *out = allocate((size_t)len + 1);
    return vsnprintf(*out, (size_t)len + 1, fmt, args);
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = __wrap_vasprintf(out, fmt, args);
    va_end(args);
    return len;
}
