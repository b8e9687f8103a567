#include <stdint.h>
#include <stdio.h>

#include "control.h"
#include "uart.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010)

volatile uint32_t ticks;
int temperature = 200;

void systick(void)
{
    ticks++;
}

int main(void)
{
    uint32_t next = 0;
    unsigned line = 0;

    uart_init();
    SYSTICK[1] = 25000000 / 100 - 1;
    SYSTICK[2] = 0;
    SYSTICK[0] = 7;
    for (;;) {
        while ((int32_t)(ticks - next) < 0) {
            __asm volatile("wfi");
        }
        next += 10;
        int power = control_power(temperature, 600);
        temperature += power / 4 - (temperature - 200) / 32;
        printf("%u: temperature %d.%d, power %d %%\n", ++line, temperature / 10, temperature % 10, power);
    }
}
