/* longjmp over frames of several versions, and a coroutine: while it does not run, only a jmp_buf in static memory
 * says where it is. */
#include "soak.h"

#pragma GCC diagnostic ignored "-Winfinite-recursion" /* it ends by longjmp */
static FIXED void fall(jmp_buf *to, uint32_t level, uint32_t generations)
{
    PAD();
    if (level == 0) {
        (void)leaf(level, generations);
        longjmp(*to, 7);
    }
    fall(to, level - 1u, generations);
    fail(0xFA11);
}

FIXED uint32_t escape(uint32_t x, uint32_t generations)
{
    jmp_buf here;

    PAD();
    if (setjmp(here) == 0) {
        fall(&here, 3, generations);
    }
    return f(x);
}
