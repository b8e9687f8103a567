/* What happens after a reset, in order. Target only: the host test makes these calls itself. */
#include <stddef.h>

#include "hf_arch.h"
#include "hf_monitor.h"

static void serve_while_plain_waits(uint32_t started)
{
    while (hf_board.micros() - started < HF_PLAIN_GRACE_US && !hf_boot_hello_seen()) {
        hf_board.watchdog_feed(true);
    }
}

void hf_main(void)
{
    enum hf_boot how;

    hf_board.init();
    hf_monitor_init();
    how = hf_boot_decide();
    if (how == HF_BOOT_HOT) {
        hf_boot_started();
        hf_arch_protect(hf_boot_stack_limit()); /* before it answers */
    }
    hf_arch_init();
    if (how == HF_BOOT_HOT) {
        if (hf_board.tick != NULL) {
            hf_board.tick(true);
        }
        if (hf_board.watchdog_start != NULL) {
            hf_board.watchdog_start();
        }
        hf_arch_start(hf_boot_vectors());
    }
    if (how == HF_BOOT_PLAIN) {
        serve_while_plain_waits(hf_board.micros());
        if (!hf_boot_hello_seen()) {
            hf_arch_release();
            hf_arch_start(hf_boot_vectors());
        }
    }
    for (;;) {
        hf_board.watchdog_feed(true);
        hf_arch_idle();
    }
}
