/* CMSDK APB UART 0 of the MPS2 board. */
#include "uart.h"

#include <stdint.h>

struct uart {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupts;
    volatile uint32_t divider;
};

#define UART ((struct uart *)0x40004000)

void uart_init(void)
{
    UART->divider = 25000000 / 115200;
    UART->control = 1;
}

void uart_put(char character)
{
    while (UART->state & 1) {
    }
    UART->data = (unsigned char)character;
}
