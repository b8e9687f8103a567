#define _GNU_SOURCE
#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct dev_settings dev_settings = {
    .flash_size = 0x20000,
    .flash_page = 1024,
    .flash_write = 4,
    .heap_size = 0x8000,
    .data_size = 0x1000,
    .ram_size = 0x4000,
    .chunk = 256,
    .credits = 4,
    .log_size = 1024,
};

struct dev_state dev;

struct region {
    uint32_t base;
    uint32_t size;
    int protection; /* of the mapping at the device's address */
    uint8_t *alias;
};

enum { REGION_BOOT, REGION_FLASH, REGION_HOOKS, REGION_MONITOR, REGION_DATA, REGION_HEAP, REGION_RAM, REGIONS };

static struct region regions[REGIONS];

#define HOLES 8
static struct { uint32_t address, length; } holes[HOLES];
static unsigned hole_count;

noreturn void dev_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("harness: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

static void map_region(unsigned index, uint32_t base, uint32_t size, int protection)
{
    struct region *r = &regions[index];
    int fd = memfd_create("device", 0);
    void *at;

    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
        dev_fail("no memory for the region at 0x%08x", base);
    }
    at = mmap((void *)(uintptr_t)base, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    r->alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != (void *)(uintptr_t)base || r->alias == MAP_FAILED) {
        dev_fail("cannot map the region at 0x%08x", base);
    }
    close(fd);
    r->base = base;
    r->size = size;
    r->protection = protection;
}

void dev_map(void)
{
    const struct dev_settings *s = &dev_settings;
    const int rw = PROT_READ | PROT_WRITE;

    map_region(REGION_BOOT, DEV_BOOT_BASE, DEV_BOOT_SIZE, PROT_READ);
    map_region(REGION_FLASH, DEV_FLASH_BASE, s->flash_size, PROT_READ);
    map_region(REGION_HOOKS, DEV_HOOK_BASE, DEV_HOOK_SIZE, PROT_READ);
    map_region(REGION_MONITOR, DEV_MONITOR_BASE, DEV_MONITOR_SIZE, rw);
    map_region(REGION_DATA, DEV_DATA_BASE, s->data_size, rw);
    map_region(REGION_HEAP, DEV_HEAP_BASE, s->heap_size, PROT_READ);
    map_region(REGION_RAM, DEV_RAM_BASE, s->ram_size, rw);
    memset(regions[REGION_FLASH].alias, 0xFF, s->flash_size);
    dev.tx_budget = UINT32_MAX;
    dev.seed = 1;
    dev_ram_noise();
}

void dev_ram_noise(void)
{
    for (unsigned i = REGION_HOOKS; i < REGIONS; i++) {
        for (uint32_t k = 0; k < regions[i].size; k += 4) {
            /* Odd high half: what is left over is never by chance an address of the device. */
            uint32_t word = dev_random() | 0x80000000u;

            memcpy(regions[i].alias + k, &word, 4);
        }
    }
}

uint8_t *dev_alias(uint32_t address, uint32_t length)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        const struct region *r = &regions[i];

        if (dev_inside(address, length, r->base, r->size)) {
            return r->alias + (address - r->base);
        }
    }
    return NULL;
}

bool dev_inside(uint32_t address, uint32_t length, uint32_t base, uint32_t size)
{
    return address >= base && length <= size && address - base <= size - length;
}

void dev_bus_error(uint32_t address, uint32_t length)
{
    if (hole_count == HOLES) {
        dev_fail("too many holes");
    }
    holes[hole_count].address = address;
    holes[hole_count].length = length;
    hole_count++;
}

/* Plain peripheral registers; what is written can be read back. */
static uint32_t peripheral[DEV_PERIPHERAL_SIZE / 4];

/* Where one access of `width` bytes goes, or NULL: bus error. */
static uint8_t *bus(uint32_t address, uint32_t width, bool write)
{
    for (unsigned i = 0; i < hole_count; i++) {
        if (address + width > holes[i].address && address < holes[i].address + holes[i].length) {
            return NULL;
        }
    }
    if (dev_inside(address, width, DEV_PERIPHERAL_BASE, DEV_PERIPHERAL_SIZE)) {
        return width == 4 ? (uint8_t *)&peripheral[(address - DEV_PERIPHERAL_BASE) / 4] : NULL;
    }
    for (unsigned i = 0; i < REGIONS; i++) {
        const struct region *r = &regions[i];

        if (dev_inside(address, width, r->base, r->size)) {
            return write && !(r->protection & PROT_WRITE) ? NULL : r->alias + (address - r->base);
        }
    }
    return NULL;
}

static void check_access(const char *who, uint32_t address, uint32_t length, uint32_t width)
{
    if ((width != 1 && width != 2 && width != 4) || address % width != 0 || length % width != 0) {
        dev_fail("%s(0x%08x, %u, width %u): not aligned", who, address, length, width);
    }
    if (dev_inside(address, 1, DEV_UART_BASE, DEV_UART_SIZE) ||
        dev_inside(DEV_UART_BASE, 1, address, length ? length : 1)) {
        dev_fail("%s touches the monitor's own UART", who);
    }
}

bool hf_arch_read(uint32_t address, uint8_t *data, uint32_t length, uint32_t width)
{
    check_access("hf_arch_read", address, length, width);
    for (uint32_t i = 0; i < length; i += width) {
        const uint8_t *at = bus(address + i, width, false);

        if (at == NULL) {
            dev.bus_errors++;
            return false;
        }
        memcpy(data + i, at, width);
    }
    return true;
}

bool hf_arch_write(uint32_t address, const uint8_t *data, uint32_t length, uint32_t width)
{
    check_access("hf_arch_write", address, length, width);
    for (uint32_t i = 0; i < length; i += width) {
        uint8_t *at = bus(address + i, width, true);

        if (at == NULL) {
            dev.bus_errors++;
            return false;
        }
        dev_step(STEP_POKE);
        memcpy(at, data + i, width);
    }
    return true;
}
