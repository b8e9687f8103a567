#include "soak.h"

FIXED uint32_t pong(uint32_t x, uint32_t level, uint32_t generations)
{
    uint32_t result;

    PAD();
    if (level == 0) {
        return f(hold(x, generations)) - 2u * f(x) - 1u;
    }
    result = ping(x, level - 1u, generations / 2u);
    WAIT(generations / 2u);
    return result;
}
