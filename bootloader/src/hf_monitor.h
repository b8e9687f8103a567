/* The portable bootloader and monitor, as seen by a core's startup code and by the host test.
 *
 * Order of calls after a reset: hf_monitor_init(), hf_boot_decide(), then either the application is
 * started (HF_BOOT_HOT; HF_BOOT_PLAIN after its grace time) or the bootloader waits. From then on
 * the interrupts call hf_rx_interrupt() and hf_tx_interrupt(), and the software interrupt, which
 * hf_arch_pend() asks for, calls hf_monitor_run(). hf_main() is this order for the target. */
#ifndef HF_MONITOR_H
#define HF_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "hf_board.h"

/* Bytes that a frame adds to its body: channel, sequence number, CRC. */
#define HF_FRAME_EXTRA 6u
/* Body bytes besides the chunk: operation or status, and the message's fixed fields. */
#define HF_BODY_EXTRA 16u
/* Worst case of COBS: a code byte per 254 bytes begun, and the closing zero. */
#define HF_COBS_EXTRA(n) ((n) / 254u + 2u)
/* Bytes of a receive frame buffer for payloads of `chunk` bytes. */
#define HF_FRAME_BYTES(chunk) ((chunk) + HF_BODY_EXTRA + HF_FRAME_EXTRA)
/* Bytes of a transmit buffer. */
#define HF_TX_BYTES(chunk) (HF_FRAME_BYTES(chunk) + HF_COBS_EXTRA(HF_FRAME_BYTES(chunk)) + 1u)

/* Where everything is. On the target from the linker script (arch/, ld/boot.ld); the host test
 * supplies its own. Addresses are the device's; sizes are bytes. */
struct hf_map {
    uint32_t boot_base, boot_size;       /* the bootloader's flash */
    uint32_t app_base, app_size;         /* the application's flash */
    uint32_t hook_base, hook_size;       /* hook table */
    uint32_t monitor_base, monitor_size; /* the monitor's own RAM */
    uint32_t data_base, data_size;       /* data heap */
    uint32_t heap_base, heap_size;       /* code heap, both multiples of 32 */
    uint32_t ram_base, ram_size;         /* the application's RAM */
    uint32_t spare_trap;                 /* code that a spare hook leads to, Thumb bit set */

    uint8_t *rx_ring; /* receive ring */
    uint32_t rx_size; /* a power of two, at least 2 * HF_TX_BYTES(chunk) */
    uint8_t *rx_frame;  /* one decoded frame: HF_FRAME_BYTES(chunk) bytes */
    uint8_t *tx_buffer[2]; /* HF_TX_BYTES(chunk) bytes each */
    uint32_t chunk;     /* largest payload; at least 128 */
    uint8_t *log_ring;  /* log stream on its way into frames */
    uint32_t log_size;  /* a power of two */

    uint32_t *stack_low;  /* the monitor's stack, filled with HF_STACK_FILL by the startup code */
    uint32_t *stack_high; /* one past its end */
};

#define HF_STACK_FILL 0xC5C5C5C5u

extern const struct hf_map hf_map;

/* Survives a reset (no-init RAM); made sane by hf_monitor_init() after power-on. */
struct hf_persist {
    uint32_t magic;
    uint32_t boot_count; /* resets since power was applied */
    uint32_t stay;       /* HF_PERSIST_STAY: Reset with mode 1 asked to wait in the bootloader */
    uint32_t check;      /* ~(magic ^ boot_count ^ stay) */
};

#define HF_PERSIST_STAY 0x59415453u /* "STAY" */

extern struct hf_persist hf_persist;

enum hf_boot {
    HF_BOOT_WAIT,  /* no application to start, or told to wait: the reason was reported */
    HF_BOOT_HOT,   /* hook table filled; start the application at hf_boot_vectors() */
    HF_BOOT_PLAIN, /* announced; start it unless a Hello comes within HF_PLAIN_GRACE_US */
};

#define HF_PLAIN_GRACE_US 250000u

/* Puts all state of the monitor to that after a reset: empty heaps, no application, empty queues.
 * Counts the boot. Does not touch peripherals. */
void hf_monitor_init(void);

/* Looks at the application in flash, decides, fills the hook table of a hot one, and queues the
 * boot (or plain) frame. Call once after hf_monitor_init(), and hf_board.init(). */
enum hf_boot hf_boot_decide(void);

/* Address of the vector table of the application, if there is one. */
uint32_t hf_boot_vectors(void);

/* Lowest address of that application's main stack; 0: it does not say. */
uint32_t hf_boot_stack_limit(void);

/* Whether a Hello has come since hf_boot_decide(). */
bool hf_boot_hello_seen(void);

/* After HF_BOOT_HOT: tells the monitor that the application runs now. */
void hf_boot_started(void);

/* UART receive interrupt: takes at most HF_RX_PER_ENTRY bytes, pends the monitor at a frame's end. */
void hf_rx_interrupt(void);
#define HF_RX_PER_ENTRY 16u

/* UART transmit interrupt: gives the transmitter what it takes of the current frame. */
void hf_tx_interrupt(void);

/* Whether the attention sequence came since the last call: HF_ATTENTION zero bytes in a row. */
bool hf_attention(void);
#define HF_ATTENTION 16u

/* The board's periodic interrupt. */
void hf_tick_interrupt(void);

/* The monitor's handler: handles all complete frames, then builds what is to be sent. Returns 0, or
 * for which reason (HF_PARK_*) the caller is to park the application. */
uint32_t hf_monitor_run(void);

/* What was found when the application was parked last (docs/SPEC.md, Park words); survives a reset.
 * The core fills it, up to what hf_monitor_park() knows itself. */
#define HF_RECORD_WORDS 38u
extern uint32_t hf_record[HF_RECORD_WORDS + 1u]; /* a check last */

/* The application stands still from now on: completes the record and reports it (fault frame kind 3),
 * from a buffer of its own and whatever state the rest is in. The caller then polls: hf_park_told(true)
 * once, then hf_monitor_poll() until hf_monitor_leave() has an answer. `final`: the context is lost, the
 * application cannot be continued. */
void hf_monitor_park(uint32_t reason, bool final);

/* 0, or HF_ACTION_CONTINUE, or the entry of `main`, which is to be called after hf_restart_clean() on a
 * fresh stack. The application counts as running from then on. */
uint32_t hf_monitor_leave(void);
#define HF_ACTION_CONTINUE 2u

/* Calls the application's on_park or on_continue. */
void hf_park_told(bool parked);

/* The i-th interrupt that keeps running while parked (negative: see hotflash.h); false: no more. */
bool hf_park_kept(uint32_t i, int32_t *irq);

/* Runs the application's cleanups, the last registered first, and its on_restart; thread mode. */
void hf_restart_clean(void);

/* Start of the application's RAM. */
uint32_t hf_boot_ram(void);

/* One turn of an interrupt-less monitor: takes bytes, runs the monitor, gives bytes. */
void hf_monitor_poll(void);

/* Services of the application (docs/SPEC.md, Services). Callable from any interrupt; never block. */
void hf_log_write(const char *text, uint32_t length);
uint32_t hf_generation(void);
void hf_clock_changed(void);
uint32_t hf_micros(void);
void hf_parking(uint32_t parking); /* const struct hf_parking * of hotflash.h */
void hf_cleanup(uint32_t cleanup, uint32_t add); /* struct hf_cleanup * */
void hf_task(uint32_t task, uint32_t add);       /* struct hf_task * */

/* Target only (boot_main.c): the order of calls above, and the application's start. */
void hf_main(void);

#endif
