/* Drivers that the MPS2+ images share: the CMSDK's UART 0, timer 1 and watchdog, the FPGA's microsecond counter,
 * and ZBT SRAM 1 treated as NOR flash. A board.c includes this file and names the board.
 *
 * Registers: Arm DDI 0479 (CMSDK), 4.1 timer, 4.3 UART, 4.6 watchdog; Arm DAI 0385 and 0386, FPGA system control. */
#ifndef MPS2_CMSDK_H
#define MPS2_CMSDK_H

#include "hf_board.h"

#define MPS2_REG(address) (*(volatile uint32_t *)(address))

#define MPS2_CLOCK_HZ 25000000u
#define MPS2_BAUD 115200u

#define MPS2_UART 0x40004000u
#define MPS2_UART_DATA MPS2_REG(MPS2_UART + 0x00u)
#define MPS2_UART_STATE MPS2_REG(MPS2_UART + 0x04u)
#define MPS2_UART_CTRL MPS2_REG(MPS2_UART + 0x08u)
#define MPS2_UART_INT MPS2_REG(MPS2_UART + 0x0Cu)
#define MPS2_UART_BAUDDIV MPS2_REG(MPS2_UART + 0x10u)
#define MPS2_UART_STATE_TXFULL 1u
#define MPS2_UART_STATE_RXFULL 2u
#define MPS2_UART_STATE_RXOVER 8u
#define MPS2_UART_CTRL_TX 1u
#define MPS2_UART_CTRL_RX 2u
#define MPS2_UART_CTRL_TXINT 4u
#define MPS2_UART_CTRL_RXINT 8u
#define MPS2_UART_INT_TX 1u
#define MPS2_UART_INT_RX 2u

#define MPS2_WATCHDOG 0x40008000u
#define MPS2_WATCHDOG_LOAD MPS2_REG(MPS2_WATCHDOG + 0x00u)
#define MPS2_WATCHDOG_CTRL MPS2_REG(MPS2_WATCHDOG + 0x08u)
#define MPS2_WATCHDOG_INTCLR MPS2_REG(MPS2_WATCHDOG + 0x0Cu)
#define MPS2_WATCHDOG_LOCK MPS2_REG(MPS2_WATCHDOG + 0xC00u)
#define MPS2_WATCHDOG_UNLOCK 0x1ACCE551u
#define MPS2_WATCHDOG_RUN 3u /* INTEN, RESEN: an NMI, and a reset if that does not help */
#define MPS2_WATCHDOG_OURS (MPS2_CLOCK_HZ / 1000000u * HF_WATCHDOG_US)

#define MPS2_TIMER1 0x40001000u
#define MPS2_TIMER1_CTRL MPS2_REG(MPS2_TIMER1 + 0x00u)
#define MPS2_TIMER1_VALUE MPS2_REG(MPS2_TIMER1 + 0x04u)
#define MPS2_TIMER1_RELOAD MPS2_REG(MPS2_TIMER1 + 0x08u)
#define MPS2_TIMER1_INTCLR MPS2_REG(MPS2_TIMER1 + 0x0Cu)
#define MPS2_TIMER1_RUN 9u /* enable, interrupt enable */

#define MPS2_FPGA_COUNTER MPS2_REG(0x40028018u)
#define MPS2_FPGA_PRESCALE MPS2_REG(0x4002801Cu)

#define MPS2_AIRCR MPS2_REG(0xE000ED0Cu)
#define MPS2_AIRCR_RESET 0x05FA0004u

#define MPS2_FLASH_PAGE 4096u
#define MPS2_FLASH_WRITE 4u

static void mps2_init(void)
{
    MPS2_FPGA_PRESCALE = MPS2_CLOCK_HZ / 1000000u - 1u;
    MPS2_UART_BAUDDIV = MPS2_CLOCK_HZ / MPS2_BAUD;
    MPS2_UART_CTRL = MPS2_UART_CTRL_TX | MPS2_UART_CTRL_RX | MPS2_UART_CTRL_RXINT;
}

static bool mps2_uart_take(uint8_t *byte)
{
    /* The interrupt is acknowledged first: a byte that comes between the two asks again. */
    MPS2_UART_INT = MPS2_UART_INT_RX;
    if ((MPS2_UART_STATE & MPS2_UART_STATE_RXFULL) == 0) {
        return false;
    }
    *byte = (uint8_t)MPS2_UART_DATA;
    return true;
}

static bool mps2_uart_put(uint8_t byte)
{
    if ((MPS2_UART_STATE & MPS2_UART_STATE_TXFULL) != 0) {
        return false;
    }
    MPS2_UART_DATA = byte;
    return true;
}

