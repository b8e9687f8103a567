/* The interrupted context, and parking: the application is left as its exception frame has it, and the
 * monitor polls in thread mode on its own stack. Entries and exits are in entry.S.
 *
 * Why thread mode: in the fault's own handler the next bus error, of a probe, would be the end. The
 * forged return that leads here deactivates the exception that parked and no other (CCR.NONBASETHRDENA,
 * ARMv7-M ARM B1.5.8), so the application's own handlers stay active below, and interrupts that could
 * not preempt them still cannot. The way back is a trap (hf_leave) and a return with the original frame,
 * which restores registers, flags, IT and ICI state by itself. Lazily saved floating-point registers stay
 * pending all the time (FPCCR.LSPACT, FPCAR). */
#include <stddef.h>

#include "hf_arch.h"
#include "hf_board.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "hf_range.h"
#include "hf_regs.h"

#define IRQ_WORDS (NVIC_LINES / 32u + 1u)
#define CFSR_NO_FRAME 0x1010u /* STKERR, MSTKERR */
#define CCR_OURS (SCB_CCR_NONBASETHRDENA | SCB_CCR_UNALIGN_TRP) /* changed while parked */
#define HF_EXCEPTION_SYSTICK (-1)

uint32_t hf_soft_handler(const struct hf_saved *saved);
uint32_t hf_rx_handler(void);
uint32_t hf_tx_handler(void);
uint32_t hf_tick_handler(void);
void hf_watchdog_again(void);
void hf_park_enter(uint32_t reason, const struct hf_saved *saved, uint32_t primask, uint32_t again);
void hf_park(void);
uint32_t hf_next_active(void);
/* entry.S */
_Noreturn void hf_leave(uint32_t primask, uint32_t basepri, uint32_t control, uint32_t restart);

static struct hf_context context;
uint32_t hf_parked; /* read by the fault's entry: the frame that is kept must stay */

uint32_t hf_missed; /* watchdog interrupts since the last tick */

/* What parking changes, to be put back. */
static struct {
    uint32_t primask, basepri, control, ccr;
    uint32_t systick, systick_pends;
    uint32_t enabled[IRQ_WORDS];
    bool open; /* listed interrupts may run */
} outer;

static uint32_t read_psp(void)
{
    uint32_t psp;

    __asm volatile("mrs %0, psp" : "=r"(psp));
    return psp;
}

static bool irq_active(uint32_t irq)
{
    return (REG32(NVIC_IABR + irq / 32u * 4u) >> (irq % 32u) & 1u) != 0;
}

/* ------------------------------------------------------------------------------------- context */

