/* The vectors. */
#include <stdint.h>

extern uint32_t _estack;
void Reset_Handler(void);
void Default_Handler(void);
void SysTick_Handler(void);
void PendSV_Handler(void);

__attribute__((section(".vectors"), used)) void *const vectors[16 + 8] = {
    &_estack,
    (void *)Reset_Handler,
    [2] = (void *)Default_Handler,
    [3] = (void *)Default_Handler,
    [14] = (void *)PendSV_Handler,
    [15] = (void *)SysTick_Handler,
};
