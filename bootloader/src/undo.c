/* LIST slots: a transaction's (address, value) pairs, which the commit swaps with memory, so that the
 * same list is then its undo record. Rollback swaps it again. */
#include "hf_state.h"

uint32_t hf_list_count(uint32_t list)
{
    return hf_block(list)->length / sizeof(struct hf_pair);
}

const struct hf_pair *hf_list_pairs(uint32_t list)
{
    return hf_ptr(hf_payload(list));
}

void hf_list_set(uint32_t list, uint32_t i, uint32_t address, uint32_t value)
{
    const struct hf_pair pair = {address, value};

    hf_heap_store(hf_payload(list) + i * (uint32_t)sizeof pair, &pair, sizeof pair);
}

/* Counts what the hooks' values lead to. Values of data words are not counted: any number may look like an
 * address in the heap, of a slot that comes later. What they name stays because hf_list_holds() says so. */
void hf_list_ref(uint32_t list, int delta)
{
    const struct hf_pair *pair = hf_list_pairs(list);

    for (uint32_t n = hf_list_count(list); n > 0; n--, pair++) {
        uint32_t block = hf_heap_find(pair->value);

        if (block != 0 && hf_hook_index(pair->address) < hf_state.hook_capacity) {
            hf_heap_ref(block, delta);
        }
    }
}

bool hf_list_holds(uint32_t list, uint32_t block)
{
    if (list == 0) {
        return false;
    }
    for (uint32_t i = 0; i < hf_list_count(list); i++) {
        if (hf_heap_find(hf_list_pairs(list)[i].value) == block) {
            return true;
        }
    }
    return false;
}

void hf_undo_drop(void)
{
    uint32_t undo = hf_state.undo;

    if (undo != 0) {
        hf_state.undo = 0;
        hf_list_ref(undo, -1);
        hf_heap_free(undo);
    }
}

/* The references follow the values. What a hook holds is counted, and what the undo record holds, so
 * the swap changes nothing: the caller has counted the new target. */
void hf_list_bind(uint32_t list)
{
    hf_arch_sync();
    hf_state.masked_last = hf_arch_swap(hf_ptr(hf_payload(list)), hf_list_count(list));
    if (hf_state.masked_last > hf_state.masked_max) {
        hf_state.masked_max = hf_state.masked_last;
    }
    if (list != hf_state.undo) {
        hf_undo_drop();
        hf_state.undo = list;
    }
    hf_state.generation++;
    hf_state.commits++;
}

static uint32_t base_list(uint32_t count)
{
    const struct hf_block as = {
        .kind = HF_SLOT_LIST, .length = count * (uint32_t)sizeof(struct hf_pair), .generation = hf_state.generation + 1u};
    uint32_t list = hf_heap_alloc(&as, 0);

    if (list == 0 && hf_state.undo != 0) {
        hf_undo_drop();
        hf_reap();
        list = hf_heap_alloc(&as, 0);
    }
    for (uint32_t i = 0, n = 0; list != 0 && i < hf_state.hook_count; i++) {
        if (hf_hook_bound(i)) {
            hf_list_set(list, n++, hf_hook_address(i), hf_hook_initial(i));
        }
    }
    return list;
}

HF_HANDLER(hf_do_rollback)
{
    const struct hf_rollback_request *q = &request->rollback;
    struct hf_rollback_reply a;
    uint32_t list = hf_state.undo;

    if (q->base > 1) {
        return HF_E_FORMAT;
    }
    if (q->generation != hf_state.generation) {
        return HF_E_GEN;
    }
    if (hf_txn_blocks()) {
        return HF_E_BUSY;
    }
    if (q->base != 0) {
        /* New functions keep their hooks: old frames may still call them. */
        uint32_t bound = hf_hooks_bound(hf_state.hook_count);

        if (bound == 0) {
            return HF_E_NOUNDO;
        }
        list = base_list(bound);
        if (list == 0) {
            hf_put_shortage_record(w, &(struct hf_shortage_record){HF_MEMORY_CODE_HEAP, bound * (uint32_t)sizeof(struct hf_pair),
                                                                   hf_heap_space()});
            return HF_E_NOMEM;
        }
    }
    if (list == 0) {
        return HF_E_NOUNDO;
    }
    hf_list_bind(list);
    hf_trial_begin(0);
    a.generation = hf_state.generation;
    a.masked = hf_state.masked_last;
    hf_put_rollback_reply(w, &a);
    return HF_OK;
}
