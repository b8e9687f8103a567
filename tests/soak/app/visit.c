/* A callback that is local to its unit, called by code that is never edited. */
#include "soak.h"

static FIXED uint32_t visited(uint32_t x, uint32_t generations)
{
    PAD();
    return hold(x, generations);
}

FIXED uint32_t visitor(uint32_t x, uint32_t generations)
{
    uint32_t result = apply(visited, x, generations);

    PAD();
    return result;
}
