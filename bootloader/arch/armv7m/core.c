/* The core's services to the monitor on ARMv7-M: priorities, masking and probes. Parking and the
 * interrupted context are in park.c. */
#include <stddef.h>

#include "hf_arch.h"
#include "hf_board.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "hf_regs.h"

/* Read by hf_entry_any. */
uint16_t hf_irq_numbers[4];

static uint8_t lowest; /* priority value: all implemented bits */

/* ------------------------------------------------------------------------------------ masking */

uint32_t hf_arch_mask(void)
{
    uint32_t state;

    __asm volatile("mrs %0, primask\n\tcpsid i" : "=r"(state)::"memory");
    return state;
}

void hf_arch_unmask(uint32_t state)
{
    __asm volatile("msr primask, %0" ::"r"(state) : "memory");
}

void hf_arch_sync(void)
{
    __asm volatile("dsb\n\tisb" ::: "memory");
}

void hf_arch_idle(void)
{
    __asm volatile("wfi" ::: "memory");
}

/* --------------------------------------------------------------------------------- priorities */

static volatile uint8_t *exception_priority(uint32_t exception)
{
    return &REG8(SCB_SHPR + exception - 4u);
}

static void irq_set(uint32_t base, uint32_t irq)
{
    REG32(base + irq / 32u * 4u) = 1u << (irq % 32u);
}

void hf_arch_pend(void)
{
    /* Level with PendSV, so that no context switch comes in between; re-read at each pend, for an
     * application sets it after we did. At 0, where reset leaves it, the monitor stays lowest. */
    uint8_t priority = *exception_priority(EXC_PENDSV);

    REG8(NVIC_IPR + hf_board.soft_irq) = priority != 0 ? priority : lowest;
    irq_set(NVIC_ISPR, hf_board.soft_irq);
}

void hf_arch_init(void)
{
    uint8_t level1;

    hf_irq_numbers[0] = hf_board.rx_irq;
    hf_irq_numbers[1] = hf_board.tx_irq;
    hf_irq_numbers[2] = hf_board.soft_irq;
    hf_irq_numbers[3] = hf_board.tick != NULL ? hf_board.tick_irq : hf_board.rx_irq;

    REG8(NVIC_IPR + hf_board.soft_irq) = 0xFFu;
    lowest = REG8(NVIC_IPR + hf_board.soft_irq);
    /* With all eight bits there, the last one is a subpriority, which does not preempt (B1.5.4). */
    level1 = (uint8_t)(lowest & (0u - lowest));
    level1 = level1 == 1 ? 2 : level1;

    for (uint32_t i = 0; i < NVIC_LINES; i++) {
        REG8(NVIC_IPR + i) = level1;
    }
    for (uint32_t i = 4; i <= EXC_SYSTICK; i++) {
        *exception_priority(i) = level1;
    }
    *exception_priority(EXC_PENDSV) = lowest;
    REG8(NVIC_IPR + hf_board.soft_irq) = lowest;
    REG8(NVIC_IPR + hf_board.rx_irq) = 0;
    REG8(NVIC_IPR + hf_board.tx_irq) = 0;
    REG8(NVIC_IPR + hf_irq_numbers[3]) = 0;
    REG32(SCB_SHCSR) |= SCB_SHCSR_FAULTS;
    irq_set(NVIC_ISER, hf_board.soft_irq);
    irq_set(NVIC_ISER, hf_board.rx_irq);
    irq_set(NVIC_ISER, hf_board.tx_irq);
    irq_set(NVIC_ISER, hf_irq_numbers[3]);
}

void hf_arch_release(void)
{
    (void)hf_arch_mask();
    hf_board.uart_tx_irq(false);
    for (uint32_t i = 0; i < NVIC_LINES; i += 32u) {
        REG32(NVIC_ICER + i / 8u) = 0xFFFFFFFFu;
        REG32(NVIC_ICPR + i / 8u) = 0xFFFFFFFFu;
    }
    for (uint32_t i = 0; i < NVIC_LINES; i++) {
        REG8(NVIC_IPR + i) = 0;
    }
    for (uint32_t i = 4; i <= EXC_SYSTICK; i++) {
        *exception_priority(i) = 0;
    }
    REG32(SCB_SHCSR) &= ~SCB_SHCSR_FAULTS;
}

uint32_t hf_arch_priority_flags(void)
{
    uint32_t flags = *exception_priority(EXC_PENDSV) == 0 ? (uint32_t)HF_HELLO_PENDSV_ZERO : 0u;

    if ((REG32(SYST_CSR) & 2u) != 0 && *exception_priority(EXC_SYSTICK) == 0) {
        flags |= HF_HELLO_PRIO_ZERO;
    }
    for (uint32_t i = 0; i < NVIC_LINES; i++) {
        if (i != hf_board.rx_irq && i != hf_board.tx_irq && i != hf_irq_numbers[3] && (REG32(NVIC_ISER + i / 32u * 4u) >> (i % 32u) & 1u) != 0 &&
            REG8(NVIC_IPR + i) == 0) {
            flags |= HF_HELLO_PRIO_ZERO;
        }
    }
    return flags;
}

uint32_t hf_arch_core(void)
{
    return REG32(SCB_CPUID);
}

/* -------------------------------------------------------------------------------------- probes */

uint32_t hf_probe_1(uint32_t to, uint32_t from, uint32_t count);
uint32_t hf_probe_2(uint32_t to, uint32_t from, uint32_t count);
uint32_t hf_probe_4(uint32_t to, uint32_t from, uint32_t count);

static bool probe(uint32_t to, uint32_t from, uint32_t length, uint32_t width)
{
    if (width == 4) {
        return hf_probe_4(to, from, length / 4u) != 0;
    }
    return (width == 2 ? hf_probe_2(to, from, length / 2u) : hf_probe_1(to, from, length)) != 0;
}

/* The other side is a frame buffer, at any alignment, in normal memory: unaligned accesses are fine
 * there (A3.2.1). */
bool hf_arch_read(uint32_t address, uint8_t *data, uint32_t length, uint32_t width)
{
    return probe((uint32_t)data, address, length, width);
}

bool hf_arch_write(uint32_t address, const uint8_t *data, uint32_t length, uint32_t width)
{
    return probe(address, (uint32_t)data, length, width);
}
