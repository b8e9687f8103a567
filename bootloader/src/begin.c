/* Begin: allocates all slots of a transaction, or none. */
#include "hf_state.h"

#define HF_BEGIN_GIVE_UP_UNDO 1u
#define HF_BEGIN_COLLECT 2u
#define HF_REQUEST_ZERO 0x80u

/* Whether the requests make sense, without any effect; slots that they name must exist. */
static uint8_t check_requests(struct hf_reader r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct hf_slot_request_record q;
        bool whole = hf_get_slot_request_record(&r, &q);
        uint32_t kind = q.kind & ~HF_REQUEST_ZERO;

        if (!whole || kind < HF_SLOT_CODE || kind > HF_SLOT_VAR || q.align > 5 || q.length == 0 ||
            (q.kind != kind && kind != HF_SLOT_VAR)) {
            return HF_E_FORMAT;
        }
        for (uint32_t k = 0; k < q.deps_count; k++) {
            struct hf_dep_record d;

            if (!hf_get_dep_record(&r, &d)) {
                return HF_E_FORMAT;
            }
            if ((d.ref & 1u) == 0 ? d.ref / 2u >= count : hf_heap_slot(d.ref / 2u) == 0) {
                return HF_E_RANGE;
            }
        }
    }
    return hf_reader_left(&r) != 0 ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_OK;
}

static uint32_t allocate(const struct hf_slot_request_record *q, struct hf_shortage_record *shortage)
{
    const uint8_t kind = (uint8_t)(q->kind & ~HF_REQUEST_ZERO);
    struct hf_block as = {
        .kind = kind,
        .flags = HF_SLOTF_OPEN,
        .length = q->length,
        .ident = q->ident,
        .hash = {q->hash[0], q->hash[1]},
    };
    uint32_t address = 0, block;

    if (kind == HF_SLOT_VAR) {
        address = hf_data_alloc(q->length, q->align);
        if (address == 0) {
            *shortage = (struct hf_shortage_record){HF_MEMORY_DATA_HEAP, q->length, hf_data_space()};
            return 0;
        }
        as.length = 8;
        as.flags |= q->kind != kind ? HF_BLOCKF_ZERO : 0;
    }
    if (kind == HF_SLOT_STUB) {
        uint32_t hook = hf_hook_spare();

        if (hook >= hf_state.hook_capacity) {
            *shortage = (struct hf_shortage_record){HF_MEMORY_SPARE_HOOKS, 1, 0};
            return 0;
        }
        as.hook = (uint16_t)(hook + 1u);
    }
    block = hf_heap_alloc(&as, q->deps_count);
    if (block == 0) {
        *shortage = (struct hf_shortage_record){HF_MEMORY_CODE_HEAP, q->length, hf_heap_space()};
        return 0;
    }
    if (kind == HF_SLOT_VAR) {
        const uint32_t where[2] = {address, q->length};

        hf_heap_store(hf_payload(block), where, sizeof where);
        for (uint32_t i = 0; q->kind != kind && i < q->length; i++) {
            *(volatile uint8_t *)hf_ptr(address + i) = 0;
        }
    }
    return block;
}

/* All or none. */
static bool allocate_all(struct hf_reader r, const struct hf_begin_request *q, struct hf_shortage_record *shortage)
{
    const struct hf_block as = {
        .kind = HF_SLOT_LIST, .flags = HF_SLOTF_OPEN, .length = q->pairs * (uint32_t)sizeof(struct hf_pair)};
    uint32_t list;

    list = q->pairs <= hf_map.heap_size / sizeof(struct hf_pair) ? hf_heap_alloc(&as, q->slots_count) : 0;
    if (list == 0) {
        *shortage = (struct hf_shortage_record){HF_MEMORY_CODE_HEAP, q->pairs * (uint32_t)sizeof(struct hf_pair), hf_heap_space()};
        return false;
    }
    hf_state.txn = list;
    for (uint32_t i = 0; i < q->slots_count; i++) {
        struct hf_slot_request_record s;
        uint32_t block;

        (void)hf_get_slot_request_record(&r, &s);
        block = allocate(&s, shortage);
        if (block == 0) {
            hf_txn_abort();
            return false;
        }
        hf_heap_set_dep(list, i, block);
        hf_heap_ref(block, 1);
        for (uint32_t k = 0; k < s.deps_count; k++) {
            struct hf_dep_record d;

            (void)hf_get_dep_record(&r, &d);
        }
    }
    return true;
}

