/* Never edited: starts everything, and walks through the scenarios for ever. */
#include "coro.h"
#include "hotflash.h"
#include "soak.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define NVIC_ISER REG(0xE000E100u)
#define NVIC_PRIORITY(irq) (*(volatile uint8_t *)(0xE000E400u + (irq)))
#define SYST_CSR REG(0xE000E010u)
#define SYST_RVR REG(0xE000E014u)
#define SYST_CVR REG(0xE000E018u)
#define KINDS 9u
#define COROUTINE_WORDS 256u

volatile uint32_t epoch, calm, lock_epoch, told_wanted, seed, failed;
volatile uint32_t nested[3];
volatile uint32_t ran[KINDS], aged[KINDS]; /* scenarios by kind; of them, how many saw three generations and more */
volatile uint32_t rounds; /* of main */
jmp_buf coroutine_here, coroutine_caller;
volatile uint32_t coroutine_turns;
volatile uint32_t coroutine_taken; /* by which task, plus one */
static uint32_t coroutine_stack[COROUTINE_WORDS] __attribute__((aligned(8)));

void call_on(uint32_t *top, void (*function)(void));

__attribute__((noreturn)) void fail(uint32_t code)
{
    failed = code;
    for (;;) {
        __asm volatile("udf #1");
    }
}

void check(uint32_t got, uint32_t expected)
{
    if (got != expected) {
        fail(got ^ expected);
    }
}

FIXED uint32_t hold(uint32_t x, uint32_t generations)
{
    WAIT(generations);
    return f(x);
}

FIXED uint32_t apply(uint32_t (*visit)(uint32_t x, uint32_t generations), uint32_t x, uint32_t generations)
{
    uint32_t result = visit(x, generations / 2u);

    WAIT(generations / 2u);
    return result;
}

/* The coroutine gets as far as its middle, then waits in a jmp_buf, while other code uses the stack of here. */
static void run_coroutine(uint32_t generations)
{
    uint32_t turns;

    __asm volatile("cpsid i");
    if (coroutine_taken != 0) { /* by another task */
        __asm volatile("cpsie i");
        return;
    }
    coroutine_taken = 1u + (uint32_t)(current - tasks);
    __asm volatile("cpsie i");
    turns = coroutine_turns;
    if (setjmp(coroutine_caller) == 0) {
        call_on(coroutine_stack + COROUTINE_WORDS, coroutine);
    }
    (void)hold(1, generations);
    if (setjmp(coroutine_caller) == 0) {
        longjmp(coroutine_here, 1);
    }
    check(coroutine_turns, turns + 1u);
    coroutine_taken = 0;
}

FIXED void scenario(uint32_t *rng)
{
    uint32_t since = epoch, kind = next(rng) % KINDS, x = next(rng) & 0xFFFFu, level = next(rng) % 8u;
    uint32_t generations = next(rng) % 6u;

    switch (kind) {
    case 0:
        check(leaf(x, generations), f(x));
        break;
    case 1:
        check(deep(x, level, generations), f(x));
        break;
    case 2:
        check(ping(x, level, generations), f(x));
        break;
    case 3:
        check(pong(x, level, generations), f(x));
        break;
    case 4:
        check(tail(x, generations), f(x));
        break;
    case 5:
        check(visitor(x, generations), f(x));
        break;
    case 6:
        check(escape(x, generations), f(x));
        break;
    case 7:
        run_coroutine(generations);
        break;
    default:
        check(lock_outer(x, generations), f(x));
        break;
    }
    ran[kind]++;
    aged[kind] += epoch - since >= 3u;
}

int main(void);

int main(void)
{
    uint32_t rng;

    while (seed == 0) { /* the host says it */
        __asm volatile("wfi");
    }
    rng = seed;
    NVIC_PRIORITY(20) = 0xC0;
    NVIC_PRIORITY(21) = 0x80;
    NVIC_PRIORITY(22) = 0x40;
    NVIC_ISER = 1u << 20 | 1u << 21 | 1u << 22;
    SYST_RVR = 25000u - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7;
    for (;;) {
        tasks_tend(&rng);
        scenario(&rng);
        rounds++;
    }
}
