/* The reaper: proves code slots unreferenced and frees them. Counted references are recounted from the
 * tables; frames are found by one conservative pass over the registers, the live stacks and the rest
 * of the application's RAM. It runs in the monitor's handler, where no thread moves and no handler of
 * the application is in the middle of something. */
#include "hf_state.h"

/* Looks at one word of the application. Code: the block that holds its attribution (ra-2 for a word
 * with the Thumb bit, else itself) has a frame. */
static void mark_code(uint32_t word)
{
    uint32_t block;

    if (word - hf_map.heap_base >= hf_map.heap_size) {
        return;
    }
    /* As a return address, and as a pointer to the first instruction, which is on its way to a branch. */
    for (uint32_t back = 0; back <= 3u; back += 3u) {
        block = hf_heap_find(word - ((word & 1u) != 0 ? back : 0u));
        if (block != 0 && hf_block(block)->kind == HF_SLOT_CODE) {
            hf_heap_flag(block, HF_SLOTF_FRAME, 0);
        }
    }
}

/* Also constants, stubs and variables, to which any word may point; one past the end counts. */
static void mark_all(uint32_t word)
{
    if (word - hf_map.heap_base < hf_map.heap_size) {
        uint32_t block = hf_heap_find(word);

        mark_code(word);
        if (block != 0) {
            hf_heap_flag(block, HF_BLOCKF_MARK, 0);
        }
    } else if (word - hf_map.data_base <= hf_map.data_size) {
        HF_FOR_BLOCKS (b) {
            uint32_t length;
            uint32_t base = hf_block_bytes(b, &length);

            if (hf_block(b)->kind == HF_SLOT_VAR && word - base <= length) {
                hf_heap_flag(b, HF_BLOCKF_MARK, 0);
            }
        }
    }
}

static void scan_area(void (*mark)(uint32_t), uint32_t low, uint32_t high)
{
    uint32_t heap = hf_map.heap_base, heap_size = hf_map.heap_size;
    uint32_t data = hf_map.data_base, data_size = hf_map.data_size;

    for (uint32_t at = (low + 3u) & ~3u; at + 4u <= high; at += 4u) {
        uint32_t word = hf_word(at);

        hf_state.scan_words++;
        if (word - heap < heap_size || word - data <= data_size) {
            mark(word);
        }
    }
}

/* The application's RAM without the parts of told stacks that are not in use: what lies there is left
 * over from calls that have returned. */
static void scan_ram(void (*mark)(uint32_t), const struct hf_context *context)
{
    uint32_t at = hf_state.ram_start;

    while (at < hf_state.ram_end) {
        uint32_t stop = hf_state.ram_end, skip = at;
        struct hf_told told = {0};

        for (uint32_t next = 0; hf_task_stack(&next, context, &told);) {
            if (at - told.bottom < told.live.low - told.bottom) {
                skip = told.live.low;
            } else if (told.bottom > at && told.bottom < stop && told.bottom < told.live.low) {
                stop = told.bottom;
            }
        }
        if (skip > at) {
            at = skip;
        } else {
            scan_area(mark, at, stop);
            at = stop;
        }
    }
}

static void scan(void (*mark)(uint32_t))
{
    struct hf_context context;

    HF_FOR_BLOCKS (b) {
        hf_heap_flag(b, 0, HF_SLOTF_FRAME | HF_BLOCKF_MARK);
    }
    hf_state.scan_words = HF_CONTEXT_REGS;
    hf_arch_context(&context);
    for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
        mark(context.reg[i]);
    }
    for (uint32_t i = 0; i < HF_CONTEXT_STACKS; i++) {
        struct hf_stack s = context.stack[i];

        if (s.low < s.high && !hf_within(s.low, s.high - s.low, hf_state.ram_start, hf_state.ram_end - hf_state.ram_start)) {
            scan_area(mark, s.low, s.high);
        }
    }
    scan_ram(mark, &context);
    scan_area(mark, hf_map.data_base, hf_map.data_base + hf_map.data_size);
}

