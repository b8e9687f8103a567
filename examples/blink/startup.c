/* Vector table and reset, as an application brings them itself. */
#include <stdint.h>

extern uint32_t __stack_top[], __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);
void Reset_Handler(void);
void Default_Handler(void);
void SysTick_Handler(void);

union vector {
    uint32_t *stack;
    void (*handler)(void);
};

__attribute__((section(".vectors"), used)) static const union vector vectors[16] = {
    {.stack = __stack_top},          {.handler = Reset_Handler},   {.handler = Default_Handler},
    {.handler = Default_Handler},    {.handler = Default_Handler}, {.handler = Default_Handler},
    {.handler = Default_Handler},    {0},                          {0},
    {0},                             {0},                          {.handler = Default_Handler},
    {.handler = Default_Handler},    {0},                          {.handler = Default_Handler},
    {.handler = SysTick_Handler},
};

void Reset_Handler(void)
{
    uint32_t *from = __data_load;
    uint32_t *to;

    for (to = __data_start; to < __data_end; to++) {
        *to = *from++;
    }
    for (to = __bss_start; to < __bss_end; to++) {
        *to = 0u;
    }
    main();
    for (;;) {
    }
}

void Default_Handler(void)
{
    for (;;) {
    }
}
