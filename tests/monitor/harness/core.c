#define _GNU_SOURCE
/* hf_arch.h for the host: masking, swaps, heap writes, and power that fails. */
#include <setjmp.h>
#include <string.h>
#include <time.h>

#include "device.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "main.h"
#include "state.h"

static bool masked;
static bool pended;
static bool in_handler;
static bool in_interrupt;

uint32_t dev_random(void)
{
    dev.seed ^= dev.seed << 13;
    dev.seed ^= dev.seed >> 17;
    dev.seed ^= dev.seed << 5;
    return dev.seed;
}

bool dev_cut_next(enum dev_step kind)
{
    return dev.cut_at != 0 && (dev.cut_mask >> kind & 1u) != 0 && dev.cut_count + 1 == dev.cut_at;
}

void dev_step(enum dev_step kind)
{
    dev.step[kind]++;
    if (!dev_settings.realtime) {
        dev.micros++;
    }
    if (dev.cut_at != 0 && (dev.cut_mask >> kind & 1u) != 0 && ++dev.cut_count == dev.cut_at) {
        dev.cut_at = 0;
        dev_reset(true);
    }
}

/* An interrupt of the application, at any point where interrupts are open. */
static void maybe_inject(void)
{
    dev.inject_count++;
    if (dev.inject_at == 0 || dev.inject_count < dev.inject_at || in_interrupt || dev.inject_left == 0) {
        return;
    }
    dev.inject_left--;
    dev.inject_at = dev.inject_every != 0 ? dev.inject_count + dev.inject_every : 0;
    in_interrupt = true;
    hf_log_write((const char *)dev.inject_text, dev.inject_length);
    dev.injected++;
    in_interrupt = false;
}

uint32_t hf_arch_mask(void)
{
    uint32_t state = masked;

    if (!masked) {
        maybe_inject();
    }
    masked = true;
    dev_step(STEP_MASK);
    return state;
}

void hf_arch_unmask(uint32_t state)
{
    if (!masked) {
        dev_fail("hf_arch_unmask without hf_arch_mask");
    }
    dev_step(STEP_MASK);
    masked = state != 0;
    if (!masked) {
        maybe_inject();
    }
}

void hf_arch_pend(void)
{
    pended = true;
}

uint32_t hf_arch_swap(struct hf_pair *pairs, uint32_t count)
{
    const struct dev_settings *s = &dev_settings;

    /* The list is a block of the code heap: like the hooks it is only written in here. */
    uint8_t *list = dev_alias((uint32_t)(uintptr_t)pairs, 8 * count);

    if (list == NULL) {
        dev_fail("swap of a list outside the code heap");
    }
    dev.swaps++;
    dev_step(STEP_SWAP);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t address = pairs[i].address;
        uint8_t *at = dev_alias(address, 4);
        uint32_t old;

        if (address % 4 != 0 || at == NULL ||
            !(dev_inside(address, 4, DEV_HOOK_BASE, DEV_HOOK_SIZE) ||
              dev_inside(address, 4, DEV_RAM_BASE, s->ram_size) ||
              dev_inside(address, 4, DEV_DATA_BASE, s->data_size))) {
            dev_fail("swap of the word at 0x%08x, which is no hook and no data", address);
        }
        memcpy(&old, at, 4);
        memcpy(at, &pairs[i].value, 4);
        memcpy(list + 8 * i + 4, &old, 4);
    }
    dev_step(STEP_SWAP);
    return 12 + 8 * count; /* a number that a test can recognise; the real one is measured in QEMU */
}

uint32_t hf_arch_heap_write(uint32_t address, const void *data, uint32_t length)
{
    uint32_t longest = length < 32 ? length : 32;
    const uint8_t *from = data;

    if (address % 4 != 0 || length % 4 != 0 ||
        !(dev_inside(address, length, DEV_HEAP_BASE, dev_settings.heap_size) ||
          dev_inside(address, length, DEV_HOOK_BASE, DEV_HOOK_SIZE))) {
        dev_fail("hf_arch_heap_write(0x%08x, %u) outside heap and hooks, or not word-aligned", address, length);
    }
    while (length != 0) {
        uint32_t part = length < 32 ? length : 32;

        dev_step(STEP_HEAP_WRITE);
        memcpy(dev_alias(address, part), from, part);
        address += part;
        from += part;
        length -= part;
    }
    return 8 + longest; /* as for swaps: recognisable, not measured */
}

