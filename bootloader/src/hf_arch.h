/* What the portable monitor asks of a core. One folder under arch/ implements it for a profile;
 * tests/monitor implements it for the host. Addresses are the device's, 32 bits; hf_ptr() makes
 * them pointers (the host test maps the device's memory at the same numbers). */
#ifndef HF_ARCH_H
#define HF_ARCH_H

#include <stdbool.h>
#include <stdint.h>

struct hf_pair {
    uint32_t address; /* of an aligned word: hook or data */
    uint32_t value;   /* to be stored; after the swap, what was there */
};

/* Registers of the interrupted thread, and the stacks that are known to be in use. */
#define HF_CONTEXT_REGS 16u   /* r0 to r12, sp, lr, pc */
#define HF_CONTEXT_STACKS 2u  /* main, process */

struct hf_stack {
    uint32_t low;  /* lowest live address (the stack pointer, behind the exception frame) */
    uint32_t high; /* one past the highest */
};

struct hf_context {
    uint32_t reg[HF_CONTEXT_REGS];
    uint32_t xpsr;    /* 0: reg 0 to 3, 12, 14 and 15 are not known */
    uint32_t process; /* 1: reg 13 is the process stack's */
    struct hf_stack stack[HF_CONTEXT_STACKS]; /* low == high: not in use */
};

static inline void *hf_ptr(uint32_t address)
{
    return (void *)(uintptr_t)address;
}

/* Masks all configurable interrupts and returns the state for hf_arch_unmask. */
uint32_t hf_arch_mask(void);
void hf_arch_unmask(uint32_t state);

/* Pends the monitor's software interrupt, at PendSV's present priority. */
void hf_arch_pend(void);

/* Swaps `count` words with memory, interrupts masked and memory protection out of the way. Returns the
 * number of instructions executed while masked. */
uint32_t hf_arch_swap(struct hf_pair *pairs, uint32_t count);

/* Copies to the code heap or the hook table, past the memory protection: address and length multiples
 * of 4, at most 32 bytes per masked stretch; between the stretches nothing is writable. Returns the
 * most instructions executed in one masked stretch. */
uint32_t hf_arch_heap_write(uint32_t address, const void *data, uint32_t length);

/* Makes code that was written to RAM visible to instruction fetch. */
void hf_arch_sync(void);

/* Accesses `length` bytes in units of `width` (1, 2, 4), surviving bus errors. Returns false at the
 * first fault; what was done before it stays done. */
bool hf_arch_read(uint32_t address, uint8_t *data, uint32_t length, uint32_t width);
bool hf_arch_write(uint32_t address, const uint8_t *data, uint32_t length, uint32_t width);

/* The application's context below the monitor's handler. Only valid inside hf_monitor_run(), and while
 * the application is parked. */
void hf_arch_context(struct hf_context *context);

/* Whether the application has set a process stack, as RTOSes do. */
bool hf_arch_process_stack(void);

/* Calls a function of the application. */
void hf_arch_call(uint32_t entry, uint32_t argument);

/* Prepares the NVIC for the monitor: the UART's interrupts at priority 0, all else at level 1,
 * software interrupt and PendSV lowest; faults enabled. */
void hf_arch_init(void);

/* Undoes hf_arch_init before a PLAIN application starts. */
void hf_arch_release(void);

/* Starts the application through its vector table; does not return. */
void hf_arch_start(uint32_t vectors);

/* Sleeps until an interrupt; used while no application runs. */
void hf_arch_idle(void);

/* SCB CPUID (ARMv7-M ARM B3.2.3). */
uint32_t hf_arch_core(void);

/* Memory protection: mpu.c of the core, or arch/nompu for boards that lack it. */
bool hf_arch_has_mpu(void);

/* Before a HOT application starts: code heap and flash executable and read-only, hook table read-only,
 * other memory not executable (unless HF_EXECUTE_RAM), and a read-only guard at the lowest end of the
 * main stack, the first 128 aligned bytes from `stack_limit` (0: not known, no guard). */
void hf_arch_protect(uint32_t stack_limit);

/* What of that is in force now, HF_PROTECT_*: the application may have its own settings. */
uint32_t hf_arch_protection(void);

/* HF_HELLO_PRIO_ZERO and HF_HELLO_PENDSV_ZERO as they are now. */
uint32_t hf_arch_priority_flags(void);

#endif
