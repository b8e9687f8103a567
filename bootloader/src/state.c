/* The monitor's state and its checksum. An application without memory protection can write over it;
 * the checksum, taken after each run of the handler and verified before the next, turns that into one
 * clear answer instead of a walk along wild links. */
#include "hf_state.h"

struct hf_state hf_state;

#if defined(__arm__)
__attribute__((section(".noinit")))
#endif
struct hf_persist hf_persist;

#define HF_PERSIST_MAGIC 0x54534948u

static uint32_t sum(void)
{
    const uint32_t *word = (const uint32_t *)(const void *)&hf_state;
    uint32_t value = 0x48464C53u;

    for (uint32_t i = 0; i < offsetof(struct hf_state, check) / 4u; i++) {
        value = (value << 5 | value >> 27) ^ word[i];
        value += 0x9E3779B9u;
    }
    return value;
}

void hf_state_seal(void)
{
    hf_state.check = sum();
}

bool hf_state_sound(void)
{
    return hf_state.check == sum();
}

void hf_state_lose(void)
{
    hf_state.lost = 1;
    /* What Hello, Status and Reset still look at may be any value now. */
    hf_state.app &= HF_HELLO_APP_VALID | HF_HELLO_APP_HOT | HF_HELLO_APP_RUNS;
    hf_state.reset = 0;
    hf_state.flash_open = 0;
    hf_state.cache_age = HF_CACHE_AGE;
}

void hf_monitor_init(void)
{
    static const struct hf_state zero;
    struct hf_persist *p = &hf_persist;

    hf_state = zero;
    hf_state.cache_age = HF_CACHE_AGE;
    if (p->magic != HF_PERSIST_MAGIC || p->check != ~(p->magic ^ p->boot_count ^ p->stay)) {
        p->magic = HF_PERSIST_MAGIC;
        p->boot_count = 0;
        p->stay = 0;
    } else {
        p->boot_count++;
    }
    p->check = ~(p->magic ^ p->boot_count ^ p->stay);
    hf_frame_init();
    hf_log_init();
    hf_state_seal();
}
