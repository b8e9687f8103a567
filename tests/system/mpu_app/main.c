/* Goes astray when asked to. Meanwhile a timer walks the MPU's registers wherever it hits, measures how late it is, and
 * sets off handlers that nest and follow each other. */
#include "strays.h"

#include "hotflash.h"

enum { NONE, WRITE, CALL, OVERFLOW, CALL_RAM, OWN_REGION, MPU_OFF, UNPRIVILEGED };

volatile uint32_t trouble, target, period, awake;
volatile uint32_t turns, called, answer;
volatile uint32_t write_low, write_high; /* where the monitor writes slots */
volatile uint32_t timers, in_monitor, in_write, new_in_write;
volatile uint32_t late_sum, late_max; /* in SysTick's ticks */
volatile uint32_t runs[2][3] /* of old and of pushed handlers */, order_broken;
static volatile uint32_t step;

__attribute__((noinline)) uint32_t value(uint32_t x)
{
    return x + 1u;
}

__attribute__((noinline)) void stray_write(void)
{
    *(volatile uint32_t *)target ^= 0x01010101u;
}

__attribute__((noinline)) void stray_call(void)
{
    ((void (*)(void))(target | 1u))();
    called++; /* a call, not a jump */
}

__attribute__((section(".ramfunc"), noinline, patchable_function_entry(0))) void ram_function(void)
{
    called++;
}

__attribute__((noinline)) uint32_t overflow(uint32_t depth)
{
    volatile uint32_t room[4] = {depth, depth, depth, depth};

    return depth == ~0u ? 0 : overflow(depth + 1u) + room[depth & 3u];
}

/* Outer sets off one that preempts it and one that has to wait for its end. */
void outer_handler(void)
{
    order_broken += step != 0;
    step = 1;
    NVIC_ISPR = 1u << CHAINED | 1u << INNER;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    order_broken += step != 2;
    step = 3;
    runs[0][0]++;
}

void inner_handler(void)
{
    order_broken += step != 1;
    step = 2;
    runs[0][1]++;
}

void chained_handler(void)
{
    order_broken += step != 3;
    step = 0;
    runs[0][2]++;
}

void timer(const uint32_t *frame)
{
    uint32_t left = SYST_CVR, late = left == 0 ? 0 : SYST_RVR + 1u - left;
    uint32_t pc = frame[6];

    late_sum += late;
    if (late > late_max) {
        late_max = late;
    }
    timers++;
    in_monitor += NVIC_IABR >> 31;
    if (pc >= write_low && pc < write_high) {
        in_write++;
        new_in_write += 0;
    }
    walk();
    if (step == 0 && (NVIC_IABR >> OUTER & 1u) == 0) {
        NVIC_ISPR = 1u << OUTER;
    }
}

static void own_region(void)
{
    MPU_CTRL = 0;
    MPU_RNR = 2;
    MPU_RBAR = 0;
    MPU_RASR = 6u << 24 | 1u << 17 | 4u << 1 | 1u; /* the first 32 bytes are read-only */
    MPU_CTRL = 7;                                  /* in fault handlers as well */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

static void go_astray(uint32_t how)
{
    switch (how) {
    case WRITE:
        stray_write();
        break;
    case CALL:
        stray_call();
        break;
    case OVERFLOW:
        answer = overflow(0);
        break;
    case CALL_RAM:
        ram_function();
        break;
    case OWN_REGION:
        own_region();
        break;
    case MPU_OFF:
        MPU_CTRL = 0;
        break;
    case UNPRIVILEGED:
        __asm__ volatile("msr control, %0\n\tisb" ::"r"(1u) : "memory");
        break;
    default:
        break;
    }
}

int main(void)
{
    uint32_t set = 0;

    NVIC_PRIORITY(OUTER) = 0x60;
    NVIC_PRIORITY(CHAINED) = 0x60;
    NVIC_PRIORITY(INNER) = 0x40;
    NVIC_ISER = 1u << OUTER | 1u << INNER | 1u << CHAINED;
    period = 25000; /* a millisecond: a turn per interrupt leaves the machine to others */
    hf_log("application started");
    for (;;) {
        uint32_t how = trouble;

        if (period != set) {
            set = period;
            SYST_RVR = set - 1u;
            SYST_CVR = 0;
            SYST_CSR = 7;
            SYST_PRIORITY = awake ? 0 : 0x20;
        }
        if (how != NONE) {
            trouble = NONE;
            go_astray(how);
        }
        answer = value(1);
        turns++;
        if (!awake) {
            __asm__ volatile("wfi");
        }
    }
}
