/* Two functions that must be of one version, so they are replaced by safe commits only. */
#include "soak.h"

#define UNLOCKED 0xFFFFFFFFu /* while the base image is bound, which waits for nobody */

FIXED uint32_t lock_inner(uint32_t x, uint32_t version, uint32_t lock)
{
    PAD();
    if (version != VERSION && lock == lock_epoch && lock != UNLOCKED) {
        fail(0x10CC);
    }
    return f(x);
}

FIXED uint32_t lock_outer(uint32_t x, uint32_t generations)
{
    uint32_t lock = lock_epoch;

    PAD();
    WAIT(generations);
    x = (lock_inner(x, VERSION, lock) - 1u) / 3u;
    WAIT(generations);
    return lock_inner(x, VERSION, lock);
}
