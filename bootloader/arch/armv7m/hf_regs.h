/* Registers of an ARMv7-M core that the monitor uses: ARMv7-M ARM B3.2 (SCB), B3.3 (SysTick), B3.4
 * (NVIC), B3.5 (MPU); and what exception entries leave on the stacks. */
#ifndef HF_REGS_H
#define HF_REGS_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(address))
#define REG8(address) (*(volatile uint8_t *)(address))

#define NVIC_ISER 0xE000E100u
#define NVIC_ICER 0xE000E180u
#define NVIC_ISPR 0xE000E200u
#define NVIC_ICPR 0xE000E280u
#define NVIC_IABR 0xE000E300u
#define NVIC_IPR 0xE000E400u
#define NVIC_LINES 240u
#define SYST_CSR 0xE000E010u
#define SYST_CSR_TICKINT 2u
#define SCB_CPUID 0xE000ED00u
#define SCB_ICSR 0xE000ED04u
#define SCB_ICSR_PENDSTSET (1u << 26)
#define SCB_ICSR_PENDSTCLR (1u << 25)
#define SCB_CCR 0xE000ED14u
#define SCB_CCR_NONBASETHRDENA 1u
#define SCB_CCR_UNALIGN_TRP 8u
#define SCB_SHPR 0xE000ED18u /* bytes of exceptions 4 to 15 */
#define SCB_SHCSR 0xE000ED24u
#define SCB_SHCSR_FAULTS (7u << 16)
#define SCB_CFSR 0xE000ED28u
#define SCB_HFSR 0xE000ED2Cu
#define SCB_MMFAR 0xE000ED34u
#define SCB_BFAR 0xE000ED38u
#define MPU_TYPE 0xE000ED90u
#define MPU_CTRL 0xE000ED94u
#define MPU_CTRL_ON 5u /* ENABLE, PRIVDEFENA; not HFNMIENA */
#define MPU_RNR 0xE000ED98u
#define MPU_RBAR 0xE000ED9Cu
#define MPU_RASR 0xE000EDA0u
#define FPU_FPCCR 0xE000EF34u
#define FPU_FPCCR_LSPACT 1u

#define EXC_PENDSV 14u
#define EXC_SYSTICK 15u
#define EXC_RETURN_PSP 4u
#define EXC_RETURN_BASIC_FRAME 16u
#define XPSR_ALIGNED (1u << 9)
#define FRAME_BYTES 32u
#define FRAME_BYTES_FP 104u

/* What the entries push (entry.S). */
struct hf_saved {
    uint32_t msp;
    uint32_t r4_r11[8];
    uint32_t exc_return;
};

/* What the core pushes (B1.5.6). */
struct hf_exception_frame {
    uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
};

/* External interrupt numbers of the monitor: receive, transmit, software, tick (receive again: none). core.c */
extern uint16_t hf_irq_numbers[4];

#endif
