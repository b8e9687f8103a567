/* The troubles. */
#include "trouble.h"

#include "hotflash.h"

static volatile uint32_t spinning;

__attribute__((noinline)) static int overflow(int n)
{
    volatile int pad[64];

    pad[0] = n;
    return trouble == TROUBLE_NONE ? n : overflow(n + 1) + pad[0];
}

__attribute__((noinline)) static void spin(void)
{
    while (trouble != TROUBLE_NONE) {
        spinning++;
    }
}

__attribute__((noinline)) static void bus(void)
{
    (void)*(volatile uint32_t *)0x70000000u;
}

__attribute__((noinline)) static void divide(void)
{
    volatile int zero = 0;

    repaired = (uint32_t)(7 / zero);
}

__attribute__((noinline)) static void unaligned(void)
{
    __asm volatile("ldmia %0, {r2, r3}" ::"r"(0x20080001u) : "r2", "r3", "memory");
}

__attribute__((noinline)) static void undefined(void)
{
    __asm volatile("udf #7");
}

__attribute__((noinline)) static void words(void)
{
    for (int i = 0; i < 40; i++) {
        hf_log("a line of the log before the fault");
    }
    hf_log("last words");
    divide();
}

/* Called at each turn. */
__attribute__((noinline)) void trouble_spared(void)
{
    __asm volatile("");
}

__attribute__((noinline)) void make_trouble(uint32_t what)
{
    switch (what) {
    case TROUBLE_UNDEFINED:
        undefined();
        break;
    case TROUBLE_DIVIDE:
        divide();
        break;
    case TROUBLE_UNALIGNED:
        unaligned();
        break;
    case TROUBLE_BUS:
        bus();
        break;
    case TROUBLE_FETCH:
        ((void (*)(void))0x40000001u)();
        break;
    case TROUBLE_HARD:
        __asm volatile("cpsid i");
        bus();
        __asm volatile("cpsie i");
        break;
    case TROUBLE_SPIN:
        spin();
        break;
    case TROUBLE_OVERFLOW:
        repaired = (uint32_t)overflow(0);
        break;
    case TROUBLE_MASKED:
        __asm volatile("cpsid i");
        spin();
        __asm volatile("cpsie i");
        break;
    case TROUBLE_CHECK:
        while (trouble != TROUBLE_NONE) {
            check_registers();
            check_fp();
        }
        break;
    case TROUBLE_SPEAK:
        hf_log("here");
        break;
    case TROUBLE_WORDS:
        words();
        break;
    case TROUBLE_DEEP:
        deep(1);
        break;
    default:
        break;
    }
}
