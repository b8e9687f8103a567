/* The vectors. */
#include <stdint.h>

extern uint32_t _estack;
void Reset_Handler(void);
void Default_Handler(void);
void SysTick_Handler(void);
void low_handler(void);
void middle_handler(void);
void high_handler(void);
void PendSV_Handler(void);

__attribute__((section(".vectors"), used)) void *const vectors[16 + 24] = {
    &_estack,
    (void *)Reset_Handler,
    [2] = (void *)Default_Handler,
    [3] = (void *)Default_Handler,
    [14] = (void *)PendSV_Handler,
    [15] = (void *)SysTick_Handler,
    [16 + 20] = (void *)low_handler,
    [16 + 21] = (void *)middle_handler,
    [16 + 22] = (void *)high_handler,
};
