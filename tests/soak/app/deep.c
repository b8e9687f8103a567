/* Recursion through the hook, with frames of another size in each version. */
#include "soak.h"

FIXED uint32_t deep(uint32_t x, uint32_t level, uint32_t generations)
{
    volatile uint32_t room[4 + VERSION % 5 * 4];

    room[level % 4u] = x;
    PAD();
    if (level == 0) {
        return hold(x, generations);
    }
    return deep(x, level - 1u, generations) + (room[level % 4u] - x);
}
