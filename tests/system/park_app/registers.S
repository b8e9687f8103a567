/* Loads every register, flags, IT blocks and floating-point registers with known values and checks them, so that a
 * park between any two instructions that loses one is counted in `broken` or `fp_broken`. */
    .syntax unified
    .cpu cortex-m4
    .fpu fpv4-sp-d16
    .thumb
    .text

    .global check_registers
    .type check_registers, %function
    .thumb_func
check_registers:
    push {r4-r11, lr}
    ldr r0, =0x10000001
    ldr r1, =0x20000002
    ldr r2, =0x30000003
    ldr r3, =0x40000004
    ldr r4, =0x50000005
    ldr r5, =0x60000006
    ldr r6, =0x70000007
    ldr r7, =0x80000008
    ldr r8, =0x90000009
    ldr r9, =0xA000000A
    ldr r10, =0xB000000B
    ldr r11, =0xC000000C
    ldr r12, =0xD000000D
    ldr lr, =0xE000000E
    .rept 100
    nop
    .endr
    push {r0-r12, lr}
    ldr r0, =expected
    mov r1, sp
    movs r2, #14
1:  ldr r3, [r0], #4
    ldr r4, [r1], #4
    cmp r3, r4
    bne 8f
    subs r2, #1
    bne 1b
    add sp, #56

    /* flags, through an IT block that a park may interrupt */
    mov r5, #0
    ldr r0, =0xF8000000
    msr apsr_nzcvq, r0
    nop
    nop
    ittt mi
    addmi r5, #1
    nopmi
    addmi r5, #2
    mrs r1, apsr
    cmp r0, r1
    bne 9f
    cmp r5, #3
    bne 9f
    movs r5, #0
    mov r0, #0
    msr apsr_nzcvq, r0
    nop
    itte eq
    addeq r5, #1
    addeq r5, #1
    addne r5, #4
    mrs r1, apsr
    cmp r1, #0
    bne 9f
    cmp r5, #4
    bne 9f

    /* masks: BASEPRI below the monitor's level keeps it out, so only what leaves it in */
    movs r0, #0
    msr basepri, r0
    mrs r1, basepri
    cmp r1, #0
    bne 9f
    mrs r1, primask
    cmp r1, #0
    bne 9f
    /* multiple loads, whose progress ICI keeps */
    ldr r0, =expected
    .rept 6
    ldmia r0, {r1-r11}
    .endr
    ldr r12, =0x10000001
    cmp r1, r12
    bne 9f
    ldr r12, =0xB000000B
    cmp r11, r12
    bne 9f
    ldr r0, =checks
    ldr r1, [r0]
    adds r1, #1
    str r1, [r0]
    pop {r4-r11, pc}
8:  add sp, #56
9:  ldr r0, =broken
    ldr r1, [r0]
    adds r1, #1
    str r1, [r0]
    pop {r4-r11, pc}
    .ltorg
    .size check_registers, . - check_registers

/* Nothing on cores without floating point. */
    .global check_fp
    .type check_fp, %function
    .thumb_func
check_fp:
    ldr r0, =0xE000ED88         /* CPACR: full access to CP10 and CP11 */
    ldr r1, [r0]
    orr r1, #0x00F00000
    str r1, [r0]
    dsb
    isb
    ldr r1, [r0]
    tst r1, #0x00F00000
    it eq
    bxeq lr
    vpush {s16-s31}
    ldr r0, =floats
    vldmia r0, {s0-s31}
    .rept 400
    nop
    .endr
    sub sp, #128
    vstmia sp, {s0-s31}
    mov r1, sp
    movs r2, #32
1:  ldr r3, [r0], #4
    ldr r12, [r1], #4
    cmp r3, r12
    bne 2f
    subs r2, #1
    bne 1b
    b 3f
2:  ldr r0, =fp_broken
    ldr r1, [r0]
    adds r1, #1
    str r1, [r0]
3:  add sp, #128
    vpop {s16-s31}
    bx lr
    .ltorg
    .size check_fp, . - check_fp

    .section .rodata
    .align 2
expected:
    .word 0x10000001, 0x20000002, 0x30000003, 0x40000004, 0x50000005, 0x60000006, 0x70000007
    .word 0x80000008, 0x90000009, 0xA000000A, 0xB000000B, 0xC000000C, 0xD000000D, 0xE000000E
floats:
    .set value, 0x3F800000
    .rept 32
    .word value
    .set value, value + 0x00010000
    .endr
