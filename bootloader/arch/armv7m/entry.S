/* Vector table, services and entries of the bootloader on ARMv7-M.
 *
 * Each entry loads a stack of the monitor's first, so that an application's overflowing stack cannot
 * hurt it: the UART's interrupts (priority 0, nothing nests on them) a small one; the monitor's
 * handler and the fault handler the monitor's own. An application interrupt that preempts the
 * handler runs on the monitor's stack. Exception entry and return: ARMv7-M ARM B1.5.6 to B1.5.8. */
    .syntax unified
    .thumb

#define CFSR 0xE000ED28

    .macro func name
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

    .macro end name
    .size \name, . - \name
    .endm

/* ------------------------------------------------------------------------------- vector table */

    .section .hf_vectors, "a"
    .word __hf_boot_stack_high
    .word hf_reset
    .word hf_entry_watchdog /* NMI */
    .word hf_entry_fault    /* HardFault */
    .word hf_entry_fault    /* MemManage */
    .word hf_entry_fault    /* BusFault */
    .word hf_entry_fault    /* UsageFault */
    .word 0, 0, 0, 0
    .word hf_spare          /* SVCall */
    .word hf_spare          /* DebugMonitor */
    .word 0
    .word hf_spare          /* PendSV */
    .word hf_spare          /* SysTick */
    .rept HF_VECTORS - 16
    .word hf_entry_any
    .endr

/* HF_BOOT + 0x400: docs/SPEC.md, Services */
    .section .hf_services, "ax"
    .global hf_services_table
    .type hf_services_table, %object
hf_services_table:
    .word 0x53465648
    .word 0x00010001
    .word hf_log_write
    .word hf_generation
    .word hf_clock_changed
    .word hf_micros
    .word hf_parking
    .word hf_cleanup
    .word hf_task
    .rept 7
    .word 0
    .endr
    b.w hf_entry_fault      /* HardFault */
    b.w hf_entry_fault      /* MemManage */
    b.w hf_entry_fault      /* BusFault */
    b.w hf_entry_fault      /* UsageFault */
    b.w hf_entry_rx
    b.w hf_entry_tx
    b.w hf_entry_soft
    .global hf_spare_entry
    .thumb_func
hf_spare_entry:
    b.w hf_spare
    b.w hf_entry_tick
    b.w hf_entry_watchdog
    .size hf_services_table, . - hf_services_table

/* --------------------------------------------------------------------------------------- code */

/* Fills the room between the vector table and the services, where a short table leaves enough. */
#if HF_VECTORS <= 64
    .section .hf_low, "ax"
#else
    .section .text.hf_entry, "ax"
#endif

/* A spare hook leads here, and so does an exception that the bootloader does not expect. */
    func hf_spare
    udf #0
    end hf_spare

    func hf_reset
    ldr r0, =__hf_data_load
    ldr r1, =__hf_data_start
    ldr r2, =__hf_data_end
    b 2f
1:  ldr r3, [r0], #4
    str r3, [r1], #4
2:  cmp r1, r2
    blo 1b
    ldr r1, =__hf_bss_start
    ldr r2, =__hf_bss_end
    movs r3, #0
    b 4f
3:  str r3, [r1], #4
4:  cmp r1, r2
    blo 3b
    ldr r1, =__hf_stack_low
    ldr r2, =__hf_stack_high
    ldr r3, =0xC5C5C5C5     /* HF_STACK_FILL */
    b 6f
5:  str r3, [r1], #4
6:  cmp r1, r2
    blo 5b
    bl hf_main
    udf #1
    end hf_reset

