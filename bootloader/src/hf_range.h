/* Ranges of addresses, which may end at the top of the address space. Lengths and sizes in bytes. */
#ifndef HF_RANGE_H
#define HF_RANGE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the bytes from `address` on are all in the `size` bytes from `base` on. */
bool hf_within(uint32_t address, uint32_t length, uint32_t base, uint32_t size);

/* Whether the two have a byte in common. */
bool hf_overlaps(uint32_t address, uint32_t length, uint32_t base, uint32_t size);

#endif
