/* What a task runs: an edited function that stays for long, at the bottom of the task's stack. */
#include "soak.h"

FIXED void worker(uint32_t seed)
{
    uint32_t rng = seed;

    for (uint32_t i = 0; i < 2u + seed % 5u; i++) {
        PAD();
        scenario(&rng);
    }
}
