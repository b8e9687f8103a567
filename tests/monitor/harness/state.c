#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "hf_monitor.h"
#include "hf_state.h"

extern struct hf_board host_board; /* storage.c */
extern struct hf_map host_map;

#define STACK_WORDS 512u
static uint32_t monitor_stack[STACK_WORDS];

/* Exactly as long as asked for, so that the address sanitizer sees the first byte too many. */
static uint8_t *buffer(uint32_t length)
{
    uint8_t *at = malloc(length);

    if (at == NULL) {
        dev_fail("no memory");
    }
    return at;
}

static uint32_t power_of_two(uint32_t least)
{
    uint32_t size = 1;

    while (size < least) {
        size *= 2;
    }
    return size;
}

void state_init(void)
{
    const struct dev_settings *s = &dev_settings;
    struct hf_map *m = &host_map;

    host_board = dev_board;
    host_board.flash_page = s->flash_page;
    host_board.flash_write = s->flash_write;

    m->boot_base = DEV_BOOT_BASE;
    m->boot_size = DEV_BOOT_SIZE;
    m->app_base = DEV_FLASH_BASE;
    m->app_size = s->flash_size;
    m->hook_base = DEV_HOOK_BASE;
    m->hook_size = DEV_HOOK_SIZE;
    m->monitor_base = DEV_MONITOR_BASE;
    m->monitor_size = DEV_MONITOR_SIZE;
    m->data_base = DEV_DATA_BASE;
    m->data_size = s->data_size;
    m->heap_base = DEV_HEAP_BASE;
    m->heap_size = s->heap_size;
    m->ram_base = DEV_RAM_BASE;
    m->ram_size = s->ram_size;
    m->spare_trap = DEV_SPARE_TRAP;
    m->chunk = s->chunk;
    m->rx_size = power_of_two(s->credits * HF_TX_BYTES(s->chunk));
    m->rx_ring = buffer(m->rx_size);
    m->rx_frame = buffer(HF_FRAME_BYTES(s->chunk));
    m->tx_buffer[0] = buffer(HF_TX_BYTES(s->chunk));
    m->tx_buffer[1] = buffer(HF_TX_BYTES(s->chunk));
    m->log_size = s->log_size;
    m->log_ring = buffer(m->log_size);
    m->stack_low = monitor_stack;
    m->stack_high = monitor_stack + STACK_WORDS;
}

void state_power_lost(void)
{
    uint8_t *persist = (uint8_t *)&hf_persist;

    for (size_t i = 0; i < sizeof hf_persist; i++) {
        persist[i] = (uint8_t)dev_random();
    }
    for (size_t i = 0; i <= HF_RECORD_WORDS; i++) {
        hf_record[i] = dev_random();
    }
    dev_ram_noise();
}

uint32_t state_size(void)
{
    return sizeof hf_state;
}

void state_trample(uint32_t offset, uint8_t bits)
{
    if (offset >= sizeof hf_state) {
        dev_fail("control: trample at %u", offset);
    }
    ((uint8_t *)&hf_state)[offset] ^= bits;
}

noreturn void state_boot(void)
{
    enum hf_boot boot;

    for (uint32_t i = 0; i < STACK_WORDS; i++) {
        monitor_stack[i] = HF_STACK_FILL;
    }
    hf_arch_init();
    hf_monitor_init();
    hf_board.init();
    boot = hf_boot_decide();
    if (boot == HF_BOOT_PLAIN) {
        uint32_t start = hf_board.micros();

        while (!hf_boot_hello_seen() && hf_board.micros() - start < HF_PLAIN_GRACE_US) {
            hf_arch_idle();
        }
        if (hf_boot_hello_seen()) {
            boot = HF_BOOT_WAIT;
        }
    }
    if (boot == HF_BOOT_HOT) {
        hf_boot_started();
    }
    if (boot != HF_BOOT_WAIT) {
        dev.plain = boot == HF_BOOT_PLAIN;
        hf_arch_start(hf_boot_vectors());
    }
    for (;;) {
        hf_arch_idle();
    }
}
