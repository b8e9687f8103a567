/* W^X with the PMSAv7 memory protection unit (ARMv7-M ARM B3.5): code is read-only, what can be written
 * is not executable. Set once, before the application starts, and never opened again: the monitor writes
 * code and hooks where the MPU does not apply, under FAULTMASK with MPU_CTRL.HFNMIENA clear (B3.5.3,
 * entry.S). A region that was opened instead would fault a pushed handler that comes in between.
 *
 * A region of a higher number goes before one of a lower (B3.5.3). What must hold has the highest; the
 * background has the lowest, so that regions 2 and 3 are an application's. The background is the default
 * memory map (B3.1), for unprivileged threads as well: one region of 4 GiB has the eighths that are
 * devices, one those that are memory. */
#include "hf_arch.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "hf_regs.h"

#define REGIONS 8u /* that there are at least; what is above is an application's */
#define GUARD 128u /* the largest exception frame, 108 bytes (B1.5.7), must not reach over it */

/* MPU_RASR, B3.5.9 */
#define NO_EXECUTE (1u << 28)
#define READ_WRITE (3u << 24)
#define READ_ONLY (6u << 24)
#define MEMORY (1u << 19 | 3u << 16) /* write-back, write-allocate */
#define FLASH (1u << 17)             /* write-through */
#define DEVICE (1u << 16)
#define EIGHTHS_OFF(mask) ((mask) << 8)
#define ALL_4G (31u << 1 | 1u)

#ifdef HF_EXECUTE_RAM
#define MEMORY_EXECUTES 0u
#else
#define MEMORY_EXECUTES NO_EXECUTE
#endif

static uint32_t guard; /* of the main stack; 0: none */

static uint32_t regions(void)
{
    return REG32(MPU_TYPE) >> 8 & 0xFFu;
}

bool hf_arch_has_mpu(void)
{
    return regions() >= REGIONS;
}

/* MPU_RASR of the smallest region that holds `first` to `last`, without the eighths that hold nothing of
 * them; the board's memory map sees to it that nothing else is in there (host/hotflash/board.py). */
static uint32_t cover(uint32_t *base, uint32_t first, uint32_t last, uint32_t attributes)
{
    uint32_t bits = 5, used;

    while ((first ^ last) >> bits != 0) {
        bits++;
    }
    *base = first >> bits << bits;
    used = (2u << (last >> (bits - 3u) & 7u)) - (1u << (first >> (bits - 3u) & 7u));
    /* Regions below 256 bytes have no eighths. */
    return attributes | EIGHTHS_OFF(bits < 8 ? 0u : used ^ 0xFFu) | (bits - 1u) << 1 | 1u;
}

static uint32_t region(uint32_t n, uint32_t *base)
{
    const struct hf_map *m = &hf_map;

    *base = 0;
    switch (n) {
    case 0:
        return READ_WRITE | NO_EXECUTE | DEVICE | EIGHTHS_OFF(0x9Bu) | ALL_4G;
    case 1:
        return READ_WRITE | MEMORY_EXECUTES | MEMORY | EIGHTHS_OFF(0xE4u) | ALL_4G;
    case 4:
        return guard == 0 ? 0 : cover(base, guard, guard + GUARD - 1u, READ_ONLY | NO_EXECUTE | MEMORY);
    case 5:
        return cover(base, m->boot_base, m->app_base + m->app_size - 1u, READ_ONLY | FLASH);
    case 6:
        return cover(base, m->hook_base, m->hook_base + m->hook_size - 1u, READ_ONLY | NO_EXECUTE | MEMORY);
    case 7:
        return cover(base, m->heap_base, m->heap_base + m->heap_size - 1u, READ_ONLY | MEMORY);
    default:
        return 0;
    }
}

/* Goes through all regions, and sets them first if asked to. Returns what is in force. */
static uint32_t sweep(bool set)
{
    static const uint8_t flags[REGIONS] = {[1] = MEMORY_EXECUTES != 0 ? HF_PROTECT_RAM : 0,
                                           [4] = HF_PROTECT_STACK,
                                           [5] = HF_PROTECT_FLASH,
                                           [6] = HF_PROTECT_HOOKS,
                                           [7] = HF_PROTECT_HEAP};
    uint32_t found = 0;

    for (uint32_t n = 0; n < regions(); n++) {
        uint32_t base, rasr = region(n, &base);
        uint32_t state = hf_arch_mask(), number = REG32(MPU_RNR); /* the application may be about to use it */

        REG32(MPU_RNR) = n;
        if (set) {
            REG32(MPU_RBAR) = base;
            REG32(MPU_RASR) = rasr;
        }
        base = (base | n) ^ REG32(MPU_RBAR);
        found |= REG32(MPU_RASR) != rasr || (rasr != 0 && base != 0) ? (uint32_t)HF_PROTECT_TAKEN
                 : rasr != 0                                         ? flags[n]
                                                                     : 0u;
        REG32(MPU_RNR) = number;
        hf_arch_unmask(state);
    }
    return found;
}

void hf_arch_protect(uint32_t stack_limit)
{
    if (hf_arch_has_mpu()) {
        guard = (stack_limit + GUARD - 1u) & ~(GUARD - 1u);
        (void)sweep(true);
        REG32(MPU_CTRL) = MPU_CTRL_ON;
        hf_arch_sync();
    }
}

uint32_t hf_arch_protection(void)
{
    uint32_t control = REG32(MPU_CTRL);

    if (!hf_arch_has_mpu()) {
        return 0;
    }
    if ((control & 1u) == 0) {
        return HF_PROTECT_TAKEN;
    }
    return sweep(false) | (control != MPU_CTRL_ON ? (uint32_t)HF_PROTECT_TAKEN : 0u);
}
