/* Two functions that must change together: each notes what the other answers. */
#include "app.h"

__attribute__((noinline)) int pair_left(void)
{
    return 1;
}

__attribute__((noinline)) int pair_right(void)
{
    return -1;
}