/* All external interrupts of the bootloader's own table; an application's table has the entries. */
    func hf_entry_any
    mrs r0, ipsr
    subs r0, #16
    ldr r1, =hf_irq_numbers
    ldrh r2, [r1, #0]
    cmp r0, r2
    beq hf_entry_rx
    ldrh r2, [r1, #2]
    cmp r0, r2
    beq hf_entry_tx
    ldrh r2, [r1, #6]
    cmp r0, r2
    beq hf_entry_tick
    ldrh r2, [r1, #4]
    cmp r0, r2
    bne hf_spare
    /* falls through */
    end hf_entry_any

/* The monitor's handler. What is pushed is struct hf_saved (hf_regs.h). */
    func hf_entry_soft
    mrs r0, msp
    ldr r1, =__hf_stack_high
    msr msp, r1
    push {r0, r4-r11, lr}
    mov r0, sp
    bl hf_soft_handler
    cbnz r0, 1f
    pop {r0, r4-r11, lr}
    msr msp, r0
    bx lr
1:  mrs r2, primask
    cpsid i
    b park_saved
    end hf_entry_soft

    func hf_entry_tick
    ldr r2, =hf_tick_handler
    b 1f
    end hf_entry_tick

    func hf_entry_rx
    ldr r2, =hf_rx_handler
    b 1f
    end hf_entry_rx

    func hf_entry_tx
    ldr r2, =hf_tx_handler
1:  mrs r0, msp
    ldr r1, =__hf_irq_stack_high
    msr msp, r1
    push {r0, lr}
    blx r2
    pop {r2, lr}
    msr msp, r2
    cbnz r0, park
    bx lr
    end hf_entry_tx

/* Faults. One inside the probes below, taken from the monitor's stack, ends the probe with "failed";
 * the trap of hf_leave is its second half. Any other is the application's. Only registers and flash
 * are needed before the stack is the monitor's own. */
    func hf_entry_fault
    tst lr, #4
    ite eq
    mrseq r0, msp
    mrsne r0, psp
    ldr r1, =CFSR
    ldr r2, [r1]
    tst r2, #0x1000         /* BFSR.STKERR: there is no frame */
    bne 1f
    tst r2, #0x10           /* MMFSR.MSTKERR */
    bne 1f
    ldr r3, =__hf_stack_low
    cmp r0, r3
    blo 1f
    ldr r3, =__hf_stack_high
    cmp r0, r3
    bhs 1f
    ldr r3, [r0, #24]
    ldr r12, =hf_trap
    cmp r3, r12
    beq.w leave
    ldr r12, =hf_probe_start
    subs r3, r3, r12
    cmp r3, #(hf_probe_end - hf_probe_start)
    bhs 1f
    str r2, [r1]            /* write one to clear: CFSR, then HFSR.FORCED */
    mov r2, #0x40000000
    str r2, [r1, #4]
    ldr r2, =hf_probe_failed
    str r2, [r0, #24]
    bx lr

1:  movs r0, #3             /* HF_PARK_FAULT */
    b park

/* The watchdog's NMI. Once may be a core that was held up (by a debugger, or an emulator on a busy
 * machine): it is fed. Twice, and no tick came between: interrupts are masked. */
    func hf_entry_watchdog
    ldr r1, =hf_missed
    ldr r0, [r1]
    adds r0, #1
    str r0, [r1]
    cmp r0, #2
    blo hf_watchdog_again
    movs r0, #4             /* HF_PARK_WATCHDOG */
    /* falls through */
    end hf_entry_watchdog

/* Handler mode, the application's r4 to r11 and stack, r0: why. */
park:
    mrs r2, primask
    cpsid i
    mrs r1, msp
    ldr r3, =__hf_stack_low
    cmp r1, r3
    blo 2f
    ldr r12, =__hf_stack_high
    cmp r1, r12
    bhs 2f
    ldr r3, =hf_parked
    ldr r3, [r3]
    cbnz r3, 3f             /* parked already: what is at the top of the stack is still needed */
2:  ldr r3, =__hf_stack_high
    msr msp, r3
    movs r3, #0
3:  push {r1, r4-r11, lr}
    b 4f
park_saved:
    movs r3, #0
4:  mov r1, sp
    bl hf_park_enter
    /* Return to thread mode, on the monitor's stack below struct hf_saved, into hf_park: the
     * exception is over, and faults of the probes can be taken again. */
    ldr r0, =__hf_stack_high - 40 - 32
    msr msp, r0
    movs r1, #0
    msr control, r1
    str r1, [r0, #20]
    ldr r2, =hf_park
    bic r2, #1
    str r2, [r0, #24]
    mov r1, #0x01000000
    str r1, [r0, #28]
    ldr lr, =0xFFFFFFF9
    dsb
    isb
    bx lr
    end hf_entry_fault
    .ltorg

    .section .text.hf_leave, "ax"

/* The second half of hf_leave, in the trap's handler: r0 its frame, r1 CFSR's address, r2 CFSR. */
    .thumb_func
leave:
    str r2, [r1]
    mov r2, #0x40000000
    str r2, [r1, #4]
    ldmia r0, {r0-r3}
    cbnz r3, unwind
    ldr r12, =__hf_stack_high - 40
    msr msp, r12
    pop {r3, r4-r11, lr}
    msr msp, r3
    msr control, r2
    msr basepri, r1
    msr primask, r0
    isb
    bx lr

/* Restart: ends every active exception by a return from it into the next one, in any order, and the
 * last one by a return to thread mode (B1.5.8). Registers that a return does not load carry on. */
unwind:
    mov r4, r0              /* main */
    mov r5, r1              /* stack for the cleanups */
    ldr r0, =__hf_stack_high
    msr msp, r0
unwind_next:
    bl hf_next_active
    sub sp, #32
    orr r1, r0, #0x01000000
    str r1, [sp, #28]
    ldr r1, =unwind_next
    ldr lr, =0xFFFFFFF1
    cbnz r0, 1f
    ldr r1, =restart
    ldr lr, =0xFFFFFFF9
1:  str r1, [sp, #24]
    dsb
    isb
    bx lr

    .align 1
restart:
    msr msp, r5
    bl open_all
    bl hf_restart_clean
    bl open_all
    bl hf_boot_vectors
    ldr r0, [r0]
    msr msp, r0
    movs r0, #0             /* argc, argv */
    movs r1, #0
    blx r4
1:  wfi                     /* main returned */
    b 1b
open_all:
    movs r0, #0
    msr control, r0
    msr psp, r0
    msr basepri, r0
    cpsie i
    isb
    bx lr

/* void hf_leave(uint32_t primask, uint32_t basepri, uint32_t control, uint32_t restart) or, with the
 * last set, (main, stack pointer, 0, 1). Thread mode, masked. CONTROL.FPCA goes, so that the trap
 * leaves floating-point registers alone. */
    func hf_leave
    mov r12, #0
    msr control, r12
    isb
hf_trap:
    udf #2
    end hf_leave
    .ltorg

#if HF_VECTORS <= 64
    .section .hf_low, "ax"
#else
    .section .text.hf_entry, "ax"
#endif

    .ltorg

/* What follows need not be in the room before the services, which would soon be full. */
    .section .text.hf_access, "ax"

/* uint32_t hf_probe_N(uint32_t to, uint32_t from, uint32_t count): copies units of N bytes, 1 when all
 * went well. No stack and no IT blocks: the fault handler only has to change the PC. The barrier
 * keeps an imprecise bus error of a buffered store inside. */
    func hf_probe_start
    func hf_probe_1
    cbz r2, 2f
1:  ldrb r3, [r1], #1
    strb r3, [r0], #1
    subs r2, #1
    bne 1b
2:  dsb
    movs r0, #1
    bx lr
    end hf_probe_1
    func hf_probe_2
    cbz r2, 2f
1:  ldrh r3, [r1], #2
    strh r3, [r0], #2
    subs r2, #1
    bne 1b
2:  dsb
    movs r0, #1
    bx lr
    end hf_probe_2
    func hf_probe_4
    cbz r2, 2f
1:  ldr r3, [r1], #4
    str r3, [r0], #4
    subs r2, #1
    bne 1b
2:  dsb
    movs r0, #1
    bx lr
    end hf_probe_4
    .set hf_probe_end, .
    end hf_probe_start
    func hf_probe_failed_code
    .global hf_probe_failed
    .set hf_probe_failed, . 
    movs r0, #0
    bx lr
    end hf_probe_failed_code

/* The two functions that write what the MPU keeps from being written do so under FAULTMASK, where it
 * does not apply unless HFNMIENA is set (ARMv7-M ARM B3.5.3): an application that set it loses it.
 * Clobbers r2, r3. */
    func hf_mpu_fit
    ldr r3, =0xE000ED94     /* MPU_CTRL */
    ldr r2, [r3]
    tst r2, #2
    it eq
    bxeq lr
    bic r2, #2
    str r2, [r3]
    dsb
    isb
    bx lr
    end hf_mpu_fit

/* uint32_t hf_arch_swap(struct hf_pair *pairs, uint32_t count). Seven masked instructions a pair,
 * and two to end it. */
    func hf_arch_swap
    cbz r1, 2f
    push {r4, lr}
    bl hf_mpu_fit
    rsb r12, r1, r1, lsl #3 /* 7 * count */
    cpsid f
1:  ldrd r2, r3, [r0]       /* 1 address, value */
    ldr r4, [r2]            /* 2 */
    str r3, [r2]            /* 3 */
    str r4, [r0, #4]        /* 4 */
    adds r0, #8             /* 5 */
    subs r1, #1             /* 6 */
    bne 1b                  /* 7 */
    dsb
    cpsie f
    isb
    add r0, r12, #2
    pop {r4, pc}
2:  movs r0, #0
    bx lr
    end hf_arch_swap

/* uint32_t hf_arch_heap_write(uint32_t address, const void *data, uint32_t length). Data is loaded
 * before and stored after masking: at most 32 bytes, two instructions a stretch. */
    func hf_arch_heap_write
    push {r4-r11, lr}
    mov r12, r2
    bl hf_mpu_fit
    b 2f
1:  ldmia r1!, {r4-r11}
    cpsid f
    stmia r0!, {r4-r11}
    cpsie f
2:  subs r12, #32
    bhs 1b
    adds r12, #32
    beq 4f
3:  ldr r4, [r1], #4
    cpsid f
    str r4, [r0], #4
    cpsie f
    subs r12, #4
    bhi 3b
4:  dsb
    movs r0, #2
    pop {r4-r11, pc}
    end hf_arch_heap_write

/* void hf_arch_start(uint32_t vectors): as after a reset, but with the stack and the table of the
 * application. */
    func hf_arch_start
    ldr r1, =0xE000ED08     /* VTOR */
    str r0, [r1]
    dsb
    ldr r1, [r0]
    ldr r2, [r0, #4]
    msr msp, r1
    mov lr, #-1
    cpsie i
    isb
    bx r2
    end hf_arch_start
    .ltorg
