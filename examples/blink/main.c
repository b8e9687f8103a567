/* Blink, without lamps: a timer interrupt moves a light along a strip, and the main loop draws it into the log.
 *
 * State is where firmware keeps it: in a global (timer_ticks), in file statics (strip.c), in function statics
 * (report, bounce). All of it outlives every push. */
#include <stdint.h>
#include <stdio.h>

#include "strip.h"

/* ARMv7-M ARM B3.3: SysTick registers. */
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SYST_CSR_RUN 7u /* processor clock, interrupt, enable */

#define TICKS_PER_SECOND 100u
#define TICKS_PER_MOVE 10u

volatile uint32_t timer_ticks;

void SysTick_Handler(void);

void SysTick_Handler(void)
{
    timer_ticks = timer_ticks + 1u;
    if (timer_ticks % TICKS_PER_MOVE == 0u) {
        strip_advance();
    }
}

static void report(void)
{
    static unsigned line;
    char picture[STRIP_LAMPS + 1];

    line++;
    strip_draw(picture);
    printf("%4u  %s  %s\n", line, picture, strip_pattern());
}

int main(void)
{
    uint32_t shown = 0;

    SYST_RVR = CORE_HZ / TICKS_PER_SECOND - 1u;
    SYST_CVR = 0u;
    SYST_CSR = SYST_CSR_RUN;

    for (;;) {
        if (strip_moves() != shown) {
            shown = strip_moves();
            report();
        }
        __asm volatile("wfi");
    }
}
