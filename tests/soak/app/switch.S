/* The context switch. Main runs on the main stack, tasks on the process stack; registers are kept on the stack
 * that is left, and EXC_RETURN with them. Nothing here is hooked. */
    .syntax unified
    .thumb
    .text

    .global PendSV_Handler
    .type PendSV_Handler, %function
    .thumb_func
PendSV_Handler:
    tst lr, #4
    ite eq
    mrseq r0, msp
    mrsne r0, psp
    stmdb r0!, {r3-r11, lr}
    tst lr, #4
    it eq
    msreq msp, r0
    bl choose
    ldmia r0!, {r3-r11, lr}
    tst lr, #4
    ite eq
    msreq msp, r0
    msrne psp, r0
    bx lr
    .size PendSV_Handler, . - PendSV_Handler

/* void call_on(uint32_t *top, void (*function)(void)): on another stack; does not come back by itself. */
    .global call_on
    .type call_on, %function
    .thumb_func
call_on:
    mov sp, r0
    blx r1
    udf #9
    .size call_on, . - call_on