/* Whether a word may be an exception frame's xPSR: the Thumb bit, and none of those that are zero on every
 * core (ARMv7-M ARM B1.4.2). */
#define XPSR_MASK 0x01F00000u
#define XPSR_THUMB 0x01000000u

/* A return address has the Thumb bit. The program counter of a thread that an exception has put aside has
 * not, and its xPSR comes behind it: without that, too many numbers would look like one. */
static bool frames_in(const struct hf_stack *stack, bool (*hit)(void *, uint32_t, uint32_t, uint32_t), void *user)
{
    for (uint32_t at = stack->low; at + 4u <= stack->high; at += 4u) {
        uint32_t word = hf_word(at);
        bool returns = (word & 1u) != 0;

        if ((returns || (at + 8u <= stack->high && (hf_word(at + 4u) & XPSR_MASK) == XPSR_THUMB)) &&
            !hit(user, returns ? word - 3u : word, word, at)) {
            return false;
        }
    }
    return true;
}

/* With a process stack there are other threads. Where the application has not told of their stacks, they
 * may be anywhere in its RAM; and so may a coroutine that a task has switched to by itself. */
void hf_frames(bool (*hit)(void *user, uint32_t code, uint32_t word, uint32_t where), void *user)
{
    struct hf_context context;
    struct hf_told told = {0};
    const struct hf_stack ram = {hf_state.ram_start & ~3u, hf_state.ram_end};

    hf_arch_context(&context);
    for (uint32_t i = 0; i < HF_CONTEXT_REGS; i++) {
        uint32_t word = context.reg[i];

        if (i == 13u) {
            continue;
        }
        if (i == 15u ? !hit(user, word & ~1u, word, i) : (word & 1u) != 0 && !hit(user, word - 3u, word, i)) {
            return;
        }
    }
    for (uint32_t next = 0; hf_task_stack(&next, &context, &told);) {
        if (!frames_in(&told.live, hit, user)) {
            return;
        }
    }
    if (told.number == 0 ? hf_arch_process_stack() : told.astray || told.away) {
        (void)frames_in(&ram, hit, user);
        return;
    }
    for (uint32_t i = 0; i < HF_CONTEXT_STACKS; i++) {
        if ((told.running >> i & 1u) == 0 && !frames_in(&context.stack[i], hit, user)) {
            return;
        }
    }
}

HF_HANDLER(hf_do_stack)
{
    struct hf_context context;
    const struct hf_stack *stack;
    uint32_t length, room;

    (void)r;
    (void)request;
    hf_arch_context(&context);
    stack = &context.stack[context.process != 0];
    hf_put_bytes(w, (const uint8_t *)&context, offsetof(struct hf_context, stack));
    hf_put_le(w, context.stack[0].low, 4);
    hf_put_le(w, context.stack[1].low, 4);
    length = stack->high - stack->low;
    room = (uint32_t)(w->end - w->at);
    hf_put_bytes(w, hf_ptr(stack->low), length < room ? length : room);
    return HF_OK;
}

/* Adds `delta` to the count of every slot, for each reference that the tables hold. */
static void count_references(int delta)
{
    HF_FOR_BLOCKS (b) {
        for (uint32_t i = 0; i < hf_block(b)->deps; i++) {
            uint32_t dep = hf_heap_dep(b, i);

            if (dep != 0) {
                hf_heap_ref(dep, delta);
            }
        }
        if (hf_hook_runs(b)) {
            hf_heap_ref(b, delta);
        }
        if ((hf_block(b)->flags & HF_BLOCKF_PIN) != 0) {
            hf_heap_ref(b, delta);
        }
    }
    if (hf_state.undo != 0) {
        hf_list_ref(hf_state.undo, delta);
    }
}

