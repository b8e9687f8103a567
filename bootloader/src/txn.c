/* Transactions, what their steps share: the open one, its image, and its end without a commit. Begin is
 * in begin.c, Commit in commit.c.
 *
 * The open transaction is one LIST block. Its payload is room for the pairs; its deps are the handles
 * of the transaction's slots, in the order of the request. */
#include "hf_state.h"

uint32_t hf_txn_slots(void)
{
    return hf_block(hf_state.txn)->deps;
}

void hf_txn_touch(void)
{
    hf_state.txn_seen = hf_board.micros();
}

/* A LIST's deps are not references once the transaction is over. */
static void forget_slots(uint32_t list)
{
    struct hf_block header = *hf_block(list);

    header.deps = 0;
    header.flags = 0;
    hf_heap_update(list, &header);
}

void hf_txn_abort(void)
{
    uint32_t list = hf_state.txn;

    if (list == 0) {
        return;
    }
    hf_state.txn = 0;
    /* Slots may use each other: first all references go, then the slots. */
    for (uint32_t i = 0; i < hf_block(list)->deps; i++) {
        uint32_t slot = hf_heap_dep(list, i);

        if (slot != 0) {
            hf_heap_release(slot);
        }
    }
    for (uint32_t i = 0; i < hf_block(list)->deps; i++) {
        uint32_t slot = hf_heap_dep(list, i);

        if (slot != 0) {
            hf_heap_free(slot);
        }
    }
    forget_slots(list);
    hf_heap_free(list);
}

bool hf_txn_blocks(void)
{
    if (hf_state.txn != 0 && hf_board.micros() - hf_state.txn_seen >= HF_TXN_TIMEOUT_US) {
        hf_txn_abort();
    }
    return hf_state.txn != 0;
}

/* The transaction's i-th piece of the image. */
uint32_t hf_txn_piece(uint32_t i, uint32_t *length)
{
    uint32_t block = hf_heap_dep(hf_state.txn, i);
    uint32_t address = hf_block_bytes(block, length);

    if ((hf_block(block)->flags & HF_BLOCKF_ZERO) != 0) {
        *length = 0;
    }
    return address;
}

static void store(uint32_t address, const uint8_t *data, uint32_t length)
{
    if (hf_within(address, length, hf_map.heap_base, hf_map.heap_size)) {
        hf_heap_store(address, data, length);
        return;
    }
    for (uint32_t i = 0; i < length; i++) {
        *(volatile uint8_t *)hf_ptr(address + i) = data[i];
    }
}

HF_HANDLER(hf_do_write)
{
    const uint8_t *data = r->at;
    uint32_t length = hf_reader_left(r);
    uint32_t offset = request->write.offset, at = 0;

    if (length == 0 || length > hf_map.chunk) {
        return HF_E_FORMAT;
    }
    if (hf_state.txn == 0) {
        return HF_E_NOTXN;
    }
    hf_txn_touch();
    for (uint32_t i = 0; i < hf_txn_slots() && length > 0; i++) {
        uint32_t there;
        uint32_t address = hf_txn_piece(i, &there);

        if (offset - at < there) {
            uint32_t skip = offset - at;
            uint32_t n = there - skip < length ? there - skip : length;

            store(address + skip, data, n);
            offset += n;
            data += n;
            length -= n;
        }
        at += there;
    }
    return length == 0 ? (uint8_t)HF_OK : (uint8_t)HF_E_RANGE;
}

HF_HANDLER(hf_do_abort)
{
    hf_txn_abort();
    return HF_OK;
}
