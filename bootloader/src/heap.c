/* The code heap (docs/SPEC.md, Code heap): a gapless list of blocks, changed only through
 * hf_arch_heap_write(); and the data heap, whose allocations are the VAR blocks themselves. */
#include "hf_state.h"

static uint32_t heap_end(void)
{
    return hf_map.heap_base + hf_map.heap_size;
}

static uint32_t block_end(uint32_t block)
{
    return block + hf_block(block)->size;
}

static void masked(uint32_t instructions)
{
    if (instructions > hf_state.masked_max) {
        hf_state.masked_max = instructions;
    }
}

void hf_heap_store(uint32_t address, const void *data, uint32_t length)
{
    const uint8_t *from = data;

    while (length > 0) {
        uint32_t words[8];
        uint8_t *bytes = (uint8_t *)words;
        uint32_t start = address & ~3u;
        uint32_t lead = address - start;
        uint32_t n = length < sizeof words - lead ? length : (uint32_t)sizeof words - lead;
        uint32_t count = (lead + n + 3u) / 4u;

        words[0] = hf_word(start);
        words[count - 1u] = hf_word(start + 4u * (count - 1u));
        for (uint32_t i = 0; i < n; i++) {
            bytes[lead + i] = from[i];
        }
        masked(hf_arch_heap_write(start, words, 4u * count));
        from += n;
        address += n;
        length -= n;
    }
}

static void fill(uint32_t address, uint32_t end)
{
    static const uint32_t traps[8] = {HF_TRAP, HF_TRAP, HF_TRAP, HF_TRAP, HF_TRAP, HF_TRAP, HF_TRAP, HF_TRAP};

    for (; address < end; address += sizeof traps) {
        masked(hf_arch_heap_write(address, traps, sizeof traps));
    }
}

void hf_heap_update(uint32_t block, const struct hf_block *header)
{
    masked(hf_arch_heap_write(block, header, sizeof *header));
}

static void put_free(uint32_t block, uint32_t size)
{
    const struct hf_block header = {.size = size, .kind = HF_SLOT_FREE};

    hf_heap_update(block, &header);
}

void hf_heap_init(void)
{
    put_free(hf_map.heap_base, hf_map.heap_size);
    fill(hf_payload(hf_map.heap_base), heap_end());
}

/* Payload, at least two trap halfwords, deps. 0: more than any heap. */
static uint32_t block_size(uint32_t length, uint32_t deps)
{
    if (length > hf_map.heap_size || deps > hf_map.heap_size) {
        return 0;
    }
    return (HF_BLOCK + ((length + 1u) & ~1u) + 4u + 2u * deps + HF_BLOCK - 1u) & ~(HF_BLOCK - 1u);
}

/* Whether a header says what can be, so that nothing that follows it leaves the heaps. */
static bool sane(uint32_t block)
{
    const struct hf_block *b = hf_block(block);
    uint32_t least = block_size(b->length, b->deps);

    if (b->size < HF_BLOCK || b->size % HF_BLOCK != 0 || b->size > heap_end() - block) {
        return false;
    }
    if (b->kind == HF_SLOT_FREE) {
        return b->deps == 0;
    }
    if (b->kind == HF_SLOT_VAR && (b->length != 8u || !hf_within(hf_word(hf_payload(block)), hf_word(hf_payload(block) + 4u),
                                                                 hf_map.data_base, hf_map.data_size))) {
        return false;
    }
    return b->kind <= HF_SLOT_LIST && least != 0 && least <= b->size && b->hook <= hf_state.hook_capacity;
}

uint32_t hf_heap_next(uint32_t block)
{
    uint32_t next = block == 0 ? hf_map.heap_base : block_end(block);

    if (next >= heap_end()) {
        return 0;
    }
    if (!sane(next)) {
        hf_state_lose();
        return 0;
    }
    return next;
}

uint32_t hf_block_bytes(uint32_t block, uint32_t *length)
{
    const struct hf_block *b = hf_block(block);

    if (b->kind == HF_SLOT_VAR) {
        *length = hf_word(hf_payload(block) + 4u);
        return hf_word(hf_payload(block));
    }
    *length = b->length;
    return hf_payload(block);
}

uint32_t hf_heap_find(uint32_t address)
{
    bool data = address - hf_map.data_base <= hf_map.data_size;

    if (!data && address - hf_map.heap_base >= hf_map.heap_size) {
        return 0;
    }
    HF_FOR_BLOCKS (b) {
        if (!data && address < block_end(b)) {
            return hf_block(b)->kind != HF_SLOT_FREE && address >= hf_payload(b) ? b : 0;
        }
        if (data && hf_block(b)->kind == HF_SLOT_VAR) {
            uint32_t length;
            uint32_t base = hf_block_bytes(b, &length);

            if (address - base < length) {
                return b;
            }
        }
    }
    return 0;
}

bool hf_heap_is_block(uint32_t block)
{
    HF_FOR_BLOCKS (b) {
        if (b == block) {
            return hf_block(b)->kind != HF_SLOT_FREE;
        }
    }
    return false;
}

uint32_t hf_heap_slot(uint32_t handle)
{
    uint32_t block = hf_map.heap_base + handle * HF_BLOCK;

    return handle < hf_map.heap_size / HF_BLOCK && hf_heap_is_block(block) && hf_block(block)->kind != HF_SLOT_LIST ? block
                                                                                                                  : 0;
}

