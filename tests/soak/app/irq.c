/* Handlers, nested three deep, at random times. */
#include "hotflash.h"
#include "soak.h"

#define REG(address) (*(volatile uint32_t *)(address))
#define SYST_RVR REG(0xE000E014u)
#define NVIC_ISPR REG(0xE000E200u)
#define SCB_ICSR REG(0xE000ED04u)
#define PENDSVSET (1u << 28)

void high_handler(void)
{
    nested[2]++;
    PAD();
    check(leaf(nested[2], 0), f(nested[2]));
}

void middle_handler(void)
{
    nested[1]++;
    NVIC_ISPR = 1u << 22;
    PAD();
    check(ping(nested[1], 3, 0), f(nested[1]));
}

void low_handler(void)
{
    nested[0]++;
    check(tail(nested[0], 0), f(nested[0]));
    PAD();
    NVIC_ISPR = 1u << 21;
    check(escape(nested[0], 0), f(nested[0]));
}

void SysTick_Handler(void)
{
    static uint32_t rng = 1, quiet;
    uint32_t number = next(&rng), generation = hf_generation();

    /* Between 0.4 and 6 ms; more and more while nothing is pushed, for a host that is slow would be kept so. */
    quiet = generation != epoch ? 0 : quiet < 15u ? quiet + 1u : quiet;
    epoch = generation;
    SYST_RVR = (10000u + number % 140000u) << (quiet / 3u);
    PAD();
    if ((number & 0x300u) != 0) {
        NVIC_ISPR = 1u << 20;
    }
    SCB_ICSR = PENDSVSET;
}
