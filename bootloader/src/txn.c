/* Transactions: Begin allocates, Write fills, Commit seals and binds, Abort frees.
 *
 * The open transaction is one LIST block. Its payload is room for the pairs; its deps are the handles
 * of the transaction's slots, in the order of the request. */
#include "hf_state.h"

#define HF_BEGIN_GIVE_UP_UNDO 1u
#define HF_BEGIN_COLLECT 2u
#define HF_REQUEST_ZERO 0x80u
#define HF_MAX_FRAMES 8u

static uint32_t slot_count(void)
{
    return hf_block(hf_state.txn)->deps;
}

static void seen(void)
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
    /* Slots may use each other, so first all references go, then the slots. */
    for (uint32_t i = 0; i < hf_block(list)->deps; i++) {
        uint32_t slot = hf_heap_dep(list, i);

        for (uint32_t k = 0; slot != 0 && k < hf_block(slot)->deps; k++) {
            uint32_t dep = hf_heap_dep(slot, k);

            if (dep != 0) {
                hf_heap_ref(dep, -1);
                hf_heap_set_dep(slot, k, 0);
            }
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

/* ---------------------------------------------------------------------------------------- begin */

/* Whether the requests make sense, without any effect; slots that they name must exist. */
static uint8_t check_requests(struct hf_reader r, uint32_t count)
{
    for (uint32_t i = 0; i < count && !r.bad; i++) {
        struct hf_slot_request_record q;
        uint8_t kind;

        hf_get_slot_request_record(&r, &q);
        kind = q.kind & (uint8_t)~HF_REQUEST_ZERO;
        if (r.bad || kind < HF_SLOT_CODE || kind > HF_SLOT_VAR || q.align > 5 || q.length == 0 ||
            (q.kind != kind && kind != HF_SLOT_VAR)) {
            return HF_E_FORMAT;
        }
        for (uint32_t k = 0; k < q.deps_count && !r.bad; k++) {
            struct hf_dep_record d;

            hf_get_dep_record(&r, &d);
            if ((d.ref & 1u) == 0 ? d.ref / 2u >= count
                                  : d.ref / 2u >= hf_map.heap_size / HF_BLOCK ||
                                        !hf_heap_is_block(hf_map.heap_base + d.ref / 2u * HF_BLOCK) ||
                                        hf_block(hf_map.heap_base + d.ref / 2u * HF_BLOCK)->kind == HF_SLOT_LIST) {
                return HF_E_RANGE;
            }
        }
    }
    return r.bad || hf_reader_left(&r) != 0 ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_OK;
}

struct shortage {
    const char *what;
    uint32_t needed, there;
};

static uint32_t allocate(const struct hf_slot_request_record *q, struct shortage *shortage)
{
    const uint8_t kind = q->kind & (uint8_t)~HF_REQUEST_ZERO;
    struct hf_block as = {
        .kind = kind,
        .flags = HF_SLOTF_OPEN,
        .length = q->length,
        .ident = q->ident,
        .hash = {(uint32_t)q->hash, (uint32_t)(q->hash >> 32)},
    };
    uint32_t address = 0, block, largest;

    if (kind == HF_SLOT_VAR) {
        address = hf_data_alloc(q->length, q->align);
        if (address == 0) {
            *shortage = (struct shortage){"data heap", q->length, hf_data_space()};
            return 0;
        }
        as.length = 8;
        as.flags |= q->kind != kind ? HF_BLOCKF_ZERO : 0;
    }
    if (kind == HF_SLOT_STUB) {
        uint32_t hook = hf_hook_spare();

        if (hook >= hf_state.hook_capacity) {
            *shortage = (struct shortage){"spare hooks", 1, 0};
            return 0;
        }
        as.hook = (uint16_t)(hook + 1u);
    }
    block = hf_heap_alloc(&as, q->deps_count);
    if (block == 0) {
        *shortage = (struct shortage){"code heap", q->length, hf_heap_space(&largest)};
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
static bool allocate_all(struct hf_reader r, const struct hf_begin_request *q, struct shortage *shortage)
{
    const struct hf_block as = {
        .kind = HF_SLOT_LIST, .flags = HF_SLOTF_OPEN, .length = q->pairs * (uint32_t)sizeof(struct hf_pair)};
    uint32_t list, largest;

    list = q->pairs <= hf_map.heap_size / sizeof(struct hf_pair) ? hf_heap_alloc(&as, q->slots_count) : 0;
    if (list == 0) {
        *shortage = (struct shortage){"code heap", q->pairs * (uint32_t)sizeof(struct hf_pair), hf_heap_space(&largest)};
        return false;
    }
    hf_state.txn = list;
    for (uint32_t i = 0; i < q->slots_count; i++) {
        struct hf_slot_request_record s;
        uint32_t block;

        hf_get_slot_request_record(&r, &s);
        block = allocate(&s, shortage);
        if (block == 0) {
            hf_txn_abort();
            return false;
        }
        hf_heap_set_dep(list, i, block);
        hf_heap_ref(block, 1);
        for (uint32_t k = 0; k < s.deps_count; k++) {
            struct hf_dep_record d;

            hf_get_dep_record(&r, &d);
        }
    }
    return true;
}

static void fill_deps(struct hf_reader r)
{
    for (uint32_t i = 0; i < slot_count(); i++) {
        struct hf_slot_request_record s;
        uint32_t block = hf_heap_dep(hf_state.txn, i);

        hf_get_slot_request_record(&r, &s);
        for (uint32_t k = 0; k < s.deps_count; k++) {
            struct hf_dep_record d;
            uint32_t dep;

            hf_get_dep_record(&r, &d);
            dep = (d.ref & 1u) == 0 ? hf_heap_dep(hf_state.txn, d.ref / 2u) : hf_map.heap_base + d.ref / 2u * HF_BLOCK;
            hf_heap_set_dep(block, k, dep);
            hf_heap_ref(dep, 1);
        }
    }
}

void hf_txn_grants(struct hf_writer *w)
{
    hf_put_uv(w, slot_count());
    for (uint32_t i = 0; i < slot_count(); i++) {
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
    struct shortage shortage = {"", 0, 0};
    const struct hf_image_header *h = hf_ptr(hf_state.header);
    struct hf_reader tag = {h->build_id, h->build_id + 4, false};
    uint32_t build_tag, bytes, stall;
    uint8_t status;
    bool done = false;

    hf_get_begin_request(r, &q);
    hf_get_u32(&tag, &build_tag);
    if (r->bad) {
        return HF_E_FORMAT;
    }
    if (q.build_tag != build_tag) {
        return HF_E_BUILD;
    }
    if (q.generation != hf_state.generation) {
        return HF_E_GEN;
    }
    if (hf_txn_blocks()) {
        return HF_E_BUSY;
    }
    if (q.slots_count > (hf_map.chunk - 8u) / 13u) { /* what the longest reply can hold */
        return HF_E_FORMAT;
    }
    hf_reap();
    /* What the request names may be gone after each attempt to make room, so it is checked anew. */
    for (uint32_t attempt = 0; attempt < 3 && !done; attempt++) {
        if (attempt == 1) {
            if ((q.flags & HF_BEGIN_GIVE_UP_UNDO) == 0) {
                continue;
            }
            hf_undo_drop();
            hf_reap();
        }
        if (attempt == 2) {
            if ((q.flags & HF_BEGIN_COLLECT) == 0) {
                continue;
            }
            (void)hf_collect(&bytes, &stall);
        }
        status = check_requests(*r, q.slots_count);
        if (status != HF_OK) {
            return status;
        }
        done = allocate_all(*r, &q, &shortage);
    }
    if (hf_state.lost != 0) {
        return HF_E_LOST;
    }
    if (!done) {
        hf_put_text(w, shortage.what);
        hf_put_text(w, ": ");
        hf_put_dec(w, shortage.needed);
        hf_put_text(w, " needed, ");
        hf_put_dec(w, shortage.there);
        hf_put_text(w, " free");
        return HF_E_NOMEM;
    }
    fill_deps(*r);
    hf_state.txn_pairs = q.pairs;
    hf_state.txn_crc = hf_crc_update(HF_CRC_INIT, message, length);
    seen();
    hf_txn_grants(w);
    return HF_OK;
}

/* ---------------------------------------------------------------------------------------- write */

/* The transaction's i-th piece of the image. */
static uint32_t piece(uint32_t i, uint32_t *length)
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
    struct hf_write_request q;
    uint32_t at = 0;

    (void)w;
    hf_get_write_request(r, &q);
    if (r->bad || q.data_len == 0 || q.data_len > hf_map.chunk) {
        return HF_E_FORMAT;
    }
    if (hf_state.txn == 0) {
        return HF_E_NOTXN;
    }
    seen();
    for (uint32_t i = 0; i < slot_count() && q.data_len > 0; i++) {
        uint32_t length;
        uint32_t address = piece(i, &length);

        if (q.offset - at < length) {
            uint32_t skip = q.offset - at;
            uint32_t n = length - skip < q.data_len ? length - skip : q.data_len;

            store(address + skip, q.data, n);
            q.offset += n;
            q.data += n;
            q.data_len -= n;
        }
        at += length;
    }
    return q.data_len == 0 ? (uint8_t)HF_OK : (uint8_t)HF_E_RANGE;
}

/* --------------------------------------------------------------------------------------- commit */

static bool seal_fits(uint32_t crc, const uint8_t *rest, uint32_t length)
{
    uint32_t value = hf_state.txn_crc;

    for (uint32_t i = 0; i < slot_count(); i++) {
        uint32_t n;
        uint32_t address = piece(i, &n);

        value = hf_crc_update(value, hf_ptr(address), n);
    }
    return crc == ~hf_crc_update(value, rest, length);
}

static bool owned_by_stub(uint32_t hook)
{
    for (uint32_t b = hf_heap_first(); b != 0; b = hf_heap_next(b)) {
        if (hf_block(b)->kind == HF_SLOT_STUB && hf_block(b)->hook == hook + 1u) {
            return true;
        }
    }
    return false;
}

/* The value that a pair's hook gets; 0: the pair is out of range. Binds the slot to its hook. */
static uint32_t pair_value(const struct hf_pair_record *p)
{
    struct hf_block header;
    uint32_t block;

    if (p->hook >= hf_state.hook_capacity || p->target > slot_count() ||
        (p->hook >= hf_state.hook_count && !owned_by_stub(p->hook))) {
        return 0;
    }
    if (p->target == 0) {
        return hf_hook_initial(p->hook);
    }
    block = hf_heap_dep(hf_state.txn, p->target - 1u);
    header = *hf_block(block);
    if (header.kind != HF_SLOT_CODE || p->skip >= header.length || (p->skip & 1u) != 0 ||
        (header.hook != 0 && header.hook != p->hook + 1u)) {
        return 0;
    }
    header.hook = (uint16_t)(p->hook + 1u); /* one slot, one function */
    hf_heap_update(block, &header);
    return (hf_payload(block) + p->skip) | 1u;
}

static bool listed(uint32_t list, uint32_t count, uint32_t address)
{
    for (uint32_t i = 0; i < count; i++) {
        if (hf_word(hf_payload(list) + i * (uint32_t)sizeof(struct hf_pair)) == address) {
            return true;
        }
    }
    return false;
}

static bool word_allowed(uint32_t address)
{
    return (address & 3u) == 0 &&
           (hf_within(address, 4, hf_state.ram_start, hf_state.ram_end - hf_state.ram_start) ||
            hf_within(address, 4, hf_map.data_base, hf_map.data_size));
}

/* Fills the list from the request. Returns a status; `count` is the number of pairs. */
static uint8_t fill_list(struct hf_reader *r, uint32_t pairs, uint32_t *count, struct hf_reader *ranges)
{
    uint32_t list = hf_state.txn, n = 0, words, more;

    if (pairs > hf_state.txn_pairs) {
        return HF_E_RANGE;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct hf_pair_record p;
        uint32_t value;

        hf_get_pair_record(r, &p);
        value = r->bad ? 0 : pair_value(&p);
        if (value == 0 || listed(list, n, hf_hook_address(p.hook))) {
            return r->bad ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_E_RANGE;
        }
        hf_list_set(list, n++, hf_hook_address(p.hook), value);
    }
    hf_get_uv(r, &words);
    if (r->bad || words > hf_state.txn_pairs - n) {
        return r->bad ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_E_RANGE;
    }
    for (uint32_t i = 0; i < words; i++) {
        struct hf_word_record v;

        hf_get_word_record(r, &v);
        if (r->bad || !word_allowed(v.address) || listed(list, n, v.address)) {
            return r->bad ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_E_RANGE;
        }
        hf_list_set(list, n++, v.address, v.value);
    }
    *count = n;
    *ranges = *r;
    hf_get_uv(r, &more);
    for (uint32_t i = 0; i < more && !r->bad; i++) {
        struct hf_range_record v;

        hf_get_range_record(r, &v);
    }
    return r->bad || hf_reader_left(r) != 0 ? (uint8_t)HF_E_FORMAT : (uint8_t)HF_OK;
}

struct search {
    uint32_t pairs; /* entries of the list to look at */
    struct hf_reader ranges; /* at the request's count of ranges */
    struct hf_frame_record found[HF_MAX_FRAMES];
    uint32_t count;
};

/* Whether code at that address belongs to what the commit replaces: a slot that one of the list's
 * hooks runs now, or a range of the request. */
static bool replaced(const struct search *s, uint32_t code)
{
    struct hf_reader r = s->ranges;
    uint32_t block = hf_heap_find(code), count;

    for (uint32_t i = 0; block != 0 && i < s->pairs; i++) {
        struct hf_pair pair = hf_list_pair(hf_state.txn, i);

        if (hf_block(block)->hook != 0 && hf_hook_address(hf_block(block)->hook - 1u) == pair.address) {
            return true; /* any version of the function, not only the last */
        }
    }
    hf_get_uv(&r, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct hf_range_record v;

        hf_get_range_record(&r, &v);
        if (code - v.address < v.length) {
            return true;
        }
    }
    return false;
}

static bool note_frame(void *user, uint32_t code, uint32_t word, uint32_t where)
{
    struct search *s = user;

    if (replaced(s, code)) {
        s->found[s->count++] = (struct hf_frame_record){word, where};
    }
    return s->count < HF_MAX_FRAMES;
}

/* A new function's hook leads to the trap and nobody can reach it before the commit: it is bound
 * outside the list. Rolling back must leave it bound, for old frames may still call it. */
static uint32_t bind_new(uint32_t list, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct hf_pair pair = hf_list_pair(list, i);
        uint32_t hook = (pair.address - hf_map.hook_base) / 4u;

        if (hf_within(pair.address, 4, hf_map.hook_base, 4u * hf_state.hook_capacity) &&
            hook >= hf_state.hook_count && hf_hook_value(hook) == hf_map.spare_trap && pair.value != hf_map.spare_trap) {
            hf_hook_set(hook, pair.value);
            hf_heap_ref(hf_heap_find(pair.value), 1);
        } else {
            hf_list_set(list, kept++, pair.address, pair.value);
        }
    }
    return kept;
}

static void bind(uint32_t count)
{
    uint32_t list = hf_state.txn;
    struct hf_block header;

    hf_state.txn = 0;
    for (uint32_t i = 0; i < hf_block(list)->deps; i++) {
        uint32_t slot = hf_heap_dep(list, i);

        header = *hf_block(slot);
        header.flags &= (uint8_t)~(HF_SLOTF_OPEN | HF_BLOCKF_ZERO);
        header.generation = hf_state.generation + 1u;
        header.refs--;
        hf_heap_update(slot, &header);
    }
    hf_arch_sync();
    count = bind_new(list, count);
    header = *hf_block(list);
    header.length = count * (uint32_t)sizeof(struct hf_pair);
    header.generation = hf_state.generation + 1u;
    header.deps = 0;
    header.flags = 0;
    hf_heap_update(list, &header);
    hf_list_ref(list, true, true, 1);
    hf_list_bind(list);
}

HF_HANDLER(hf_do_commit)
{
    struct hf_commit_request q;
    struct hf_commit_reply a = {0, 0, 0};
    struct search s = {0};
    const uint8_t *rest;
    uint32_t count = 0;
    uint8_t status;

    if (hf_state.txn == 0) {
        return HF_E_NOTXN;
    }
    seen();
    rest = r->at + 5; /* mode and crc */
    hf_get_commit_request(r, &q);
    if (r->bad || q.mode > HF_COMMIT_SAFE) {
        hf_txn_abort();
        return HF_E_FORMAT;
    }
    if (!seal_fits(q.crc, rest, (uint32_t)(r->end - rest))) {
        return HF_E_SEAL;
    }
    status = fill_list(r, q.pairs_count, &count, &s.ranges);
    if (status != HF_OK) {
        hf_txn_abort();
        return status;
    }
    if (q.mode == HF_COMMIT_SAFE) {
        s.pairs = count;
        hf_frames(note_frame, &s);
    }
    if (s.count != 0) {
        a.generation = hf_state.generation;
        a.frames_count = s.count;
        hf_put_commit_reply(w, &a);
        for (uint32_t i = 0; i < s.count; i++) {
            hf_put_frame_record(w, &s.found[i]);
        }
        return HF_E_FRAMES;
    }
    bind(count);
    a.generation = hf_state.generation;
    a.masked = hf_state.masked_last;
    hf_put_commit_reply(w, &a);
    return HF_OK;
}

HF_HANDLER(hf_do_abort)
{
    (void)w;
    if (hf_reader_left(r) != 0) {
        return HF_E_FORMAT;
    }
    hf_txn_abort();
    return HF_OK;
}