void hf_arch_sync(void)
{
    dev.syncs++;
}

void hf_arch_context(struct hf_context *context)
{
    if (!in_handler) {
        dev_fail("hf_arch_context outside the monitor's handler");
    }
    *context = dev.context;
}

void hf_arch_init(void)
{
}

uint32_t hf_arch_core(void)
{
    return 0x410FC241u; /* Cortex-M4 r0p1 */
}

bool hf_arch_has_mpu(void)
{
    return dev_settings.mpu;
}

uint32_t hf_arch_protection(void)
{
    return dev.protection;
}

uint32_t hf_arch_priority_flags(void)
{
    return dev.priority_flags;
}

void hf_arch_start(uint32_t vectors)
{
    dev.app_started = vectors;
    for (;;) {
        dev_serve();
    }
}

void hf_arch_idle(void)
{
    dev_serve();
}

noreturn void dev_reset(bool power)
{
    dev.resets++;
    if (power) {
        state_power_lost();
    }
    longjmp(main_power_on, 1);
}

void dev_interrupts_reset(void)
{
    masked = false;
    pended = false;
    in_handler = false;
    in_interrupt = false;
    dev.app_started = 0;
    dev.plain = 0;
    dev.parked = 0;
    dev.left_by = 0;
    dev.stuck = 0;
    dev.process_stack = 0;
    dev.calls = 0;
    dev.inject_at = 0;
}

/* ------------------------------------------------------------------------------------------ UART */

static uint8_t rx_byte;
static bool rx_full;
static uint8_t tx_byte;
static bool tx_full;
static bool tx_enabled;

#define SENT_MAX 0x40000u
static uint8_t sent[SENT_MAX];
static size_t sent_length;

size_t dev_sent(const uint8_t **bytes)
{
    *bytes = sent;
    return sent_length;
}

void dev_sent_clear(void)
{
    sent_length = 0;
}

static void board_init(void)
{
    rx_full = false;
    tx_full = false;
    tx_enabled = false;
}

static bool uart_take(uint8_t *byte)
{
    if (!rx_full) {
        return false;
    }
    *byte = rx_byte;
    rx_full = false;
    return true;
}

static bool uart_put(uint8_t byte)
{
    if (tx_full) {
        return false;
    }
    dev_step(STEP_TX);
    tx_byte = byte;
    tx_full = true;
    return true;
}

static void uart_tx_irq(bool enable)
{
    tx_enabled = enable;
}

static uint32_t uart_lost(void)
{
    uint32_t lost = dev.lost;

    dev.lost = 0;
    return lost;
}

static uint32_t board_micros(void)
{
    if (dev_settings.realtime) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
    }
    return ++dev.micros;
}

static void poll_monitor(void)
{
    uint32_t action;

    in_handler = true;
    hf_monitor_poll();
    action = hf_monitor_leave();
    in_handler = false;
    pended = false;
    if (action != 0) {
        dev.parked = 0;
        dev.left_by = action;
        if (action != HF_ACTION_CONTINUE) {
            hf_restart_clean();
        }
        pended = true; /* its line was off meanwhile */
    }
}

void dev_park(uint32_t reason, bool final)
{
    dev.parked = 1;
    in_handler = true;
    hf_monitor_park(reason, final);
    hf_park_told(true);
    in_handler = false;
}

void dev_fault(const uint32_t *words)
{
    for (uint32_t i = 0; i < HF_PARKW_EXC_RETURN; i++) {
        hf_record[i] = words[i];
    }
    dev_park(HF_PARK_FAULT, false);
}

bool hf_arch_process_stack(void)
{
    return dev.process_stack != 0;
}

/* The application's functions are numbers: what was called is all that happens. */
void hf_arch_call(uint32_t entry, uint32_t argument)
{
    if (dev.calls < DEV_CALLS) {
        dev.call[2 * dev.calls] = entry;
        dev.call[2 * dev.calls + 1] = argument;
    }
    dev.calls++;
}

void dev_receive(uint8_t byte)
{
    if (masked || in_handler) {
        dev_fail("a byte was fed while the core was not ready for it");
    }
    dev_step(STEP_RX);
    if (dev.plain) {
        return;
    }
    rx_byte = byte;
    rx_full = true;
    if (dev.parked) {
        poll_monitor();
    } else {
        hf_rx_interrupt();
        if (dev.stuck && hf_attention()) {
            dev_park(HF_PARK_ATTENTION, false);
        }
    }
    if (rx_full) {
        dev_fail("the receive interrupt left a byte in the UART");
    }
}

