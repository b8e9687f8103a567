/* Private to the monitor: its state, and what its modules offer each other. */
#ifndef HF_STATE_H
#define HF_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hf_arch.h"
#include "hf_board.h"
#include "hf_image.h"
#include "hf_messages.h"
#include "hf_monitor.h"
#include "hf_range.h"

#define HF_VERSION "0.1.0"
#define HF_ABI 0x00010001u
#define HF_TXN_TIMEOUT_US 5000000u

/* Replies that the cache keeps as bytes; a Begin's grants are rebuilt from its list instead. A
 * Commit's with eight frames is the longest: 1 + 5 + 5 + 1 + 64. */
#define HF_CACHE_BYTES 96u
/* A cached reply is forgotten after that many other requests, before sequence numbers come round. */
#define HF_CACHE_AGE 128u

/* All that the monitor knows between two runs of its handler, checksummed (state.c). What its
 * interrupts change lives with them (frame.c, log.c). */
struct hf_state {
    /* the application */
    uint32_t app; /* HF_HELLO_APP_* */
    uint32_t header; /* its header's address; 0: none */
    uint32_t ram_start, ram_end;
    uint32_t hook_count, hook_capacity, hook_init;
    uint32_t hello; /* Hellos since boot */
    uint32_t parked; /* HF_PARK_*: the application stands still; 0: it runs */
    uint32_t final; /* it cannot be continued */
    uint32_t action; /* HF_ACTION_*, when the reply has left; others: restart, main's entry */
    uint32_t lost; /* the state was trampled: only Hello, Status and Reset work */

    /* code */
    uint32_t generation;
    uint32_t undo; /* block of the undo record; 0: none */
    uint32_t trial; /* the live generation is on trial */
    uint32_t trial_end; /* micros() then */
    uint32_t txn; /* block of the open transaction's list; 0: none open */
    uint32_t txn_pairs; /* what its payload was dimensioned for */
    uint32_t txn_crc; /* CRC register over the Begin request */
    uint32_t txn_seen; /* micros() of its last request */

    /* programming */
    uint32_t flash_open; /* FlashBegin was done */
    uint32_t flash_mark; /* offset of the valid mark */
    uint32_t reset; /* 1 + mode: reset when the reply has left */

    /* counters of Status */
    uint32_t rx_bad, commits, masked_last, masked_max, scan_words, scan_us, stall_us, drift;

    /* the cached reply */
    uint32_t cache_crc;
    uint32_t cache_age; /* requests since; HF_CACHE_AGE: nothing cached */
    uint16_t cache_length;
    uint8_t cache_seq;
    uint8_t cache_op;
    uint8_t cache[HF_CACHE_BYTES];

    uint8_t log_seq, fault_seq;
    uint16_t padding;

    uint32_t check; /* last: over all words before */
};

extern struct hf_state hf_state;

/* state.c */
uint32_t hf_sum(const uint32_t *words, uint32_t count);
void hf_state_seal(void);
bool hf_state_sound(void);
void hf_state_lose(void);
void hf_persist_set(uint32_t boot_count, uint32_t stay);

/* crc.c: CRC-32 (SPEC, Frames). Start with HF_CRC_INIT, end with ~. */
#define HF_CRC_INIT 0xFFFFFFFFu
uint32_t hf_crc_update(uint32_t crc, const uint8_t *data, uint32_t length);

/* frame.c */
void hf_frame_init(void);
bool hf_frame_next(const uint8_t **frame, uint32_t *length); /* channel, seq, body; CRC checked */
uint32_t hf_frame_overrun(void);
bool hf_tx_begin(struct hf_writer *w, uint8_t channel, uint8_t seq); /* false: no buffer free */
void hf_tx_end(struct hf_writer *w);
bool hf_tx_idle(void); /* nothing queued, nothing on its way */
void hf_tx_pump(void); /* gives the UART what it takes, without interrupts */
void hf_tx_fault(const uint8_t *body, uint32_t length, uint8_t seq); /* own buffer, sent next */
bool hf_frame_work(void); /* whether the handler was asked for since the last call */
void hf_frame_pend(void); /* asks for it */
#define HF_FAULT_BODY 156u

/* log.c */
void hf_log_init(void);
bool hf_log_waiting(void);
uint32_t hf_log_dropped(void);
uint32_t hf_log_take(uint8_t *data, uint32_t length);
#define HF_LOG_PER_FRAME 128u

/* park.c */
bool hf_record_valid(void);
#define HF_ACTION_PARK 1u