/* Takes all references away, which must leave zeros, and puts them back. */
static void recount(void)
{
    count_references(-1);
    HF_FOR_BLOCKS (b) {
        uint16_t refs = hf_block(b)->refs;

        if (refs != 0 && hf_block(b)->kind != HF_SLOT_FREE) {
            hf_state.drift++;
            hf_heap_ref(b, -(int)refs);
        }
    }
    count_references(1);
}

/* Frees code that nothing refers to. What it used may follow, so it goes on until a pass frees
 * nothing; each pass but the last frees one slot. */
static void sweep_code(void)
{
    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind == HF_SLOT_CODE && hf_block(b)->refs == 0 && (hf_block(b)->flags & HF_SLOTF_FRAME) == 0 &&
            !hf_list_holds(hf_state.undo, b)) {
            hf_heap_release(b);
            hf_heap_free(b);
            b = 0;
        }
    }
}

void hf_reap(void)
{
    uint32_t started = hf_board.micros(), took;

    scan(mark_code);
    recount();
    sweep_code();
    took = hf_board.micros() - started;
    if (took > hf_state.scan_us) {
        hf_state.scan_us = took;
    }
}

static bool mark(uint32_t block)
{
    if (block == 0 || (hf_block(block)->flags & HF_BLOCKF_MARK) != 0) {
        return false;
    }
    hf_heap_flag(block, HF_BLOCKF_MARK, 0);
    return true;
}

/* What stays whatever refers to it: old functions' live versions, frames, pins, what is open, and the
 * lists. New functions' hooks are no roots: they live as long as their stubs are used. */
static bool is_root(uint32_t block)
{
    const struct hf_block *b = hf_block(block);

    return (b->flags & (HF_SLOTF_FRAME | HF_SLOTF_OPEN | HF_BLOCKF_PIN)) != 0 || b->kind == HF_SLOT_LIST ||
           hf_list_holds(hf_state.undo, block) || (hf_hook_runs(block) && b->hook <= hf_state.hook_count);
}

/* Marks all that the marked slots use, until a pass marks nothing new. */
static void mark_uses(void)
{
    bool more;

    do {
        more = false;
        HF_FOR_BLOCKS (b) {
            if ((hf_block(b)->flags & HF_BLOCKF_MARK) == 0) {
                continue;
            }
            for (uint32_t i = 0; i < hf_block(b)->deps; i++) {
                more = mark(hf_heap_dep(b, i)) || more;
            }
            more = (hf_block(b)->kind == HF_SLOT_STUB && mark(hf_stub_target(b))) || more;
        }
    } while (more);
}

static bool goes(uint32_t block)
{
    return hf_block(block)->kind != HF_SLOT_FREE && (hf_block(block)->flags & HF_BLOCKF_MARK) == 0;
}

/* Counts cannot see that a new function that calls itself is used by nobody else, so this goes by
 * what can be reached. */
uint32_t hf_collect(uint32_t *bytes, uint32_t *stall_us)
{
    uint32_t state = hf_arch_mask();
    uint32_t started = hf_board.micros(), freed = 0;

    *bytes = 0;
    scan(mark_all);
    recount();
    HF_FOR_BLOCKS (b) {
        if (hf_block(b)->kind != HF_SLOT_FREE && is_root(b)) {
            (void)mark(b);
        }
    }
    mark_uses();
    HF_FOR_BLOCKS (b) {
        if (goes(b)) {
            hf_heap_release(b);
        }
    }
    HF_FOR_BLOCKS (b) {
        if (goes(b)) {
            freed++;
            *bytes += hf_block(b)->size;
            hf_heap_free(b);
            b = 0; /* it may be part of its neighbour now */
        }
    }
    *stall_us = hf_board.micros() - started;
    if (*stall_us > hf_state.stall_us) {
        hf_state.stall_us = *stall_us;
    }
    hf_arch_unmask(state);
    return freed;
}

HF_HANDLER(hf_do_gc)
{
    struct hf_gc_reply a;

    a.freed = hf_collect(&a.bytes, &a.stall_us);
    hf_put_gc_reply(w, &a);
    return HF_OK;
}
