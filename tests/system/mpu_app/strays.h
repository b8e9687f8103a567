#ifndef STRAYS_H
#define STRAYS_H

#include <stdint.h>

#define OUTER 20
#define INNER 21
#define CHAINED 22

#define REG(address) (*(volatile uint32_t *)(address))
#define SYST_CSR REG(0xE000E010u)
#define SYST_RVR REG(0xE000E014u)
#define SYST_CVR REG(0xE000E018u)
#define SYST_PRIORITY (*(volatile uint8_t *)0xE000ED23u)
#define NVIC_ISER REG(0xE000E100u)
#define NVIC_ISPR REG(0xE000E200u)
#define NVIC_IABR REG(0xE000E300u)
#define NVIC_PRIORITY(irq) (*(volatile uint8_t *)(0xE000E400u + (irq)))
#define MPU_CTRL REG(0xE000ED94u)
#define MPU_RNR REG(0xE000ED98u)
#define MPU_RBAR REG(0xE000ED9Cu)
#define MPU_RASR REG(0xE000EDA0u)

/* A place, and what the MPU has to make of it. */
struct expected {
    uint32_t address;
    uint32_t writes, executes;
};

extern volatile struct expected expected[6];

void walk(void);
void timer(const uint32_t *frame);
void outer_handler(void);
void inner_handler(void);
void chained_handler(void);

#endif
