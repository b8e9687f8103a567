/* With pong.c: each calls the other, and one is replaced while the other waits. */
#include "soak.h"

FIXED uint32_t ping(uint32_t x, uint32_t level, uint32_t generations)
{
    PAD();
    return (level == 0 ? leaf(x, generations) : pong(x, level - 1u, generations)) + 0u * VERSION;
}
