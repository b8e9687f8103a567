/* Commit: checks the seal, the pairs and, in safe mode, the frames; then binds everything at once. */
#include "hf_state.h"

#define HF_MAX_FRAMES 8u

static bool seal_fits(uint32_t crc, const uint8_t *rest, uint32_t length)
{
    uint32_t value = hf_state.txn_crc;

    for (uint32_t i = 0; i < hf_txn_slots(); i++) {
        uint32_t n;
        uint32_t address = hf_txn_piece(i, &n);

        value = hf_crc_update(value, hf_ptr(address), n);
    }
    return crc == ~hf_crc_update(value, rest, length);
}

/* The value that a pair's hook gets; 0: the pair is out of range. Binds the slot to its hook. */
static uint32_t pair_value(const struct hf_pair_record *p)
{
    struct hf_block header;
    uint32_t block;

    if (p->hook >= hf_state.hook_capacity || p->target > hf_txn_slots() ||
        (p->hook >= hf_state.hook_count && hf_hook_stub(p->hook) == 0)) {
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

/* Appends to the list of `*count` pairs; false: the address is there already. */
static bool append(uint32_t list, uint32_t *count, uint32_t address, uint32_t value)
{
    for (uint32_t i = 0; i < *count; i++) {
        if (hf_list_pairs(list)[i].address == address) {
            return false;
        }
    }
    hf_list_set(list, (*count)++, address, value);
    return true;
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
    uint32_t list = hf_state.txn, words, more;

    if (pairs > hf_state.txn_pairs) {
        return HF_E_RANGE;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct hf_pair_record p;
        uint32_t value;

        if (!hf_get_pair_record(r, &p)) {
            return HF_E_FORMAT;
        }
        value = pair_value(&p);
        if (value == 0 || !append(list, count, hf_hook_address(p.hook), value)) {
            return HF_E_RANGE;
        }
    }
    words = hf_get_uv(r);
    if (words > hf_state.txn_pairs - pairs) {
        return HF_E_RANGE;
    }
    for (uint32_t i = 0; i < words; i++) {
        struct hf_word_record v;

        if (!hf_get_word_record(r, &v)) {
            return HF_E_FORMAT;
        }
        if (!word_allowed(v.address) || !append(list, count, v.address, v.value)) {
            return HF_E_RANGE;
        }
    }
    *ranges = *r;
    more = hf_get_uv(r);
    for (uint32_t i = 0; i < more && !r->bad; i++) {
        struct hf_range_record v;

        (void)hf_get_range_record(r, &v);
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
        if (hf_block(block)->hook == hf_hook_index(hf_list_pairs(hf_state.txn)[i].address) + 1u) {
            return true; /* any version of the function, not only the last */
        }
    }
    count = hf_get_uv(&r);
    for (uint32_t i = 0; i < count; i++) {
        struct hf_range_record v;

        (void)hf_get_range_record(&r, &v);
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
        const struct hf_pair pair = hf_list_pairs(list)[i];
        uint32_t hook = hf_hook_index(pair.address);

        if (hook >= hf_state.hook_count && hook < hf_state.hook_capacity && !hf_hook_bound(hook) &&
            pair.value != hf_map.spare_trap) {
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
    hf_list_ref(list, 1);
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
    hf_txn_touch();
    rest = r->at + 5; /* mode and crc */
    if (!hf_get_commit_request(r, &q) || q.mode > HF_COMMIT_SAFE || q.trial > HF_TRIAL_MAX) {
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
    if (q.trial != 0 && hf_board.tick == NULL) {
        hf_txn_abort();
        hf_put_u8(w, HF_REASON_NO_TICK);
        return HF_E_STATE;
    }
    s.pairs = count;
    hf_frames(note_frame, &s);
    status = q.mode == HF_COMMIT_SAFE && s.count != 0 ? (uint8_t)HF_E_FRAMES : (uint8_t)HF_OK;
    if (status == HF_OK) {
        bind(count);
        hf_trial_begin(q.trial);
        a.masked = hf_state.masked_last;
    }
    a.generation = hf_state.generation;
    a.frames_count = s.count;
    hf_put_commit_reply(w, &a);
    for (uint32_t i = 0; i < s.count; i++) {
        hf_put_frame_record(w, &s.found[i]);
    }
    return status;
}
