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

uint32_t hf_sum(const uint32_t *words, uint32_t count)
{
    uint32_t value = 0x48464C53u;

    for (uint32_t i = 0; i < count; i++) {
        value = (value << 5 | value >> 27) ^ words[i];
        value += 0x9E3779B9u;
    }
    return value;
}

static uint32_t sum(void)
{
    return hf_sum((const uint32_t *)(const void *)&hf_state, offsetof(struct hf_state, check) / 4u);
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
    hf_state.action = 0;
    hf_state.trial = 0;
    hf_state.flash_open = 0;
    hf_state.cache_age = HF_CACHE_AGE;
}

static uint32_t persist_check(void)
{
    return ~(hf_persist.magic ^ hf_persist.boot_count ^ hf_persist.stay);
}

void hf_persist_set(uint32_t boot_count, uint32_t stay)
{
    hf_persist.magic = HF_PERSIST_MAGIC;
    hf_persist.boot_count = boot_count;
    hf_persist.stay = stay;
    hf_persist.check = persist_check();
}

void hf_monitor_init(void)
{
    bool kept = hf_persist.magic == HF_PERSIST_MAGIC && hf_persist.check == persist_check();

    hf_state = (struct hf_state){.cache_age = HF_CACHE_AGE};
    hf_persist_set(kept ? hf_persist.boot_count + 1u : 0, kept ? hf_persist.stay : 0);
    hf_frame_init();
    hf_log_init();
    hf_state_seal();
}