/* monitor.c */
bool hf_monitor_interrupted(void); /* whether the state can be relied on when a run ends in its middle */
void hf_report(uint8_t kind, enum hf_reason reason); /* queues a fault-channel frame */

/* boot.c */
enum hf_reason hf_image_check(const struct hf_image_header **header); /* NONE: valid; else why not */
const uint8_t *hf_app_build_id(void);

/* heap.c: the code heap (SPEC, Code heap). A block is named by its header's address. */
struct hf_block {
    uint32_t size;
    uint8_t kind;
    uint8_t flags;
    uint16_t deps;
    uint32_t length;
    uint32_t ident;
    uint32_t hash[2];
    uint32_t generation;
    uint16_t hook; /* + 1 */
    uint16_t refs;
};

#define HF_BLOCK 32u
#define HF_TRAP 0xDE00DE00u
#define HF_NO_HANDLE 0xFFFFu
/* Flags that last, besides those of the wire. */
#define HF_BLOCKF_PIN 0x10u
#define HF_BLOCKF_MARK 0x20u /* of the masked collection */
#define HF_BLOCKF_ZERO 0x80u /* VAR without bytes in the transaction's image */
#define HF_WIRE_FLAGS 0x0Fu

static inline const struct hf_block *hf_block(uint32_t block)
{
    return hf_ptr(block);
}

static inline uint32_t hf_payload(uint32_t block)
{
    return block + HF_BLOCK;
}

/* A VAR's bytes, else the payload. */
uint32_t hf_block_bytes(uint32_t block, uint32_t *length);

void hf_heap_init(void);
uint32_t hf_heap_next(uint32_t block); /* of 0: the first; 0: the end, or the links make no sense (state lost) */
#define HF_FOR_BLOCKS(b) for (uint32_t b = 0; (b = hf_heap_next(b)) != 0;) /* set to 0 in the body: starts again */
uint32_t hf_heap_find(uint32_t address); /* block in use whose bytes hold it; 0: none */
/* Whether all headers and links make sense; else the state is lost. Asked before each request that
 * follows them, for nothing but the application's good manners protects the heap without an MPU. */
bool hf_heap_sound(void);
bool hf_heap_is_block(uint32_t block); /* in use, and the start of one */
uint32_t hf_heap_slot(uint32_t handle); /* the block that requests may name so: in use, not a LIST; 0: none */
uint32_t hf_heap_alloc(const struct hf_block *as, uint32_t deps); /* 0: does not fit */
/* The end of a slot has two steps, so that slots that use each other can go together: release drops
 * what it refers to (its deps; a STUB's hook leads to the trap again), free fills it with traps. */
void hf_heap_release(uint32_t block);
void hf_heap_free(uint32_t block);
void hf_heap_store(uint32_t address, const void *data, uint32_t length); /* any alignment */
void hf_heap_update(uint32_t block, const struct hf_block *header);
void hf_heap_ref(uint32_t block, int delta);
void hf_heap_flag(uint32_t block, uint8_t set, uint8_t clear);
uint32_t hf_heap_dep(uint32_t block, uint32_t i); /* block; 0: none */
void hf_heap_set_dep(uint32_t block, uint32_t i, uint32_t dep);
uint32_t hf_heap_space(void); /* bytes in free blocks */
uint32_t hf_data_alloc(uint32_t length, uint32_t align); /* 0: does not fit */
uint32_t hf_data_space(void);
static inline uint32_t hf_handle(uint32_t block)
{
    return (block - hf_map.heap_base) / HF_BLOCK;
}

/* hooks.c */
void hf_hooks_init(void);
uint32_t hf_hook_address(uint32_t hook);
uint32_t hf_hook_value(uint32_t hook);
uint32_t hf_hook_initial(uint32_t hook);
void hf_hook_set(uint32_t hook, uint32_t value);
uint32_t hf_hook_index(uint32_t address); /* the reverse of hf_hook_address(); hook_capacity or more: not a hook */
uint32_t hf_hook_stub(uint32_t hook); /* the STUB that owns it; 0: none */
uint32_t hf_hook_spare(void); /* a hook that no STUB owns; capacity: none */
bool hf_hook_bound(uint32_t hook); /* has another value than its initial one */
uint32_t hf_hooks_bound(uint32_t end); /* of those below `end` */
bool hf_hook_runs(uint32_t block); /* whether the block's hook leads into it */
uint32_t hf_stub_target(uint32_t block); /* slot that a STUB's hook leads to; 0: none */

