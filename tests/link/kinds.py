"""A function in assembly with relocations of every kind that hotflash links."""

from __future__ import annotations


def every_kind(name: str, function: str, variable: str) -> str:
    """The function ``name``, which refers to another function and to a variable that the firmware has.

    Branches and loads that reach a few bytes only lead to labels of the function itself.
    """
    return f"""
    .section .text.{name},"ax",%progbits
    .balign 4
    .global {name}
    .type {name}, %function
    .thumb_func
{name}:
    .rept 6
    nop
    .endr
    bl {function}
    b.w {function}
    beq.w {function}
    movw r0, #:lower16:{variable}
    movt r0, #:upper16:{variable}
    movw r0, #:lower16:({variable} - .)
    movt r0, #:upper16:({variable} - .)
    .reloc ., R_ARM_V4BX, {name}
    bx lr
    .reloc ., R_ARM_NONE, {function}
    .balign 4
    .reloc ., R_ARM_THM_PC12, {name}_words
    ldr.w r0, [pc, #0]
    .reloc ., R_ARM_THM_ALU_PREL_11_0, {name}_words
    .inst.w 0xf20f0000
    .reloc ., R_ARM_THM_PC8, {name}_words
    .inst.n 0x4800
    .reloc ., R_ARM_THM_JUMP11, {name}_near
    .inst.n 0xe7fe
    .reloc ., R_ARM_THM_JUMP8, {name}_near
    .inst.n 0xd0fe
    .reloc ., R_ARM_THM_JUMP6, {name}_near
    .inst.n 0xb100
    movs r0, #:upper8_15:{variable}
    adds r0, #:upper0_7:{variable}
    adds r0, #:lower8_15:{variable}
    adds r0, #:lower0_7:{variable}
    .type {name}_near, %notype
{name}_near:
    bx lr
    .balign 4
    .type {name}_words, %notype
{name}_words:
    .word {variable}, {function} + 0, {variable} - ., {variable}(target1), {variable}(target2)
    .reloc ., R_ARM_PREL31, {function}
    .word 0
    .reloc ., R_ARM_ABS32_NOI, {variable}
    .word 0
    .reloc ., R_ARM_REL32_NOI, {variable}
    .word 0
    .hword {name}_small
    .byte {name}_small, 0
    .size {name}, . - {name}
    .global {name}_small
    .equ {name}_small, 0x12
"""
