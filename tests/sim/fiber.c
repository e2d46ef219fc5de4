#include "fiber.h"

#include <sys/mman.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES (1024 * KIB)
#else
#define STACK_BYTES (256 * KIB)
#endif

struct context {
#ifdef __x86_64__
    void *sp;
#else
    ucontext_t u;
#endif
#ifdef __SANITIZE_ADDRESS__
    void *fake_stack; // ASan's, while we are away
#endif
};

struct fiber {
    struct context here, above; // ours, and of who entered us
    void (*run)(void *arg);
    void *arg;
    char *stack;
    bool ended;
    struct fiber *next_free;
#ifdef __SANITIZE_ADDRESS__
    const void *above_stack; // of who entered us
    size_t above_bytes;
#endif
};

static struct fiber *current;
static struct fiber *free_fibers; // with their stacks, to be used again

// ---- the switch -----------------------------------------------------------------

#ifdef __x86_64__
void fiber_switch(void **save_sp, void *to_sp);
// What a call must preserve is pushed; the rest the compiler has saved already.
__asm__(".text\n"
        ".globl fiber_switch\n"
        ".type fiber_switch, @function\n"
        "fiber_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size fiber_switch, .-fiber_switch\n");
#endif

static void go(struct context *from, struct context *to)
{
#ifdef __x86_64__
    fiber_switch(&from->sp, to->sp);
#else
    CHECK(swapcontext(&from->u, &to->u) == 0);
#endif
}

#ifdef __SANITIZE_ADDRESS__
static void go_down(struct fiber *f)
{
    __sanitizer_start_switch_fiber(&f->above.fake_stack, f->stack, STACK_BYTES);
    go(&f->above, &f->here);
    __sanitizer_finish_switch_fiber(f->above.fake_stack, NULL, NULL);
}

static void go_up(struct fiber *f)
{
    __sanitizer_start_switch_fiber(f->ended ? NULL : &f->here.fake_stack, f->above_stack,
                                   f->above_bytes);
    go(&f->here, &f->above);
    __sanitizer_finish_switch_fiber(f->here.fake_stack, &f->above_stack, &f->above_bytes);
}
#else
static void go_down(struct fiber *f)
{
    go(&f->above, &f->here);
}

static void go_up(struct fiber *f)
{
    go(&f->here, &f->above);
}
#endif

static void begin(void)
{
    struct fiber *f = current;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &f->above_stack, &f->above_bytes);
#endif
    f->run(f->arg);
    f->ended = true;
    go_up(f);
    CHECK(!"an ended fiber was entered");
}

// ---- for the scheduler ----------------------------------------------------------

static void prepare(struct fiber *f)
{
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(f->stack, STACK_BYTES); // left by one that was forgotten
    f->here.fake_stack = NULL;
#endif
#ifdef __x86_64__
    // Six registers, and where to return to; a function begins with its stack at 16 n + 8.
    void **sp = (void **)(void *)(f->stack + STACK_BYTES) - 8;
    memset(sp, 0, 8 * sizeof(*sp));
    union {
        void (*function)(void);
        void *address;
    } entry = { .function = begin };
    sp[6] = entry.address;
    f->here.sp = sp;
#else
    CHECK(getcontext(&f->here.u) == 0);
    f->here.u.uc_stack.ss_sp = f->stack;
    f->here.u.uc_stack.ss_size = STACK_BYTES;
    f->here.u.uc_link = NULL;
    makecontext(&f->here.u, begin, 0);
#endif
}

struct fiber *fiber_new(void (*run)(void *arg), void *arg)
{
    struct fiber *f = free_fibers;
    if (f) {
        free_fibers = f->next_free;
    } else { // it outlives its world, so it is none of malloc's
        char *at = mmap(NULL, sizeof(*f) + STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(at != MAP_FAILED);
        f = (struct fiber *)(void *)(at + STACK_BYTES);
        f->stack = at;
    }
    f->run = run;
    f->arg = arg;
    f->ended = false;
    prepare(f);
    return f;
}

void fiber_free(struct fiber *f)
{
    CHECK(f != current);
    f->next_free = free_fibers;
    free_fibers = f;
}

void fiber_enter(struct fiber *f)
{
    CHECK(current == NULL && !f->ended);
    current = f;
    go_down(f);
    current = NULL;
}

void fiber_leave(void)
{
    CHECK(current != NULL);
    go_up(current);
}

bool fiber_has_ended(const struct fiber *f)
{
    return f->ended;
}