uint32_t hf_heap_alloc(const struct hf_block *as, uint32_t deps)
{
    uint32_t size = block_size(as->length, deps);

    if (size == 0) {
        return 0;
    }
    HF_FOR_BLOCKS (b) {
        uint32_t there = hf_block(b)->size;
        struct hf_block header = *as;

        if (hf_block(b)->kind != HF_SLOT_FREE || there < size) {
            continue;
        }
        if (there > size) {
            put_free(b + size, there - size);
        }
        header.size = size;
        header.deps = (uint16_t)deps;
        header.refs = 0;
        hf_heap_update(b, &header);
        for (uint32_t i = 0; i < deps; i++) {
            hf_heap_set_dep(b, i, 0);
        }
        return b;
    }
    return 0;
}

void hf_heap_ref(uint32_t block, int delta)
{
    struct hf_block header = *hf_block(block);

    header.refs = (uint16_t)(header.refs + delta);
    hf_heap_update(block, &header);
}

void hf_heap_flag(uint32_t block, uint8_t set, uint8_t clear)
{
    struct hf_block header = *hf_block(block);
    uint8_t flags = (uint8_t)((header.flags & ~clear) | set);

    if (flags != header.flags) {
        header.flags = flags;
        hf_heap_update(block, &header);
    }
}

static uint32_t dep_at(uint32_t block, uint32_t i)
{
    return block_end(block) - 2u * hf_block(block)->deps + 2u * i;
}

uint32_t hf_heap_dep(uint32_t block, uint32_t i)
{
    uint32_t handle = *(const volatile uint16_t *)hf_ptr(dep_at(block, i));

    return handle < hf_map.heap_size / HF_BLOCK ? hf_map.heap_base + handle * HF_BLOCK : 0;
}

void hf_heap_set_dep(uint32_t block, uint32_t i, uint32_t dep)
{
    uint16_t handle = dep != 0 ? (uint16_t)hf_handle(dep) : (uint16_t)HF_NO_HANDLE;

    hf_heap_store(dep_at(block, i), &handle, sizeof handle);
}

static bool is_list(uint32_t block)
{
    return block == 0 || (hf_heap_is_block(block) && hf_block(block)->kind == HF_SLOT_LIST);
}

bool hf_heap_sound(void)
{
    bool sound = true;

    HF_FOR_BLOCKS (b) {
        for (uint32_t i = 0; hf_block(b)->kind != HF_SLOT_FREE && i < hf_block(b)->deps; i++) {
            uint32_t dep = hf_heap_dep(b, i);

            sound = sound && dep != 0 && sane(dep) && hf_block(dep)->kind != HF_SLOT_FREE;
        }
    }
    if (!sound || !is_list(hf_state.txn) || !is_list(hf_state.undo)) {
        hf_state_lose();
    }
    return hf_state.lost == 0;
}

/* Makes one block of free neighbours. */
static void merge(void)
{
    uint32_t before = 0; /* the free block right before; 0: there is none */

    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind != HF_SLOT_FREE) {
            before = 0;
        } else if (before == 0) {
            before = b;
        } else {
            put_free(before, hf_block(before)->size + hf_block(b)->size);
            fill(b, hf_payload(b));
            b = before;
        }
    }
}

void hf_heap_release(uint32_t block)
{
    const struct hf_block *b = hf_block(block);

    for (uint32_t i = 0; i < b->deps; i++) {
        uint32_t dep = hf_heap_dep(block, i);

        if (dep != 0) {
            hf_heap_ref(dep, -1);
            hf_heap_set_dep(block, i, 0);
        }
    }
    if (b->kind == HF_SLOT_STUB) {
        uint32_t target = hf_stub_target(block);

        if (target != 0) {
            hf_heap_ref(target, -1);
        }
        hf_hook_set(b->hook - 1u, hf_hook_initial(b->hook - 1u));
    }
}

void hf_heap_free(uint32_t block)
{
    uint32_t size = hf_block(block)->size;

    put_free(block, size);
    fill(hf_payload(block), block + size);
    merge();
}

uint32_t hf_heap_space(void)
{
    uint32_t space = 0;

    HF_FOR_BLOCKS (b) {
        space += hf_block(b)->kind == HF_SLOT_FREE ? hf_block(b)->size : 0;
    }
    return space;
}

uint32_t hf_data_alloc(uint32_t length, uint32_t align)
{
    uint32_t unit = 1u << (align < 2u ? 2u : align); /* whole words: words of a commit may lie in it */
    uint32_t at = (hf_map.data_base + unit - 1u) & ~(unit - 1u);
    bool moved = true;

    /* Each round moves behind a variable that is in the way, so there are no more rounds than those. */
    while (moved && hf_within(at, length, hf_map.data_base, hf_map.data_size)) {
        moved = false;
        HF_FOR_BLOCKS (b) {
            uint32_t taken, base;

            if (hf_block(b)->kind != HF_SLOT_VAR) {
                continue;
            }
            base = hf_block_bytes(b, &taken);
            if (hf_overlaps(at, length, base, taken)) {
                at = (base + taken + unit - 1u) & ~(unit - 1u);
                moved = true;
            }
        }
    }
    return hf_within(at, length, hf_map.data_base, hf_map.data_size) ? at : 0;
}

uint32_t hf_data_space(void)
{
    uint32_t space = hf_map.data_size;

    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind == HF_SLOT_VAR) {
            uint32_t length;

            (void)hf_block_bytes(b, &length);
            space -= (length + 3u) & ~3u;
        }
    }
    return space;
}
