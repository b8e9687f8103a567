/* What a board gives the bootloader: a const struct of functions and facts.
 *
 * A board is a folder with board.toml (facts for the host), memory.ld (the memory map, used by the
 * bootloader's and the application's link) and board.c, which defines `hf_board`. All functions run
 * in the monitor's context or in its interrupts; none may block for longer than its comment says. */
#ifndef HF_BOARD_H
#define HF_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#define HF_TICK_US 250000u
#define HF_WATCHDOG_US 1000000u

struct hf_board {
    const char *name; /* as the folder's name */

    uint16_t rx_irq;   /* external interrupt number of UART receive */
    uint16_t tx_irq;   /* of UART transmit; may equal rx_irq */
    uint16_t soft_irq; /* one that no peripheral and no application uses; pended by software */
    uint16_t tick_irq; /* of a timer that is not SysTick; without meaning where tick is NULL */

    uint32_t uart_base; /* refused to `read` and `write` */
    uint32_t uart_size; /* bytes */

    uint32_t flash_page;  /* bytes an erase takes, a power of two */
    uint32_t flash_write; /* bytes a program operation takes, a power of two, 1 to 16 */

    /* Clocks, pins and UART for the monitor; UART receive interrupt on at the peripheral. Called
     * once after reset, before the NVIC lets interrupts through. */
    void (*init)(void);

    /* Takes one received byte and acknowledges its interrupt. False: none there. */
    bool (*uart_take)(uint8_t *byte);

    /* Gives one byte to the transmitter. False: no room now. */
    bool (*uart_put)(uint8_t byte);

    /* Acknowledges a pending transmit interrupt; with `enable` the next room interrupts again. */
    void (*uart_tx_irq)(bool enable);

    /* Bytes that the UART is known to have lost since the last call; 0 where it cannot tell. */
    uint32_t (*uart_lost)(void);

    /* Free-running microseconds that wrap at 2^32, independent of SysTick. */
    uint32_t (*micros)(void);

    /* Erases the page at `address` (page-aligned). 0, or -1 when the controller reports failure.
     * May take as long as the flash takes. */
    int (*flash_erase)(uint32_t address);

    /* Programs `length` bytes (both multiples of flash_write) into erased flash. Never sets a bit
     * that is 0: the driver checks and returns -1, flash unchanged from there on. */
    int (*flash_program)(uint32_t address, const uint8_t *data, uint32_t length);

    /* Starts the watchdog: when it is not fed for HF_WATCHDOG_US, it raises an NMI, which board.toml
     * says (`watchdog = "nmi"`), or resets the board. NULL: the board has none. */
    void (*watchdog_start)(void);

    /* Feeds it. An application that has set it up for itself is left to feed it alone, unless it is
     * parked or the bootloader waits. */
    void (*watchdog_feed)(bool parked);

    /* The periodic interrupt, tick_irq: with `start` it comes every HF_TICK_US from now on, else it
     * is acknowledged. NULL: the board has none. */
    void (*tick)(bool start);

    /* Resets the board; does not return. */
    void (*reset)(void);
};

extern const struct hf_board hf_board;

#endif
