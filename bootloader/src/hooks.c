/* The hook table: one word per patch point, and the messages that show it. */
#include "hf_state.h"

uint32_t hf_hook_address(uint32_t hook)
{
    return hf_map.hook_base + 4u * hook;
}

uint32_t hf_hook_index(uint32_t address)
{
    return (address - hf_map.hook_base) / 4u;
}

uint32_t hf_hook_value(uint32_t hook)
{
    return hf_word(hf_hook_address(hook));
}

uint32_t hf_hook_initial(uint32_t hook)
{
    return hook < hf_state.hook_count ? hf_word(hf_state.hook_init + 4u * hook) : hf_map.spare_trap;
}

void hf_hook_set(uint32_t hook, uint32_t value)
{
    (void)hf_arch_heap_write(hf_hook_address(hook), &value, 4);
}

void hf_hooks_init(void)
{
    for (uint32_t i = 0; i < hf_state.hook_capacity; i++) {
        hf_hook_set(i, hf_hook_initial(i));
    }
}

uint32_t hf_hook_stub(uint32_t hook)
{
    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind == HF_SLOT_STUB && hf_block(b)->hook == hook + 1u) {
            return b;
        }
    }
    return 0;
}

uint32_t hf_hook_spare(void)
{
    uint32_t hook = hf_state.hook_count;

    while (hook < hf_state.hook_capacity && hf_hook_stub(hook) != 0) {
        hook++;
    }
    return hook;
}

bool hf_hook_bound(uint32_t hook)
{
    return hf_hook_value(hook) != hf_hook_initial(hook);
}

uint32_t hf_hooks_bound(uint32_t end)
{
    uint32_t bound = 0;

    for (uint32_t i = 0; i < end; i++) {
        bound += hf_hook_bound(i);
    }
    return bound;
}

bool hf_hook_runs(uint32_t block)
{
    const struct hf_block *b = hf_block(block);

    return b->kind == HF_SLOT_CODE && b->hook != 0 &&
           (hf_hook_value(b->hook - 1u) & ~1u) - hf_payload(block) < b->length;
}

uint32_t hf_stub_target(uint32_t block)
{
    return hf_heap_find(hf_hook_value(hf_block(block)->hook - 1u));
}

HF_HANDLER(hf_do_hooks)
{
    const struct hf_hooks_request *q = &request->hooks;
    struct hf_hooks_reply a = {0, 0};
    uint32_t i, room;

    /* The page is counted before it is written: its head has variable lengths. */
    room = (hf_map.chunk - 16u) / 9u;
    for (i = q->first; i < hf_state.hook_capacity && a.hooks_count < room; i++) {
        a.hooks_count += hf_hook_bound(i);
    }
    a.next = i < hf_state.hook_capacity ? i : 0;
    hf_put_hooks_reply(w, &a);
    for (uint32_t h = q->first; h < i; h++) {
        struct hf_hook_value_record v = {h, hf_hook_value(h)};

        if (hf_hook_bound(h)) {
            hf_put_hook_value_record(w, &v);
        }
    }
    return HF_OK;
}
