/* No memory protection: the core has none, or the board says so. */
#include "hf_arch.h"

bool hf_arch_has_mpu(void)
{
    return false;
}

void hf_arch_protect(uint32_t stack_limit)
{
    (void)stack_limit;
}

uint32_t hf_arch_protection(void)
{
    return 0;
}
