/* A timer interrupt whose handler is reached through the vector table alone. */
#include "app.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

volatile uint32_t pair_broken;
volatile uint32_t flood; /* lines that an edited handler shall log */

void SysTick_Handler(void);

void SysTick_Handler(void)
{
    seen.ticks++;
    seen.irq = 7;
    if (pair_left() + pair_right() != 0) {
        pair_broken++;
    }
    flood = 0;
}

void tick_start(void)
{
    SYST_RVR = 25000u - 1u;
    SYST_CVR = 0;
    SYST_CSR = 7;
}