static void fill_deps(struct hf_reader r)
{
    for (uint32_t i = 0; i < hf_txn_slots(); i++) {
        struct hf_slot_request_record s;
        uint32_t block = hf_heap_dep(hf_state.txn, i);

        (void)hf_get_slot_request_record(&r, &s);
        for (uint32_t k = 0; k < s.deps_count; k++) {
            struct hf_dep_record d;
            uint32_t dep;

            (void)hf_get_dep_record(&r, &d);
            dep = (d.ref & 1u) == 0 ? hf_heap_dep(hf_state.txn, d.ref / 2u) : hf_heap_slot(d.ref / 2u);
            hf_heap_set_dep(block, k, dep);
            hf_heap_ref(dep, 1);
        }
    }
}

void hf_txn_grants(struct hf_writer *w)
{
    hf_put_uv(w, hf_txn_slots());
    for (uint32_t i = 0; i < hf_txn_slots(); i++) {
        uint32_t block = hf_heap_dep(hf_state.txn, i), length;
        struct hf_grant_record g = {hf_block_bytes(block, &length), hf_handle(block), hf_block(block)->hook};

        hf_put_grant_record(w, &g);
    }
}

HF_HANDLER(hf_do_begin)
{
    const uint8_t *message = r->at;
    uint32_t length = hf_reader_left(r);
    struct hf_begin_request q;
    struct hf_shortage_record shortage = {0};
    uint32_t bytes, stall;
    uint8_t status;
    bool done;

    if (!hf_get_begin_request(r, &q)) {
        return HF_E_FORMAT;
    }
    if (q.build_tag != hf_word(hf_state.header + (uint32_t)offsetof(struct hf_image_header, build_id))) {
        return HF_E_BUILD;
    }
    if (q.generation != hf_state.generation) {
        return HF_E_GEN;
    }
    if (hf_state.trial != 0) {
        return HF_E_TRIAL;
    }
    if (hf_txn_blocks()) {
        return HF_E_BUSY;
    }
    if (q.slots_count > (hf_map.chunk - 8u) / 13u) { /* what the longest reply can hold */
        return HF_E_FORMAT;
    }
    hf_reap();
    /* What the request names may be gone after each attempt to make room, so it is checked anew. */
    for (;;) {
        status = check_requests(*r, q.slots_count);
        if (status != HF_OK) {
            return status;
        }
        done = allocate_all(*r, &q, &shortage);
        if (hf_state.lost != 0) {
            return HF_E_LOST;
        }
        if (done) {
            break;
        }
        if ((q.flags & HF_BEGIN_GIVE_UP_UNDO) != 0) {
            q.flags &= ~HF_BEGIN_GIVE_UP_UNDO;
            hf_undo_drop();
            hf_reap();
        } else if ((q.flags & HF_BEGIN_COLLECT) != 0) {
            q.flags &= ~HF_BEGIN_COLLECT;
            (void)hf_collect(&bytes, &stall);
        } else {
            hf_put_shortage_record(w, &shortage);
            return HF_E_NOMEM;
        }
    }
    fill_deps(*r);
    hf_state.txn_pairs = q.pairs;
    hf_state.txn_crc = hf_crc_update(HF_CRC_INIT, message, length);
    hf_txn_touch();
    hf_txn_grants(w);
    return HF_OK;
}