static bool in_ram(uint32_t address, uint32_t length)
{
    return (address & 3u) == 0 && (hf_within(address, length, hf_map.ram_base, hf_map.ram_size) ||
                                   hf_within(address, length, hf_map.monitor_base, hf_map.monitor_size));
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
static void take_context(struct hf_context *c, const struct hf_exception_frame *frame, const struct hf_saved *saved)
{
    bool process = (saved->exc_return & EXC_RETURN_PSP) != 0;
    uint32_t msp = saved->msp, psp = read_psp();
    uint32_t *sp = process ? &psp : &msp;

    for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
        c->reg[i] = 0;
    }
    for (uint32_t i = 0; i < 8; i++) {
        c->reg[4u + i] = saved->r4_r11[i];
    }
    c->xpsr = 0;
    c->process = process;
    if (frame != NULL) {
        c->xpsr = frame->xpsr;
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
    live_stack(&c->stack[0], msp, REG32(hf_boot_vectors()));
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

/* ------------------------------------------------------------------------------------ handlers */

/* These return why the application is to be parked, or 0. */
uint32_t hf_soft_handler(const struct hf_saved *saved)
{
    uint32_t ccr = REG32(SCB_CCR), why;

    take_context(&context, pushed_frame(saved), saved);
    /* The monitor's own accesses to its frames may be unaligned. */
    REG32(SCB_CCR) = ccr & ~SCB_CCR_UNALIGN_TRP;
    why = hf_monitor_run();
    REG32(SCB_CCR) = ccr;
    return why;
}

uint32_t hf_rx_handler(void)
{
    hf_rx_interrupt();
    if (hf_board.tx_irq == hf_board.rx_irq) {
        hf_tx_interrupt();
    }
    /* While the monitor's handler is at work, it sees the attention itself. */
    return !irq_active(hf_board.soft_irq) && hf_attention() ? (uint32_t)HF_PARK_ATTENTION : 0u;
}

uint32_t hf_tx_handler(void)
{
    hf_tx_interrupt();
    return 0;
}

uint32_t hf_tick_handler(void)
{
    hf_missed = 0;
    hf_tick_interrupt();
    return 0;
}

/* On the stack that the NMI interrupted. */
void hf_watchdog_again(void)
{
    hf_board.watchdog_feed(true);
}

/* ------------------------------------------------------------------------------------- parking */

static void set_bit(uint32_t bits[IRQ_WORDS], uint32_t irq)
{
    bits[irq / 32u] |= 1u << (irq % 32u);
}

/* Silences all interrupts but those that the application listed. */
static void quieten(void)
{
    uint32_t keep[IRQ_WORDS] = {0};
    int32_t irq;
    bool systick = false;

    outer.open = false;
    for (uint32_t i = 0; hf_park_kept(i, &irq); i++) {
        if (irq >= 0 && (uint32_t)irq < NVIC_LINES) {
            set_bit(keep, (uint32_t)irq);
        }
        systick = systick || irq == HF_EXCEPTION_SYSTICK;
        outer.open = true;
    }
    for (uint32_t i = 0; i < IRQ_WORDS; i++) {
        outer.enabled[i] = REG32(NVIC_ISER + 4u * i);
        REG32(NVIC_ICER + 4u * i) = ~keep[i];
    }
    /* The monitor is polled. Numbers from flash: nothing in RAM may be relied on here. */
    const uint16_t own[] = {hf_board.rx_irq, hf_board.tx_irq, hf_board.soft_irq, hf_board.tick_irq};

    for (uint32_t i = 0; i < (hf_board.tick != NULL ? 4u : 3u); i++) {
        REG32(NVIC_ICER + own[i] / 32u * 4u) = 1u << (own[i] % 32u);
    }
    outer.systick = 0;
    outer.systick_pends = 0;
    if (!systick) {
        outer.systick = REG32(SYST_CSR) & SYST_CSR_TICKINT;
        REG32(SYST_CSR) &= ~SYST_CSR_TICKINT;
        outer.systick_pends = REG32(SCB_ICSR) & SCB_ICSR_PENDSTSET;
        REG32(SCB_ICSR) = SCB_ICSR_PENDSTCLR;
    }
}

static void wake(void)
{
    REG32(SCB_ICSR) = outer.systick_pends;
    REG32(SYST_CSR) |= outer.systick;
    for (uint32_t i = 0; i < IRQ_WORDS; i++) {
        REG32(NVIC_ISER + 4u * i) = outer.enabled[i];
    }
    REG32(SCB_CCR) = (REG32(SCB_CCR) & ~CCR_OURS) | (outer.ccr & CCR_OURS);
}

/* Interrupts are masked; `primask` is what they were. With `again` not 0 the application faulted while it
 * was parked, in on_park or a listed interrupt: the context that is kept is the first one. */
void hf_park_enter(uint32_t reason, const struct hf_saved *saved, uint32_t primask, uint32_t again)
{
    uint32_t cfsr = REG32(SCB_CFSR), hfsr = REG32(SCB_HFSR), faultmask, psp = read_psp();
    const struct hf_exception_frame *frame = (cfsr & CFSR_NO_FRAME) != 0 ? NULL : pushed_frame(saved);
    uint32_t *w = hf_record;
    struct hf_context now;
    bool final = frame == NULL;

    __asm volatile("mrs %0, faultmask\n\tcpsie f" : "=r"(faultmask));
    take_context(&now, frame, saved);
    if (again != 0) {
        final = final || (frame->xpsr & 0x1FFu) != 0; /* the listed handler stays where it is */
    } else {
        context = now;
        outer.primask = primask;
        __asm volatile("mrs %0, basepri" : "=r"(outer.basepri));
        __asm volatile("mrs %0, control" : "=r"(outer.control));
        outer.ccr = REG32(SCB_CCR);
        REG32(SCB_CCR) = (outer.ccr & ~CCR_OURS) | SCB_CCR_NONBASETHRDENA;
    }
    /* A return would clear FAULTMASK (B1.5.8); and below the monitor's handler there is no way back,
     * for its stack is the one that is needed now. */
    final = final || faultmask != 0 || (reason >= HF_PARK_ATTENTION && reason <= HF_PARK_WATCHDOG && irq_active(hf_board.soft_irq));
    if (reason != HF_PARK_RESTART) {
        for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
            w[i] = now.reg[i];
        }
        w[HF_PARKW_XPSR] = frame != NULL ? frame->xpsr : 0;
        w[HF_PARKW_CFSR] = cfsr;
        w[HF_PARKW_HFSR] = hfsr;
        w[HF_PARKW_MMFAR] = REG32(SCB_MMFAR);
        w[HF_PARKW_BFAR] = REG32(SCB_BFAR);
        w[HF_PARKW_EXC_RETURN] = saved->exc_return;
        w[HF_PARKW_MSP] = saved->msp;
        w[HF_PARKW_PSP] = psp;
        w[HF_PARKW_MASKS] = outer.primask | faultmask << 1 | outer.control << 8 | outer.basepri << 16;
        w[HF_PARKW_SYSTEM] = REG32(SCB_SHCSR);
        for (uint32_t i = 0; i < IRQ_WORDS; i++) {
            w[HF_PARKW_ACTIVE + i] = REG32(NVIC_IABR + 4u * i);
        }
    }
    REG32(SCB_CFSR) = cfsr;
    REG32(SCB_HFSR) = hfsr;
    hf_board.watchdog_feed(true); /* its NMI may be what led here */
    hf_missed = 0;
    if (final) {
        /* Wherever FPCAR points to, nothing needs those registers any more. */
        REG32(FPU_FPCCR) &= ~FPU_FPCCR_LSPACT;
    }
    hf_monitor_park(reason, final);
    if (again == 0) {
        quieten();
    }
    hf_parked = again + 1u;
}

bool hf_arch_process_stack(void)
{
    return read_psp() != 0;
}

void hf_arch_call(uint32_t entry, uint32_t argument)
{
    ((void (*)(uint32_t))entry)(argument);
}

static void leave(uint32_t action)
{
    (void)hf_arch_mask();
    if (action == HF_ACTION_CONTINUE) {
        wake();
        hf_parked = 0;
        hf_leave(outer.primask, outer.basepri, outer.control, 0);
    }
    REG32(FPU_FPCCR) &= ~FPU_FPCCR_LSPACT;
    wake();
    hf_parked = 0;
    /* The cleanups run below what they clean up, unless that stack has failed. */
    uint32_t top = REG32(hf_boot_vectors()), sp = context.stack[0].low & ~7u;

    hf_leave(action, context.reg[15] != 0 && sp - 2048u >= hf_boot_ram() && sp <= top ? sp : top, 0, 1);
}

/* Thread mode, masked, on the monitor's stack; does not return. */
void hf_park(void)
{
    uint32_t pendsv = REG8(SCB_SHPR + EXC_PENDSV - 4u);
    uint32_t action;

    if (outer.open && outer.primask == 0 && pendsv != 0) {
        /* No context switch may take the monitor for a thread. */
        __asm volatile("msr basepri, %0\n\tcpsie i" ::"r"(outer.basepri != 0 ? outer.basepri : pendsv) : "memory");
    }
    if (hf_parked == 1u) {
        hf_park_told(true);
    }
    do {
        hf_monitor_poll();
        action = hf_monitor_leave();
    } while (action == 0);
    leave(action);
}

/* An active exception besides the one that runs; 0: none. */
uint32_t hf_next_active(void)
{
    static const uint8_t system[] = {4, 5, 0, 6, 0, 0, 0, 11, 12, 0, 14, 15}; /* by SHCSR's bits */
    uint32_t ipsr, active = REG32(SCB_SHCSR);

    __asm volatile("mrs %0, ipsr" : "=r"(ipsr));
    for (uint32_t i = 0; i < sizeof system; i++) {
        if ((active >> i & 1u) != 0 && system[i] != ipsr) {
            return system[i];
        }
    }
    for (uint32_t irq = 0; irq < NVIC_LINES; irq++) {
        if (irq_active(irq) && irq + 16u != ipsr) {
            return irq + 16u;
        }
    }
    return 0;
}
