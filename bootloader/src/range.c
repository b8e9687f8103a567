#include "hf_range.h"

bool hf_within(uint32_t address, uint32_t length, uint32_t base, uint32_t size)
{
    return address >= base && length <= size && address - base <= size - length;
}

bool hf_overlaps(uint32_t address, uint32_t length, uint32_t base, uint32_t size)
{
    return length != 0 && size != 0 && (address - base < size || base - address < length);
}