static void line_takes_byte(void)
{
    if (dev.tx_budget != UINT32_MAX) {
        dev.tx_budget--;
    }
    if (sent_length == SENT_MAX) {
        dev_fail("the device sends without end");
    }
    sent[sent_length++] = tx_byte;
    tx_full = false;
}

static void settle_parked(void)
{
    poll_monitor();
    while (dev.parked && tx_full && dev.tx_budget != 0) {
        line_takes_byte();
        poll_monitor();
    }
}

void dev_settle(bool handler)
{
    for (;;) {
        if (dev.parked) {
            settle_parked();
        }
        if (dev.parked) {
            return;
        }
        if (handler && pended && !dev.stuck) {
            pended = false;
            in_handler = true;
            dev_step(STEP_HANDLER);
            uint32_t why = hf_monitor_run();

            in_handler = false;
            if (why != 0) {
                dev_park(why, false);
                settle_parked();
            }
            if (masked) {
                dev_fail("the monitor's handler returned with interrupts masked");
            }
        } else if (tx_full && dev.tx_budget != 0) {
            /* A UART of the plainest kind: one interrupt per byte, when the register empties. */
            line_takes_byte();
            if (tx_enabled) {
                hf_tx_interrupt();
            }
        } else {
            return;
        }
    }
}

/* ----------------------------------------------------------------------------------------- flash */

static bool flash_fails(void)
{
    return dev.flash_fail_at != 0 && --dev.flash_fail_at == 0;
}

static int flash_erase(uint32_t address)
{
    uint32_t page = dev_settings.flash_page;
    uint8_t *at = dev_alias(address, page);

    if (address % page != 0 || !dev_inside(address, page, DEV_FLASH_BASE, dev_settings.flash_size)) {
        dev_fail("erase of 0x%08x: not a page of the application's flash", address);
    }
    if (flash_fails()) {
        return -1;
    }
    if (dev_cut_next(STEP_ERASE)) {
        /* An erase that is cut leaves bits that read as either, and may look erased from the start. */
        for (uint32_t i = 0; i < page; i++) {
            at[i] |= (uint8_t)dev_random();
        }
    }
    dev_step(STEP_ERASE);
    memset(at, 0xFF, page);
    dev.erases++;
    return 0;
}

static int flash_program(uint32_t address, const uint8_t *data, uint32_t length)
{
    uint32_t unit = dev_settings.flash_write;

    if (address % unit != 0 || length % unit != 0 ||
        !dev_inside(address, length, DEV_FLASH_BASE, dev_settings.flash_size)) {
        dev_fail("program of 0x%08x, %u bytes: not in units of the application's flash", address, length);
    }
    for (uint32_t i = 0; i < length; i += unit) {
        uint8_t *at = dev_alias(address + i, unit);

        if (flash_fails()) {
            return -1;
        }
        for (uint32_t k = 0; k < unit; k++) {
            /* Stricter than NOR must be: parts with ECC take each unit once. */
            if (at[k] != 0xFF) {
                return -1;
            }
        }
        if (dev_cut_next(STEP_PROGRAM)) {
            for (uint32_t k = 0; k < unit; k++) {
                at[k] = (uint8_t)(data[i + k] | dev_random());
            }
        }
        dev_step(STEP_PROGRAM);
        memcpy(at, data + i, unit);
        dev.programs++;
    }
    return 0;
}

static void watchdog_feed(bool parked)
{
    (void)parked;
}

static void tick(bool start)
{
    (void)start;
}

static void board_reset(void)
{
    dev.reset_requested++;
    if (tx_full) { /* the contract: what the UART was given leaves first */
        line_takes_byte();
    }
    dev_reset(false);
}

const struct hf_board dev_board = {
    .name = "host",
    .rx_irq = 0,
    .tx_irq = 1,
    .soft_irq = 31,
    .uart_base = DEV_UART_BASE,
    .uart_size = DEV_UART_SIZE,
    .init = board_init,
    .uart_take = uart_take,
    .uart_put = uart_put,
    .uart_tx_irq = uart_tx_irq,
    .uart_lost = uart_lost,
    .micros = board_micros,
    .flash_erase = flash_erase,
    .flash_program = flash_program,
    .watchdog_feed = watchdog_feed,
    .tick_irq = 9,
    .tick = tick,
    .reset = board_reset,
};
