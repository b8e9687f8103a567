/* Calls nothing and saves nothing: only the program counter says that it runs. */
#include "soak.h"

FIXED uint32_t leaf(uint32_t x, uint32_t generations)
{
    PAD();
    WAIT(generations);
    return f(x);
}