static void mps2_uart_tx_irq(bool enable)
{
    MPS2_UART_INT = MPS2_UART_INT_TX;
    if (enable) {
        MPS2_UART_CTRL |= MPS2_UART_CTRL_TXINT;
    } else {
        MPS2_UART_CTRL &= ~MPS2_UART_CTRL_TXINT;
    }
}

static uint32_t mps2_uart_lost(void)
{
    if ((MPS2_UART_STATE & MPS2_UART_STATE_RXOVER) == 0) {
        return 0;
    }
    MPS2_UART_STATE = MPS2_UART_STATE_RXOVER;
    return 1; /* at least: the part does not count */
}

static uint32_t mps2_micros(void)
{
    return MPS2_FPGA_COUNTER;
}

static int mps2_flash_erase(uint32_t address)
{
    volatile uint32_t *word = (volatile uint32_t *)address;

    for (uint32_t i = 0; i < MPS2_FLASH_PAGE / 4u; i++) {
        word[i] = 0xFFFFFFFFu;
    }
    return 0;
}

static int mps2_flash_program(uint32_t address, const uint8_t *data, uint32_t length)
{
    for (uint32_t i = 0; i < length; i += 4u) {
        volatile uint32_t *word = (volatile uint32_t *)(address + i);
        uint32_t value = data[i] | (uint32_t)data[i + 1u] << 8 | (uint32_t)data[i + 2u] << 16 | (uint32_t)data[i + 3u] << 24;

        if ((value & ~*word) != 0) {
            return -1; /* only an erase sets bits */
        }
        *word = value;
    }
    return 0;
}

static void mps2_tick(bool start)
{
    MPS2_TIMER1_INTCLR = 1;
    if (start) {
        MPS2_TIMER1_RELOAD = MPS2_CLOCK_HZ / 1000000u * HF_TICK_US - 1u;
        MPS2_TIMER1_VALUE = MPS2_TIMER1_RELOAD;
        MPS2_TIMER1_CTRL = MPS2_TIMER1_RUN;
    }
}

static void mps2_watchdog_start(void)
{
    MPS2_WATCHDOG_LOCK = MPS2_WATCHDOG_UNLOCK;
    MPS2_WATCHDOG_LOAD = MPS2_WATCHDOG_OURS;
    MPS2_WATCHDOG_CTRL = MPS2_WATCHDOG_RUN;
    MPS2_WATCHDOG_LOCK = 0;
}

static void mps2_watchdog_feed(bool parked)
{
    if ((MPS2_WATCHDOG_CTRL & 1u) != 0 && (parked || MPS2_WATCHDOG_LOAD == MPS2_WATCHDOG_OURS)) {
        MPS2_WATCHDOG_LOCK = MPS2_WATCHDOG_UNLOCK;
        MPS2_WATCHDOG_INTCLR = 1;
        MPS2_WATCHDOG_LOCK = 0;
    }
}

static void mps2_reset(void)
{
    uint32_t started = mps2_micros();

    /* One byte in the holding register and one in the shifter, ten bits each. */
    while (mps2_micros() - started < 2u * 10u * 1000000u / MPS2_BAUD) {
    }
    MPS2_AIRCR = MPS2_AIRCR_RESET;
    for (;;) {
    }
}

#define MPS2_BOARD(board_name)                                                                                         \
    const struct hf_board hf_board = {                                                                                 \
        .name = board_name,                                                                                            \
        .rx_irq = 0,                                                                                                   \
        .tx_irq = 1,                                                                                                   \
        .soft_irq = 31,                                                                                                \
        .tick_irq = 9,                                                                                                 \
        .uart_base = MPS2_UART,                                                                                        \
        .uart_size = 0x1000,                                                                                           \
        .flash_page = MPS2_FLASH_PAGE,                                                                                 \
        .flash_write = MPS2_FLASH_WRITE,                                                                               \
        .init = mps2_init,                                                                                             \
        .uart_take = mps2_uart_take,                                                                                   \
        .uart_put = mps2_uart_put,                                                                                     \
        .uart_tx_irq = mps2_uart_tx_irq,                                                                               \
        .uart_lost = mps2_uart_lost,                                                                                   \
        .micros = mps2_micros,                                                                                         \
        .flash_erase = mps2_flash_erase,                                                                               \
        .flash_program = mps2_flash_program,                                                                           \
        .watchdog_start = mps2_watchdog_start,                                                                         \
        .watchdog_feed = mps2_watchdog_feed,                                                                           \
        .tick = mps2_tick,                                                                                             \
        .reset = mps2_reset,                                                                                           \
    }

#endif
