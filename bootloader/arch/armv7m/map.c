/* Where everything is, from the linker script (ld/boot.ld). */
#include "hf_monitor.h"

#define SYMBOL(name) extern uint8_t name[]
#define ADDRESS(name) ((uint32_t)(name))

SYMBOL(__hf_boot_base);
SYMBOL(__hf_boot_size);
SYMBOL(__hf_app_base);
SYMBOL(__hf_app_size);
SYMBOL(__hf_hook_base);
SYMBOL(__hf_hook_size);
SYMBOL(__hf_monitor_base);
SYMBOL(__hf_monitor_size);
SYMBOL(__hf_data_base);
SYMBOL(__hf_data_size);
SYMBOL(__hf_heap_base);
SYMBOL(__hf_heap_size);
SYMBOL(__hf_ram_base);
SYMBOL(__hf_ram_size);
SYMBOL(__hf_spare_trap);
SYMBOL(__hf_rx_ring);
SYMBOL(__hf_rx_size);
SYMBOL(__hf_rx_frame);
SYMBOL(__hf_tx_buffer0);
SYMBOL(__hf_tx_buffer1);
SYMBOL(__hf_chunk);
SYMBOL(__hf_log_ring);
SYMBOL(__hf_log_size);
extern uint32_t __hf_stack_low[];
extern uint32_t __hf_stack_high[];

const struct hf_map hf_map = {
    .boot_base = ADDRESS(__hf_boot_base),
    .boot_size = ADDRESS(__hf_boot_size),
    .app_base = ADDRESS(__hf_app_base),
    .app_size = ADDRESS(__hf_app_size),
    .hook_base = ADDRESS(__hf_hook_base),
    .hook_size = ADDRESS(__hf_hook_size),
    .monitor_base = ADDRESS(__hf_monitor_base),
    .monitor_size = ADDRESS(__hf_monitor_size),
    .data_base = ADDRESS(__hf_data_base),
    .data_size = ADDRESS(__hf_data_size),
    .heap_base = ADDRESS(__hf_heap_base),
    .heap_size = ADDRESS(__hf_heap_size),
    .ram_base = ADDRESS(__hf_ram_base),
    .ram_size = ADDRESS(__hf_ram_size),
    .spare_trap = ADDRESS(__hf_spare_trap),
    .rx_ring = __hf_rx_ring,
    .rx_size = ADDRESS(__hf_rx_size),
    .rx_frame = __hf_rx_frame,
    .tx_buffer = {__hf_tx_buffer0, __hf_tx_buffer1},
    .chunk = ADDRESS(__hf_chunk),
    .log_ring = __hf_log_ring,
    .log_size = ADDRESS(__hf_log_size),
    .stack_low = __hf_stack_low,
    .stack_high = __hf_stack_high,
};
