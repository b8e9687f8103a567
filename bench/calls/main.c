/* Measures one call by the core's own timer, over and over. The loop around the call is assembly, the same in every
 * build; the figures go out through semihosting, which is there with and without a monitor. */
#include <stdint.h>

#include "work.h"

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SYST_CSR_PROCESSOR_CLOCK 5u /* enabled, no interrupt */
#define SYST_MAX 0xFFFFFFu

#define CALLS 200000u

int (*const volatile others[])(int) = {work_1, work_2, work_3, work_4, work_5, work_6, work_7, work_8, work_9, work_10};
volatile int result;

void SysTick_Handler(void);
void SysTick_Handler(void)
{
}

/* Arm semihosting, SYS_WRITE0: a string to the debugger. */
static void say(const char *text)
{
    register uint32_t operation __asm("r0") = 4;
    register const char *argument __asm("r1") = text;

    __asm volatile("bkpt 0xAB" : "+r"(operation) : "r"(argument) : "memory");
}

static void number(char *to, uint32_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 4) {
        to[i] = "0123456789abcdef"[value & 15u];
    }
}

static uint32_t measure(void)
{
    uint32_t count = CALLS, start = SYST_CVR, end;

    __asm volatile("1: mov r0, #5\n\tbl work_0\n\tsubs %0, %0, #1\n\tbne 1b"
                   : "+r"(count)
                   :
                   : "r0", "r1", "r2", "r3", "ip", "lr", "cc", "memory");
    end = SYST_CVR;
    return (start - end) & SYST_MAX;
}

int main(void)
{
    char line[] = "........ ........\n";

    SYST_RVR = SYST_MAX;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_PROCESSOR_CLOCK;
    for (;;) {
        for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            result += others[i](1);
        }
        number(line, measure());
        number(line + 9, (uint32_t)work_0(5));
        say(line);
    }
}
