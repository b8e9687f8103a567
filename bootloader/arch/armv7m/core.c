/* The core's services to the monitor on ARMv7-M: priorities, masking, the interrupted context, probes
 * and parking. Register names and numbers: ARMv7-M ARM B3.2 (SCB), B3.4 (NVIC), B3.5 (MPU). */
#include <stddef.h>

#include "hf_arch.h"
#include "hf_board.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "hf_range.h"

#define REG32(address) (*(volatile uint32_t *)(address))
#define REG8(address) (*(volatile uint8_t *)(address))

#define NVIC_ISER 0xE000E100u
#define NVIC_ICER 0xE000E180u
#define NVIC_ISPR 0xE000E200u
#define NVIC_ICPR 0xE000E280u
#define NVIC_IPR 0xE000E400u
#define NVIC_LINES 240u
#define SYST_CSR 0xE000E010u
#define SCB_CPUID 0xE000ED00u
#define SCB_CCR 0xE000ED14u
#define SCB_CCR_NONBASETHRDENA 1u
#define SCB_SHPR 0xE000ED18u /* bytes of exceptions 4 to 15 */
#define SCB_SHCSR 0xE000ED24u
#define SCB_SHCSR_FAULTS (7u << 16)
#define SCB_CFSR 0xE000ED28u
#define SCB_HFSR 0xE000ED2Cu
#define SCB_MMFAR 0xE000ED34u
#define SCB_BFAR 0xE000ED38u
#define MPU_TYPE 0xE000ED90u
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

void hf_soft_handler(const struct hf_saved *saved);
void hf_rx_handler(void);
void hf_fault_handler(const struct hf_exception_frame *frame, const struct hf_saved *saved);
void hf_park(void);

/* Read by hf_entry_any. */
uint16_t hf_irq_numbers[4];

static struct hf_context context;
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
    REG32(SCB_SHCSR) |= SCB_SHCSR_FAULTS;
    irq_set(NVIC_ISER, hf_board.soft_irq);
    irq_set(NVIC_ISER, hf_board.rx_irq);
    irq_set(NVIC_ISER, hf_board.tx_irq);
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
        if (i != hf_board.rx_irq && i != hf_board.tx_irq && (REG32(NVIC_ISER + i / 32u * 4u) >> (i % 32u) & 1u) != 0 &&
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

bool hf_arch_has_mpu(void)
{
    return (REG32(MPU_TYPE) >> 8 & 0xFFu) != 0;
}

/* ------------------------------------------------------------------------------------- context */

static bool in_ram(uint32_t address, uint32_t length)
{
    return (address & 3u) == 0 && (hf_within(address, length, hf_map.ram_base, hf_map.ram_size) ||
                                   hf_within(address, length, hf_map.monitor_base, hf_map.monitor_size));
}

static uint32_t read_psp(void)
{
    uint32_t psp;

    __asm volatile("mrs %0, psp" : "=r"(psp));
    return psp;
}

/* The frame's size with what B1.5.7 added for alignment and floating-point registers. */
static uint32_t frame_bytes(const struct hf_exception_frame *frame, uint32_t exc_return)
{
    uint32_t bytes = (exc_return & EXC_RETURN_BASIC_FRAME) != 0 ? FRAME_BYTES : FRAME_BYTES_FP;

    return bytes + ((frame->xpsr & XPSR_ALIGNED) != 0 ? 4u : 0u);
}

static void live_stack(struct hf_stack *stack, uint32_t sp, uint32_t top)
{
    uint32_t end = hf_map.ram_base + hf_map.ram_size;

    stack->low = sp;
    stack->high = top > sp && top <= end ? top : end;
    if (!in_ram(sp, 4) || sp >= end) {
        stack->high = sp; /* nothing on it, or nothing known */
    }
}

/* `frame` may be NULL: the core could not push one. */
static void take_context(const struct hf_exception_frame *frame, const struct hf_saved *saved)
{
    struct hf_context *c = &context;
    bool process = (saved->exc_return & EXC_RETURN_PSP) != 0;
    uint32_t msp = saved->msp, psp = read_psp(), vectors = hf_boot_vectors();
    uint32_t *sp = process ? &psp : &msp;

    for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
        c->reg[i] = 0;
    }
    for (uint32_t i = 0; i < 8; i++) {
        c->reg[4u + i] = saved->r4_r11[i];
    }
    if (frame != NULL) {
        c->reg[0] = frame->r0;
        c->reg[1] = frame->r1;
        c->reg[2] = frame->r2;
        c->reg[3] = frame->r3;
        c->reg[12] = frame->r12;
        c->reg[14] = frame->lr;
        c->reg[15] = frame->pc;
        *sp += frame_bytes(frame, saved->exc_return);
    }
    c->reg[13] = *sp;
    live_stack(&c->stack[0], msp, vectors != 0 ? REG32(vectors) : 0);
    /* The end of a process stack is not known; it ends at the main stack if that is above it. */
    live_stack(&c->stack[1], psp, msp > psp ? msp : 0);
}

void hf_arch_context(struct hf_context *c)
{
    *c = context;
}

static const struct hf_exception_frame *pushed_frame(const struct hf_saved *saved)
{
    uint32_t sp = (saved->exc_return & EXC_RETURN_PSP) != 0 ? read_psp() : saved->msp;

    return in_ram(sp, FRAME_BYTES) ? hf_ptr(sp) : NULL;
}

void hf_soft_handler(const struct hf_saved *saved)
{
    take_context(pushed_frame(saved), saved);
    hf_monitor_run();
}

void hf_rx_handler(void)
{
    hf_rx_interrupt();
    if (hf_board.tx_irq == hf_board.rx_irq) {
        hf_tx_interrupt();
    }
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

/* ------------------------------------------------------------------------------------- parking */

void hf_fault_handler(const struct hf_exception_frame *frame, const struct hf_saved *saved)
{
    uint32_t words[HF_FAULT_WORDS];
    uint32_t cfsr = REG32(SCB_CFSR);

    /* STKERR, MSTKERR: no frame was pushed. */
    if ((cfsr & 0x1010u) != 0 || !in_ram((uint32_t)frame, FRAME_BYTES)) {
        frame = NULL;
    }
    take_context(frame, saved);
    for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
        words[i] = context.reg[i];
    }
    words[16] = frame != NULL ? frame->xpsr : 0;
    words[17] = cfsr;
    words[18] = REG32(SCB_HFSR);
    words[19] = REG32(SCB_MMFAR);
    words[20] = REG32(SCB_BFAR);
    REG32(SCB_CFSR) = cfsr;
    REG32(SCB_HFSR) = words[18];
    /* hf_park runs in thread mode while handlers of the application stay active. */
    REG32(SCB_CCR) |= SCB_CCR_NONBASETHRDENA;
    REG32(FPU_FPCCR) &= ~FPU_FPCCR_LSPACT;
    hf_monitor_fault(words);
}

void hf_park(void)
{
    for (;;) {
        hf_monitor_poll();
    }
}
