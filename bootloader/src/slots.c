/* The messages that show slots and pin them. */
#include "hf_state.h"

/* Longest Slot record: its variable-length fields at their largest. */
#define HF_SLOT_BYTES (5u + 1u + 1u + 5u + 5u + 4u + 5u + 4u + 8u + 5u)

static void put_slot(struct hf_writer *w, uint32_t block)
{
    const struct hf_block *b = hf_block(block);
    struct hf_slot_record a = {
        .handle = hf_handle(block),
        .kind = b->kind,
        .flags = b->flags & (HF_SLOTF_FRAME | HF_SLOTF_OPEN),
        .hook = b->hook,
        .refs = b->refs,
        .ident = b->ident,
        .hash = {b->hash[0], b->hash[1]},
        .generation = b->generation,
    };

    a.address = hf_block_bytes(block, &a.length);
    a.flags |= hf_hook_runs(block) ? HF_SLOTF_BOUND : 0;
    a.flags |= block == hf_state.undo || hf_list_holds(hf_state.undo, block) ? HF_SLOTF_UNDO : 0;
    hf_put_slot_record(w, &a);
}

HF_HANDLER(hf_do_slots)
{
    const struct hf_slots_request *q = &request->slots;
    struct hf_slots_reply a = {.generation = hf_state.generation};
    uint32_t room = (hf_map.chunk - 16u) / HF_SLOT_BYTES;
    uint32_t first = 0;

    hf_reap();
    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind == HF_SLOT_FREE || hf_handle(b) < q->after) {
            continue;
        }
        first = first == 0 ? b : first;
        if (a.slots_count == room) {
            a.more = 1;
            break;
        }
        a.slots_count++;
    }
    hf_put_slots_reply(w, &a);
    for (uint32_t b = first; a.slots_count > 0 && b != 0; b = hf_heap_next(b)) {
        if (hf_block(b)->kind != HF_SLOT_FREE) {
            put_slot(w, b);
            a.slots_count--;
        }
    }
    return HF_OK;
}

HF_HANDLER(hf_do_pin)
{
    const struct hf_pin_request *q = &request->pin;
    uint32_t block;
    bool pinned;

    if (q->pin > 1) {
        return HF_E_FORMAT;
    }
    block = hf_heap_slot(q->handle);
    if (block == 0 || (hf_block(block)->flags & HF_SLOTF_OPEN) != 0) {
        return HF_E_RANGE;
    }
    pinned = (hf_block(block)->flags & HF_BLOCKF_PIN) != 0;
    if (pinned != (q->pin != 0)) {
        hf_heap_flag(block, q->pin != 0 ? HF_BLOCKF_PIN : 0, q->pin != 0 ? 0 : HF_BLOCKF_PIN);
        hf_heap_ref(block, q->pin != 0 ? 1 : -1);
    }
    return HF_OK;
}
