/* Gets into trouble when asked to, from a thread or from handlers, and notes what parking and restarts do. */
#include "trouble.h"

#include <stdio.h>

#include "hotflash.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define NVIC_ISER REG(0xE000E100u)
#define NVIC_ISPR REG(0xE000E200u)
#define NVIC_PRIORITY(irq) (*(volatile uint8_t *)(0xE000E400u + (irq)))
#define SCB_CCR REG(0xE000ED14u)
#define OUTER 20u
#define INNER 21u
#define KEPT 22

volatile uint32_t trouble, place, repaired;
volatile uint32_t starts, turns, ticks, kept, parks, continues, last_why, park_ipsr;
volatile uint32_t order[16], cleaned;
volatile uint32_t broken, checks, fp_broken; /* registers.S */
volatile int kept_value = 41;

void SysTick_Handler(void);
void outer_handler(void);
void inner_handler(void);
void kept_handler(void);

static void on_park(uint32_t why)
{
    uint32_t ipsr;

    __asm volatile("mrs %0, ipsr" : "=r"(ipsr));
    park_ipsr = ipsr;
    last_why = why;
    parks++;
    NVIC_ISPR = 1u << KEPT; /* runs if, and when, listed interrupts do */
}

static void on_continue(uint32_t why)
{
    continues += why != 0;
}

static const int16_t keep[] = {KEPT};
static const struct hf_parking parking = {
    .on_park = on_park, .on_continue = on_continue, .keep = keep, .keep_count = 1};

static void note(void *argument)
{
    order[cleaned++ & 15u] = (uint32_t)argument;
}

void kept_handler(void)
{
    kept++;
}

void SysTick_Handler(void)
{
    ticks++;
}

void outer_handler(void)
{
    if (place == PLACE_NESTED) {
        NVIC_ISPR = 1u << INNER;
        __asm volatile("dsb\n\tisb");
    } else {
        make_trouble(trouble);
    }
}

void inner_handler(void)
{
    make_trouble(trouble);
}

__attribute__((noinline)) void deep(int level)
{
    struct hf_cleanup cleanup = {note, (void *)(intptr_t)level, 0};

    hf_cleanup_add(&cleanup);
    if (level < 10) {
        deep(level + 1);
    } else {
        make_trouble(TROUBLE_SPIN);
    }
    hf_cleanup_remove(&cleanup);
}

int main(void)
{
    struct hf_cleanup outermost = {note, (void *)100, 0};

    starts++;
    setvbuf(stdout, NULL, _IOLBF, 256);
    hf_on_parking(&parking);
    hf_cleanup_add(&outermost);
    SCB_CCR = (SCB_CCR & ~8u) | 0x10u; /* DIV_0_TRP; UNALIGN_TRP comes with its trouble */
    NVIC_PRIORITY(OUTER) = 0xC0;
    NVIC_PRIORITY(INNER) = 0x80;
    NVIC_PRIORITY(KEPT) = 0x40;
    NVIC_ISER = 1u << OUTER | 1u << INNER | 1u << KEPT;
    REG(0xE000E014u) = 25000u - 1u;
    REG(0xE000E018u) = 0;
    REG(0xE000E010u) = 7;
    printf("start %lu\n", (unsigned long)starts);
    for (;;) {
        turns++;
        (void)kept_value;
        check_registers();
        check_fp();
        trouble_spared();
        if (trouble != TROUBLE_NONE) {
            if (place == PLACE_THREAD) {
                make_trouble(trouble);
            } else {
                NVIC_ISPR = 1u << OUTER;
                __asm volatile("dsb\n\tisb");
            }
            trouble = TROUBLE_NONE;
        }
    }
}
