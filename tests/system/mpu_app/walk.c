/* The MPU's registers, read as the core reads them: ARMv7-M ARM B3.5.3 and B3.5.9. */
#include "strays.h"

volatile struct expected expected[6]; /* address 0: none */
volatile uint32_t walked[6]; /* times that each place was looked at */
volatile uint32_t wrong, wrong_address, wrong_attributes, wrong_control;

/* MPU_RASR of the region that decides; 0: none does. */
static uint32_t decides(uint32_t address)
{
    for (uint32_t n = 8; n-- > 0;) {
        MPU_RNR = n;
        uint32_t rasr = MPU_RASR, base = MPU_RBAR & ~31u, bits = (rasr >> 1 & 31u) + 1u;

        if ((rasr & 1u) == 0 || (bits < 32u && (address ^ base) >> bits != 0)) {
            continue;
        }
        if (bits >= 8u && (rasr >> 8 >> (address >> (bits - 3u) & 7u) & 1u) != 0) {
            continue;
        }
        return rasr;
    }
    return 0;
}

/* One place at a time: the timer comes often. */
void walk(void)
{
    static uint32_t next;
    uint32_t control = MPU_CTRL, number = MPU_RNR, i = next++ % 6u;
    uint32_t address = expected[i].address;

    if (address != 0) {
        uint32_t rasr = decides(address), ap = rasr >> 24 & 7u;
        uint32_t writes = ap == 1u || ap == 2u || ap == 3u, executes = (rasr >> 28 & 1u) == 0;

        if (control != 5u || rasr == 0 || writes != expected[i].writes || executes != expected[i].executes) {
            wrong++;
            wrong_address = address;
            wrong_attributes = rasr;
            wrong_control = control;
        }
        walked[i]++;
    }
    MPU_RNR = number;
}
