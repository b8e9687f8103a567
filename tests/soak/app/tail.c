/* Tail calls: this one's frame is gone, and another version's begins. */
#include "soak.h"

FIXED uint32_t tail_end(uint32_t x, uint32_t generations)
{
    PAD();
    return leaf(x - 2u, generations);
}

FIXED uint32_t tail(uint32_t x, uint32_t generations)
{
    PAD();
    return tail_end(x + 2u, generations);
}
