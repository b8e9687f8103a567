/* The vectors; the timer's handler gets its exception frame. */
#include "strays.h"

extern uint32_t _estack;
void Reset_Handler(void);
void Default_Handler(void);
void timer_entry(void);

__attribute__((section(".vectors"), used)) void *const vectors[16 + 24] = {
    &_estack,
    (void *)Reset_Handler,
    [2] = (void *)Default_Handler,
    [3] = (void *)Default_Handler,
    [15] = (void *)timer_entry,
    [16 + OUTER] = (void *)outer_handler,
    [16 + INNER] = (void *)inner_handler,
    [16 + CHAINED] = (void *)chained_handler,
};

__attribute__((naked, patchable_function_entry(0))) void timer_entry(void)
{
    __asm__ volatile("tst lr, #4\n\tite eq\n\tmrseq r0, msp\n\tmrsne r0, psp\n\tb timer");
}
