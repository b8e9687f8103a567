/* A device of memory, flash and interrupts for the host: the monitor's C runs on it as it is.
 *
 * Memory lies at the device's own 32-bit numbers. Flash, hook table and code heap are mapped read-only
 * there, and the model writes through a second mapping: a store that the monitor makes by itself, past
 * hf_arch_heap_write, hf_arch_swap and the flash driver, ends in a signal. Everything the monitor does to
 * lasting memory is a numbered step, at which power can be cut. Nothing here depends on real time unless
 * `realtime` is set. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "hf_arch.h"
#include "hf_board.h"

#define DEV_BOOT_BASE 0x10000000u
#define DEV_BOOT_SIZE 0x8000u
#define DEV_FLASH_BASE 0x10008000u /* the application's */
#define DEV_HOOK_BASE 0x20000000u
#define DEV_HOOK_SIZE 0x8000u
#define DEV_MONITOR_BASE 0x20008000u
#define DEV_MONITOR_SIZE 0x8000u
#define DEV_DATA_BASE 0x20010000u
#define DEV_HEAP_BASE 0x20040000u
#define DEV_RAM_BASE 0x20080000u
#define DEV_UART_BASE 0x40004000u
#define DEV_UART_SIZE 0x1000u
#define DEV_PERIPHERAL_BASE 0x40010000u /* plain registers, word access only */
#define DEV_PERIPHERAL_SIZE 0x1000u
#define DEV_SPARE_TRAP (DEV_BOOT_BASE + 0x45Cu + 1u) /* docs/SPEC.md, Services */

/* What the command line sets; sizes in bytes, multiples of 4,096. */
struct dev_settings {
    uint32_t flash_size;
    uint32_t flash_page;  /* a power of two */
    uint32_t flash_write; /* a power of two, 1 to 16 */
    uint32_t heap_size;
    uint32_t data_size;
    uint32_t ram_size;
    uint32_t chunk;    /* largest payload of a frame */
    uint32_t credits;  /* frames of full size that the receive ring takes */
    uint32_t log_size; /* bytes of the log's ring, a power of two */
    bool realtime; /* micros() is the host's clock */
    bool mpu;      /* what hf_arch_has_mpu() says */
};
extern struct dev_settings dev_settings;

enum dev_step {
    STEP_HEAP_WRITE, /* each stretch of at most 32 bytes */
    STEP_SWAP,       /* before and after */
    STEP_ERASE,
    STEP_PROGRAM, /* each write unit */
    STEP_MASK,    /* each masking and unmasking */
    STEP_HANDLER, /* each run of the monitor's handler */
    STEP_RX,      /* each received byte */
    STEP_TX,      /* each byte given to the transmitter */
    STEP_POKE,    /* each access of hf_arch_write */
    STEP_KINDS
};

#define DEV_CALLS 80u

/* State of the world outside the monitor; survives its resets. */
struct dev_state {
    uint32_t micros;
    uint32_t step[STEP_KINDS];
    uint32_t cut_mask;  /* bit per kind that counts towards cut_at */
    uint32_t cut_at;    /* power fails at that step; 0: never */
    uint32_t cut_count; /* steps counted so far */
    uint32_t seed;      /* of what a cut leaves in flash */
    uint32_t resets;    /* of any cause */
    uint32_t reset_requested; /* by hf_board.reset */
    uint32_t flash_fail_at;   /* the n-th flash operation from now reports failure; 0: none */
    uint32_t lost;            /* what uart_lost says next */
    uint32_t priority_flags;
    uint32_t protection; /* what hf_arch_protection() says */
    uint32_t tx_budget; /* bytes that the line still takes; UINT32_MAX: any number */
    uint32_t erases;
    uint32_t programs;
    uint32_t syncs;
    uint32_t swaps;
    uint32_t app_started; /* vector table address, 0: the bootloader waits */
    uint32_t bus_errors;
    uint32_t plain;  /* a PLAIN application runs: nobody listens */
    uint32_t parked; /* the monitor is polled */
    uint32_t left_by; /* what hf_monitor_leave said last */
    uint32_t stuck;  /* a handler of the application does not return: the monitor's does not run */
    uint32_t process_stack; /* what hf_arch_process_stack says */
    uint32_t calls;  /* of the application's functions by the monitor */
    uint32_t call[2 * DEV_CALLS]; /* entry, argument */
    struct hf_context context;
    uint32_t inject_at; /* an interrupt comes at that masking step; 0: none */
    uint32_t inject_every; /* and again after that many more; 0: once */
    uint32_t inject_left;  /* interrupts still to come; each makes the monitor work, which makes more */
    uint32_t inject_count; /* masking steps so far */
    uint8_t inject_text[64];
    uint32_t inject_length;
    uint32_t injected;
};
extern struct dev_state dev;

extern const struct hf_board dev_board; /* geometry of flash left open */

/* Prints and aborts: the monitor broke a rule of hf_arch.h or hf_board.h. */
noreturn void dev_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void dev_map(void);

/* Pointer into the writable second mapping, or NULL when [address, +length) is not in one region. */
uint8_t *dev_alias(uint32_t address, uint32_t length);

/* True when [address, +length) is memory of the region that starts at `base`. */
bool dev_inside(uint32_t address, uint32_t length, uint32_t base, uint32_t size);

/* Counts a step; power may fail here (does not return then). */
void dev_step(enum dev_step kind);

/* True when the step that comes next is the one at which power fails. */
bool dev_cut_next(enum dev_step kind);

/* Reproducible bits for damaged flash. */
uint32_t dev_random(void);

/* Resets the core. With `power` the RAM loses its contents. */
noreturn void dev_reset(bool power);

/* Fills all RAM with noise. */
void dev_ram_noise(void);

/* The application is parked, or faulted with the record's first 21 words: the monitor is polled from now on. */
void dev_park(uint32_t reason, bool final);
void dev_fault(const uint32_t *words);
#define DEV_FAULT_WORDS 21u

/* Makes an address range answer with a bus error, in addition to what is not mapped at all. */
void dev_bus_error(uint32_t address, uint32_t length);

/* UART, host side. */
void dev_receive(uint8_t byte); /* one byte arrives; the receive interrupt runs */
void dev_settle(bool handler);  /* runs pending transmit interrupts and, if asked, the monitor's handler */
size_t dev_sent(const uint8_t **bytes); /* what left the line since dev_sent_clear */
void dev_sent_clear(void);

void dev_interrupts_reset(void); /* core and UART state after a reset */

/* Serves one control command or some bytes of the stream; main.c. */
void dev_serve(void);

#endif