/* undo.c: LIST slots */
uint32_t hf_list_count(uint32_t list);
const struct hf_pair *hf_list_pairs(uint32_t list);
void hf_list_set(uint32_t list, uint32_t i, uint32_t address, uint32_t value);
void hf_list_ref(uint32_t list, int delta);
bool hf_list_holds(uint32_t list, uint32_t block);
void hf_list_bind(uint32_t list); /* swaps it in: the new generation and its undo record */
void hf_undo_drop(void);

/* txn.c */
uint32_t hf_txn_slots(void); /* of the open transaction */
void hf_txn_touch(void); /* it was heard of */
uint32_t hf_txn_piece(uint32_t i, uint32_t *length); /* its image: address of the i-th slot's bytes */
void hf_txn_abort(void);
bool hf_txn_blocks(void); /* open and alive; one that is stale is thrown away */

/* trial.c */
#define HF_TRIAL_MAX 1800u /* seconds: half the clock's range */
void hf_trial_begin(uint32_t seconds); /* of the generation just bound; 0: none */
bool hf_trial_over(void);
uint32_t hf_trial_left(void); /* microseconds; 0: none runs, or it is over */
void hf_trial_end(void); /* takes it back if it is over */

/* told.c: what the application tells of itself */
struct hf_told {
    uint32_t number;       /* of tasks so far; 0 to begin with */
    bool astray;           /* the interrupted thread stands on none of them: all of each counts */
    bool away;             /* so does one that does not run */
    uint32_t running;      /* bit i: the context's stack i was one of theirs */
    uint32_t bottom;       /* of its stack; from there to `live` nothing counts */
    struct hf_stack live;
};
#define HF_TOLD_END 0xFFFFFFFFu
bool hf_told_readable(uint32_t address, uint32_t length); /* words that may be read without a probe */
/* Takes `item`, a struct of `length` bytes with a link at its end, out of a list of at most `most`, and with `add`
 * puts it first. */
void hf_told_list(uint32_t *list, uint32_t item, uint32_t length, uint32_t most, bool add);
void hf_task_forget(void);
/* The next told stack: `*next` is 0 to begin with; false: no more. */
bool hf_task_stack(uint32_t *next, const struct hf_context *context, struct hf_told *told);

/* reaper.c */
struct hf_range {
    uint32_t low, high; /* one past */
};
void hf_reap(void);
uint32_t hf_collect(uint32_t *bytes, uint32_t *stall_us); /* slots freed */
/* Finds frames on the live stacks and in the registers. Calls `hit` for each code address (ra-2, or
 * the PC); it returns false to end the search. */
void hf_frames(bool (*hit)(void *user, uint32_t code, uint32_t word, uint32_t where), void *user);

/* Handlers: `request` has the message's fields, `r` is at what follows them (records, bytes); write the
 * reply, return the status. Each ignores what it does not need. */
#define HF_HANDLER(name) \
    uint8_t name(HF_UNUSED const union hf_request *request, HF_UNUSED struct hf_reader *r, HF_UNUSED struct hf_writer *w)
#define HF_UNUSED __attribute__((unused))
HF_HANDLER(hf_do_hello);
HF_HANDLER(hf_do_status);
HF_HANDLER(hf_do_slots);
HF_HANDLER(hf_do_hooks);
HF_HANDLER(hf_do_begin);
HF_HANDLER(hf_do_write);
HF_HANDLER(hf_do_commit);
HF_HANDLER(hf_do_abort);
HF_HANDLER(hf_do_rollback);
HF_HANDLER(hf_do_gc);
HF_HANDLER(hf_do_pin);
HF_HANDLER(hf_do_read);
HF_HANDLER(hf_do_poke);
HF_HANDLER(hf_do_flash_begin);
HF_HANDLER(hf_do_flash_erase);
HF_HANDLER(hf_do_flash_write);
HF_HANDLER(hf_do_flash_end);
HF_HANDLER(hf_do_reset);
HF_HANDLER(hf_do_record);
HF_HANDLER(hf_do_stack);
HF_HANDLER(hf_do_park);
HF_HANDLER(hf_do_continue);
HF_HANDLER(hf_do_restart);
HF_HANDLER(hf_do_confirm);
void hf_txn_grants(struct hf_writer *w); /* the open transaction's Begin reply */

static inline uint32_t hf_word(uint32_t address)
{
    return *(const volatile uint32_t *)hf_ptr(address);
}

#endif
