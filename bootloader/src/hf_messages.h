/* The wire protocol's messages. Generated from bootloader/protocol.toml: do not edit. */
#ifndef HF_MESSAGES_H
#define HF_MESSAGES_H

#include "hf_codec.h"

#define HF_WIRE_VERSION 1u

enum hf_channel {
    HF_CH_CONTROL = 1, /* requests of the host, replies of the device */
    HF_CH_LOG = 2, /* the application's log */
    HF_CH_TELEMETRY = 3, /* live variables and probes (reserved) */
    HF_CH_FAULT = 4, /* unasked reports: boot, parked */
};

enum hf_status {
    HF_OK = 0, /* done */
    HF_E_OP = 1, /* unknown operation, or not allowed in this mode */
    HF_E_FORMAT = 2, /* the message is cut short, too long, or a field is out of range */
    HF_E_BUILD = 3, /* the build tag is not that of the application that runs */
    HF_E_GEN = 4, /* linked against another generation than the live one */
    HF_E_BUSY = 5, /* another transaction is open */
    HF_E_NOTXN = 6, /* no transaction is open */
    HF_E_NOMEM = 7, /* does not fit; a Shortage record follows */
    HF_E_RANGE = 8, /* an address, offset, hook or handle is outside what it may name */
    HF_E_SEAL = 9, /* the transaction's CRC differs: something is missing or damaged; send it again */
    HF_E_FRAMES = 10, /* a safe commit found frames of functions that it replaces */
    HF_E_FAULT = 11, /* the access ended in a bus error */
    HF_E_DENIED = 12, /* refused by the monitor: its own UART or memory, or a peripheral not asked for */
    HF_E_FLASH = 13, /* erase or program failed, or would set a bit that only an erase can set */
    HF_E_CRC = 14, /* the image in flash is not the one announced; a byte follows, the reason */
    HF_E_NOUNDO = 15, /* there is no generation to go back to */
    HF_E_LOST = 16, /* the monitor's state was trampled: only a reset is accepted */
    HF_E_NOAPP = 17, /* no hot application runs */
    HF_E_STATE = 18, /* not possible as things are; a byte follows, the reason */
    HF_E_TRIAL = 19, /* a trial runs: confirm it or roll it back first */
};

enum hf_reason {
    HF_REASON_NONE = 0, /* the application was started */
    HF_REASON_NO_HEADER = 1, /* no application: no image header in flash */
    HF_REASON_VERSION = 2, /* the image header has another version */
    HF_REASON_RANGES = 3, /* the image header's ranges are not this board's */
    HF_REASON_ABI = 4, /* the application needs a newer bootloader */
    HF_REASON_CRC = 5, /* the application's CRC is wrong */
    HF_REASON_UNFINISHED = 6, /* the application was not programmed completely */
    HF_REASON_OTHER = 7, /* the header is not that of the image announced */
    HF_REASON_ASKED = 8, /* asked to wait */
    HF_REASON_NOT_PARKED = 9, /* the application is not parked */
    HF_REASON_CONTEXT_LOST = 10, /* where the application was is lost: it can be restarted or reset */
    HF_REASON_NO_CONSENT = 11, /* the process stack is in use, as by an RTOS, and the application registered no on_restart */
    HF_REASON_NO_TICK = 12, /* the board has no periodic interrupt that could end a trial */
};

enum hf_memory {
    HF_MEMORY_CODE_HEAP = 1, /* code heap */
    HF_MEMORY_DATA_HEAP = 2, /* data heap */
    HF_MEMORY_SPARE_HOOKS = 3, /* spare hooks */
};

enum hf_slot_kind {
    HF_SLOT_FREE = 0, /* unused block */
    HF_SLOT_CODE = 1, /* one version of one function with its literals, or a private piece of one */
    HF_SLOT_CONST = 2, /* a constant, shared by content */
    HF_SLOT_STUB = 3, /* static entry of a function that is new in a patch; owns a spare hook */
    HF_SLOT_VAR = 4, /* a new variable; its bytes are in the data heap */
    HF_SLOT_LIST = 5, /* a transaction's list of (address, value) pairs: the undo record after the commit */
};

enum hf_commit_mode {
    HF_COMMIT_NOW = 0, /* new calls reach new code, old frames finish in old code */
    HF_COMMIT_SAFE = 1, /* only when no frame of a replaced function exists */
};

enum hf_hello_flag {
    HF_HELLO_APP_VALID = 1, /* a valid application is in flash */
    HF_HELLO_APP_HOT = 2, /* it was built and written with patch points (not PLAIN) */
    HF_HELLO_APP_RUNS = 4, /* it runs; without this bit the bootloader waits for `flash` */
    HF_HELLO_MPU = 8, /* the core has an MPU */
    HF_HELLO_STATE_LOST = 16, /* the monitor's state was trampled */
    HF_HELLO_AUTH = 32, /* reserved: pushes must be authenticated */
    HF_HELLO_PRIO_ZERO = 64, /* the application runs an interrupt at priority 0, above the monitor's receiver */
    HF_HELLO_PENDSV_ZERO = 128, /* PendSV is at priority 0: a context switch may delay the monitor */
    HF_HELLO_TXN_OPEN = 256, /* a transaction is open */
    HF_HELLO_UNDO = 512, /* there is a generation to go back to */
    HF_HELLO_PARKED = 1024, /* the application stands still; Record says why */
    HF_HELLO_FINAL = 2048, /* it cannot be continued, only restarted or reset */
    HF_HELLO_RECORD = 4096, /* Record has something to tell, of this boot or the last */
    HF_HELLO_TRIAL = 8192, /* the live generation is on trial: without Confirm the device rolls it back */
    HF_HELLO_WATCHDOG = 16384, /* the board's watchdog catches an application that masks interrupts for ever */
    HF_HELLO_TICK = 32768, /* the board has the periodic interrupt that trials need */
};

enum hf_protect_flag {
    HF_PROTECT_HEAP = 1, /* code heap: executable and read-only */
    HF_PROTECT_HOOKS = 2, /* hook table: read-only */
    HF_PROTECT_FLASH = 4, /* flash: executable and read-only */
    HF_PROTECT_RAM = 8, /* other memory: not executable */
    HF_PROTECT_STACK = 16, /* a guard below the main stack */
    HF_PROTECT_TAKEN = 32, /* the application has changed the MPU's settings; the other flags say what still holds */
};

enum hf_slot_flag {
    HF_SLOTF_BOUND = 1, /* a hook runs it */
    HF_SLOTF_UNDO = 2, /* the undo record holds it */
    HF_SLOTF_FRAME = 4, /* the last scan found a frame, or a word that may be one */
    HF_SLOTF_OPEN = 8, /* belongs to the open transaction */
};

enum hf_read_flag {
    HF_READF_PERIPHERAL = 1, /* the address may be a peripheral's */
};

enum hf_park_reason {
    HF_PARK_ASKED = 1, /* a host asked for it */
    HF_PARK_ATTENTION = 2, /* a host's attention sequence, from a handler that did not return */
    HF_PARK_FAULT = 3, /* an exception: CFSR and HFSR say which */
    HF_PARK_WATCHDOG = 4, /* the watchdog's interrupt: interrupts were masked for too long */
    HF_PARK_RESTART = 5, /* on the way to a restart; never in a record */
};

enum hf_park_word {
    HF_PARKW_R0 = 0, /* r0 to r12, sp, lr, pc as they were; sp as it was before the exception's frame */
    HF_PARKW_SP = 13, /* r13 */
    HF_PARKW_LR = 14, /* r14 */
    HF_PARKW_PC = 15, /* r15: after a fault, of the instruction that faulted */
    HF_PARKW_XPSR = 16, /* 0: no frame could be stacked, so r0 to r3, r12, lr, pc are not known */
    HF_PARKW_CFSR = 17, /* ARMv7-M ARM B3.2.15 */
    HF_PARKW_HFSR = 18, /* B3.2.16 */
    HF_PARKW_MMFAR = 19, /* B3.2.18 */
    HF_PARKW_BFAR = 20, /* B3.2.19 */
    HF_PARKW_EXC_RETURN = 21, /* lr of the exception that parked (B1.5.8) */
    HF_PARKW_MSP = 22, /* main stack pointer, at the exception's frame if that is there */
    HF_PARKW_PSP = 23, /* process stack pointer; 0: not in use */
    HF_PARKW_MASKS = 24, /* PRIMASK bit 0, FAULTMASK bit 1, CONTROL bits 8 to 15, BASEPRI bits 16 to 23 */
    HF_PARKW_REASON = 25, /* park reason */
    HF_PARKW_FLAGS = 26, /* bit 0: final, cannot be continued */
    HF_PARKW_GENERATION = 27, /* live generation */
    HF_PARKW_BOOT = 28, /* the boot count in which it happened */
    HF_PARKW_SYSTEM = 29, /* SHCSR: active system exceptions (B3.2.13) */
    HF_PARKW_ACTIVE = 30, /* eight words, NVIC_IABR: active external interrupts (B3.4.7) */
};

enum hf_op {
    HF_OP_HELLO = 1,
    HF_OP_STATUS = 2,
    HF_OP_SLOTS = 3,
    HF_OP_HOOKS = 4,
    HF_OP_RECORD = 5,
    HF_OP_STACK = 6,
    HF_OP_BEGIN = 16,
    HF_OP_WRITE = 17,
    HF_OP_COMMIT = 18,
    HF_OP_ABORT = 19,
    HF_OP_ROLLBACK = 20,
    HF_OP_GC = 21,
    HF_OP_PIN = 22,
    HF_OP_CONFIRM = 23,
    HF_OP_READ = 32,
    HF_OP_POKE = 33,
    HF_OP_FLASH_BEGIN = 48,
    HF_OP_FLASH_ERASE = 49,
    HF_OP_FLASH_WRITE = 50,
    HF_OP_FLASH_END = 51,
    HF_OP_RESET = 64,
    HF_OP_PARK = 65,
    HF_OP_CONTINUE = 66,
    HF_OP_RESTART = 67,
};

/* A slot that is used: of this transaction by its ordinal, or an existing one by its handle. */
#define HF_DEP_RECORD "v+"
struct hf_dep_record {
    uint32_t ref; /* ordinal * 2, or handle * 2 + 1 */
};
_Static_assert(sizeof(struct hf_dep_record) == 4 * 1, "only words");

static inline bool hf_get_dep_record(struct hf_reader *c, struct hf_dep_record *m)
{
    return hf_get(c, HF_DEP_RECORD, m);
}

static inline void hf_put_dep_record(struct hf_writer *c, const struct hf_dep_record *m)
{
    hf_put(c, HF_DEP_RECORD, m);
}

/* One allocation of BEGIN. Payloads follow each other, without gaps, in the transaction's image in this order; records with `zero` set have none there. */
#define HF_SLOT_REQUEST_RECORD "1v1444v+"
struct hf_slot_request_record {
    uint32_t kind; /* slot kind; bit 7 set: zero-filled, no bytes in the image (VAR only) */
    uint32_t length; /* payload in bytes; the device adds header and trap padding */
    uint32_t align; /* log2 of the payload's alignment, 0 to 5; VAR only, the code heap always gives 32 bytes */
    uint32_t ident; /* who it is: CRC-32 of the identity string (docs/SPEC.md, Identities) */
    uint32_t hash[2]; /* what it contains: see docs/SPEC.md, Content hashes; low word first */
    uint32_t deps_count; /* slots that this one uses: Dep records follow */
};
_Static_assert(sizeof(struct hf_slot_request_record) == 4 * 7, "only words");

static inline bool hf_get_slot_request_record(struct hf_reader *c, struct hf_slot_request_record *m)
{
    return hf_get(c, HF_SLOT_REQUEST_RECORD, m);
}

static inline void hf_put_slot_request_record(struct hf_writer *c, const struct hf_slot_request_record *m)
{
    hf_put(c, HF_SLOT_REQUEST_RECORD, m);
}

/* Where a slot was placed, in the order of the requests. */
#define HF_GRANT_RECORD "4vv+"
struct hf_grant_record {
    uint32_t address; /* of the payload */
    uint32_t handle; /* the slot's handle: (header address - code heap's base) / 32 */
    uint32_t hook; /* STUB: the spare hook it owns, plus 1; others: 0 */
};
_Static_assert(sizeof(struct hf_grant_record) == 4 * 3, "only words");

static inline bool hf_get_grant_record(struct hf_reader *c, struct hf_grant_record *m)
{
    return hf_get(c, HF_GRANT_RECORD, m);
}

static inline void hf_put_grant_record(struct hf_writer *c, const struct hf_grant_record *m)
{
    hf_put(c, HF_GRANT_RECORD, m);
}

/* A hook to be bound at commit. */
#define HF_PAIR_RECORD "vv1+"
struct hf_pair_record {
    uint32_t hook; /* index into the hook table */
    uint32_t target; /* 0: the hook's initial value (the base image's function); n + 1: the transaction's slot with ordinal n */
    uint32_t skip; /* bytes from the payload's start to the body's entry (the slot's own nops) */
};
_Static_assert(sizeof(struct hf_pair_record) == 4 * 3, "only words");

static inline bool hf_get_pair_record(struct hf_reader *c, struct hf_pair_record *m)
{
    return hf_get(c, HF_PAIR_RECORD, m);
}

static inline void hf_put_pair_record(struct hf_writer *c, const struct hf_pair_record *m)
{
    hf_put(c, HF_PAIR_RECORD, m);
}

/* A data word to be stored at commit. */
#define HF_WORD_RECORD "44+"
struct hf_word_record {
    uint32_t address; /* word-aligned, in application RAM or the data heap */
    uint32_t value; /* new value */
};
_Static_assert(sizeof(struct hf_word_record) == 4 * 2, "only words");

static inline bool hf_get_word_record(struct hf_reader *c, struct hf_word_record *m)
{
    return hf_get(c, HF_WORD_RECORD, m);
}

static inline void hf_put_word_record(struct hf_writer *c, const struct hf_word_record *m)
{
    hf_put(c, HF_WORD_RECORD, m);
}

/* Code that must have no frame at a safe commit (a base image's body, .cold and .part pieces); replaced slots need not be named. */
#define HF_RANGE_RECORD "4v+"
struct hf_range_record {
    uint32_t address; /* first byte */
    uint32_t length; /* bytes */
};
_Static_assert(sizeof(struct hf_range_record) == 4 * 2, "only words");

static inline bool hf_get_range_record(struct hf_reader *c, struct hf_range_record *m)
{
    return hf_get(c, HF_RANGE_RECORD, m);
}

static inline void hf_put_range_record(struct hf_writer *c, const struct hf_range_record *m)
{
    hf_put(c, HF_RANGE_RECORD, m);
}

/* One block of the code heap in use. */
#define HF_SLOT_RECORD "v11vv4v444v+"
struct hf_slot_record {
    uint32_t handle; /* (header address - code heap's base) / 32 */
    uint32_t kind; /* slot kind */
    uint32_t flags; /* slot flags */
    uint32_t hook; /* hook that it is for, plus 1; 0: none */
    uint32_t refs; /* counted references: hooks, slots, hooks of the undo record, pins, open transaction */
    uint32_t address; /* of the payload */
    uint32_t length; /* payload in bytes */
    uint32_t ident; /* as given in BEGIN */
    uint32_t hash[2]; /* as given in BEGIN; low word first */
    uint32_t generation; /* generation in which it went live */
};
_Static_assert(sizeof(struct hf_slot_record) == 4 * 11, "only words");

static inline bool hf_get_slot_record(struct hf_reader *c, struct hf_slot_record *m)
{
    return hf_get(c, HF_SLOT_RECORD, m);
}

static inline void hf_put_slot_record(struct hf_writer *c, const struct hf_slot_record *m)
{
    hf_put(c, HF_SLOT_RECORD, m);
}

/* A frame that keeps a safe commit from happening. */
#define HF_FRAME_RECORD "44+"
struct hf_frame_record {
    uint32_t address; /* PC, return address, or the PC of a stacked exception frame */
    uint32_t where; /* address of the stack word; 0 to 16: a register, r0 first, 15 the PC */
};
_Static_assert(sizeof(struct hf_frame_record) == 4 * 2, "only words");

static inline bool hf_get_frame_record(struct hf_reader *c, struct hf_frame_record *m)
{
    return hf_get(c, HF_FRAME_RECORD, m);
}

static inline void hf_put_frame_record(struct hf_writer *c, const struct hf_frame_record *m)
{
    hf_put(c, HF_FRAME_RECORD, m);
}

/* What there is too little of: the body of a reply with E_NOMEM. */
#define HF_SHORTAGE_RECORD "1vv+"
struct hf_shortage_record {
    uint32_t memory; /* memory */
    uint32_t needed; /* bytes, or hooks */
    uint32_t free; /* bytes, or hooks; perhaps not in one piece */
};
_Static_assert(sizeof(struct hf_shortage_record) == 4 * 3, "only words");

static inline bool hf_get_shortage_record(struct hf_reader *c, struct hf_shortage_record *m)
{
    return hf_get(c, HF_SHORTAGE_RECORD, m);
}

static inline void hf_put_shortage_record(struct hf_writer *c, const struct hf_shortage_record *m)
{
    hf_put(c, HF_SHORTAGE_RECORD, m);
}

/* A hook and where it leads. */
#define HF_HOOK_VALUE_RECORD "v4+"
struct hf_hook_value_record {
    uint32_t hook; /* index */
    uint32_t value; /* entry address with the Thumb bit */
};
_Static_assert(sizeof(struct hf_hook_value_record) == 4 * 2, "only words");

static inline bool hf_get_hook_value_record(struct hf_reader *c, struct hf_hook_value_record *m)
{
    return hf_get(c, HF_HOOK_VALUE_RECORD, m);
}

static inline void hf_put_hook_value_record(struct hf_writer *c, const struct hf_hook_value_record *m)
{
    hf_put(c, HF_HOOK_VALUE_RECORD, m);
}

/* Opens a conversation: forgets the cached reply, negotiates the version. Always accepted. */
#define HF_HELLO_REQUEST "114"
struct hf_hello_request {
    uint32_t min_version; /* oldest wire version the host speaks */
    uint32_t max_version; /* newest */
    uint32_t nonce; /* echoed */
};
_Static_assert(sizeof(struct hf_hello_request) == 4 * 3, "only words");

static inline bool hf_get_hello_request(struct hf_reader *c, struct hf_hello_request *m)
{
    return hf_get(c, HF_HELLO_REQUEST, m);
}

/* Reply to Hello. */
#define HF_HELLO_REPLY "14444vvv44vv4vv4vv4vv+"
struct hf_hello_reply {
    uint32_t version; /* the version that will be spoken; 0: none in common */
    uint32_t nonce; /* the request's */
    uint32_t flags; /* hello flags */
    uint32_t core; /* SCB CPUID register (ARMv7-M ARM B3.2.3) */
    uint32_t boot_count; /* resets since power was applied, as far as RAM tells */
    uint32_t generation; /* live generation; 0: base */
    uint32_t chunk; /* largest payload of WRITE, FLASH_WRITE and of a READ's reply, in bytes */
    uint32_t credits; /* requests of full size that may be unanswered at a time */
    uint32_t abi; /* services ABI: major * 65536 + minor */
    uint32_t heap_base; /* code heap */
    uint32_t heap_size; /* bytes */
    uint32_t heap_free; /* bytes in free blocks */
    uint32_t data_base; /* data heap */
    uint32_t data_size; /* bytes */
    uint32_t data_free; /* bytes */
    uint32_t hook_base; /* hook table */
    uint32_t hook_capacity; /* entries */
    uint32_t hook_count; /* entries used by the image */
    uint32_t flash_base; /* the application's flash */
    uint32_t flash_size; /* bytes */
    uint32_t flash_page; /* bytes an erase takes */
};
_Static_assert(sizeof(struct hf_hello_reply) == 4 * 21, "only words");

static inline void hf_put_hello_reply(struct hf_writer *c, const struct hf_hello_reply *m)
{
    hf_put(c, HF_HELLO_REPLY, m);
}

/* Counters since boot. */
#define HF_STATUS_REQUEST ""

/* Reply to Status. */
#define HF_STATUS_REPLY "44444444444vv14"
struct hf_status_reply {
    uint32_t uptime; /* microseconds, wraps */
    uint32_t log_dropped; /* log lines dropped because the line could not keep up */
    uint32_t rx_overrun; /* bytes lost in the receive ring or the UART */
    uint32_t rx_bad; /* frames dropped for their CRC, coding or length */
    uint32_t commits; /* commits and rollbacks */
    uint32_t masked_last; /* instructions with interrupts masked in the last commit */
    uint32_t masked_max; /* the most so far, in a commit or a heap write */
    uint32_t scan_words; /* words read by the last reaper pass */
    uint32_t scan_us; /* microseconds that the longest reaper pass held up threads */
    uint32_t stall_us; /* microseconds that the longest masked collection kept interrupts out */
    uint32_t drift; /* reference counts that a recount found wrong; must be 0 */
    uint32_t hooks_bound; /* hooks that do not have their initial value */
    uint32_t stack_free; /* bytes of the monitor's stack never used */
    uint32_t protection; /* protection flags: what the MPU keeps from the application */
    uint32_t trial_us; /* microseconds until the device takes the generation on trial back; 0: no trial runs */
};
_Static_assert(sizeof(struct hf_status_reply) == 4 * 15, "only words");

static inline void hf_put_status_reply(struct hf_writer *c, const struct hf_status_reply *m)
{
    hf_put(c, HF_STATUS_REPLY, m);
}

/* Lists the slots in use in address order; also runs the reaper. */
#define HF_SLOTS_REQUEST "v"
struct hf_slots_request {
    uint32_t after; /* 0: from the start; else handle + 1 of the last slot seen */
};
_Static_assert(sizeof(struct hf_slots_request) == 4 * 1, "only words");

static inline bool hf_get_slots_request(struct hf_reader *c, struct hf_slots_request *m)
{
    return hf_get(c, HF_SLOTS_REQUEST, m);
}

/* Reply to Slots. */
#define HF_SLOTS_REPLY "v1v+"
struct hf_slots_reply {
    uint32_t generation; /* live generation */
    uint32_t more; /* 1: ask again */
    uint32_t slots_count; /* this page: Slot records follow */
};
_Static_assert(sizeof(struct hf_slots_reply) == 4 * 3, "only words");

static inline void hf_put_slots_reply(struct hf_writer *c, const struct hf_slots_reply *m)
{
    hf_put(c, HF_SLOTS_REPLY, m);
}

/* Lists hooks that do not have their initial value. */
#define HF_HOOKS_REQUEST "v"
struct hf_hooks_request {
    uint32_t first; /* first index */
};
_Static_assert(sizeof(struct hf_hooks_request) == 4 * 1, "only words");

static inline bool hf_get_hooks_request(struct hf_reader *c, struct hf_hooks_request *m)
{
    return hf_get(c, HF_HOOKS_REQUEST, m);
}

/* Reply to Hooks. */
#define HF_HOOKS_REPLY "vv+"
struct hf_hooks_reply {
    uint32_t next; /* first index of the next page; 0: no more */
    uint32_t hooks_count; /* this page: HookValue records follow */
};
_Static_assert(sizeof(struct hf_hooks_reply) == 4 * 2, "only words");

static inline void hf_put_hooks_reply(struct hf_writer *c, const struct hf_hooks_reply *m)
{
    hf_put(c, HF_HOOKS_REPLY, m);
}

/* What was found when the application was parked last. Kept in RAM over a reset. Accepted also with the state lost. */
#define HF_RECORD_REQUEST ""

/* Reply to Record. */
#define HF_RECORD_REPLY "+"

/* Where the application is: the context that the monitor's handler interrupted, or that is parked, and what is on its stack, all of one moment. */
#define HF_STACK_REQUEST ""

/* Reply to Stack. */
#define HF_STACK_REPLY "+"

/* Opens a transaction and allocates all its slots, or none. First runs the reaper. */
#define HF_BEGIN_REQUEST "v41vv+"
struct hf_begin_request {
    uint32_t generation; /* generation that it is linked against */
    uint32_t build_tag; /* first four bytes of the build ID, as a little-endian word */
    uint32_t flags; /* bit 0: give up the undo record if memory is short; bit 1: collect constants if memory is short */
    uint32_t pairs; /* pairs and words that the commit will bind */
    uint32_t slots_count; /* what to allocate: SlotRequest records follow */
};
_Static_assert(sizeof(struct hf_begin_request) == 4 * 5, "only words");

static inline bool hf_get_begin_request(struct hf_reader *c, struct hf_begin_request *m)
{
    return hf_get(c, HF_BEGIN_REQUEST, m);
}

/* Reply to Begin. */
#define HF_BEGIN_REPLY "v+"
struct hf_begin_reply {
    uint32_t grants_count; /* one per slot: Grant records follow */
};
_Static_assert(sizeof(struct hf_begin_reply) == 4 * 1, "only words");

static inline void hf_put_begin_reply(struct hf_writer *c, const struct hf_begin_reply *m)
{
    hf_put(c, HF_BEGIN_REPLY, m);
}

/* Bytes of the open transaction's image. May come in any order, more than once, and span slots. */
#define HF_WRITE_REQUEST "v+"
struct hf_write_request {
    uint32_t offset; /* from the image's start */
};
_Static_assert(sizeof(struct hf_write_request) == 4 * 1, "only words");

static inline bool hf_get_write_request(struct hf_reader *c, struct hf_write_request *m)
{
    return hf_get(c, HF_WRITE_REQUEST, m);
}

/* Reply to Write. */
#define HF_WRITE_REPLY ""

/* Seals the transaction and binds it. On E_SEAL and E_FRAMES the transaction stays open; on any other error it is gone. */
#define HF_COMMIT_REQUEST "14vv+"
struct hf_commit_request {
    uint32_t mode; /* commit mode */
    uint32_t crc; /* CRC-32 over the BEGIN request from its `generation` on, then the image, then this request from `trial` on */
    uint32_t trial; /* 0, or seconds, at most 1800, in which Confirm must come: the device rolls back otherwise */
    uint32_t pairs_count; /* hooks to bind: Pair records follow */
};
_Static_assert(sizeof(struct hf_commit_request) == 4 * 4, "only words");

static inline bool hf_get_commit_request(struct hf_reader *c, struct hf_commit_request *m)
{
    return hf_get(c, HF_COMMIT_REQUEST, m);
}

/* Reply to Commit. */
#define HF_COMMIT_REPLY "vvv+"
struct hf_commit_reply {
    uint32_t generation; /* the new generation */
    uint32_t masked; /* instructions executed with interrupts masked */
    uint32_t frames_count; /* frames of replaced functions, at most 8: E_FRAMES: they are in the way; OK: they finish in old code: Frame records follow */
};
_Static_assert(sizeof(struct hf_commit_reply) == 4 * 3, "only words");

static inline void hf_put_commit_reply(struct hf_writer *c, const struct hf_commit_reply *m)
{
    hf_put(c, HF_COMMIT_REPLY, m);
}

/* Frees the open transaction's slots. No error when none is open. */
#define HF_ABORT_REQUEST ""

/* Reply to Abort. */
#define HF_ABORT_REPLY ""

/* Binds the generation before; makes a new generation. A second one redoes. `base` unbinds everything. */
#define HF_ROLLBACK_REQUEST "v1"
struct hf_rollback_request {
    uint32_t generation; /* live generation, as a guard against repeats */
    uint32_t base; /* 1: back to the base image */
};
_Static_assert(sizeof(struct hf_rollback_request) == 4 * 2, "only words");

static inline bool hf_get_rollback_request(struct hf_reader *c, struct hf_rollback_request *m)
{
    return hf_get(c, HF_ROLLBACK_REQUEST, m);
}

/* Reply to Rollback. */
#define HF_ROLLBACK_REPLY "vv"
struct hf_rollback_reply {
    uint32_t generation; /* the new generation */
    uint32_t masked; /* instructions executed with interrupts masked */
};
_Static_assert(sizeof(struct hf_rollback_reply) == 4 * 2, "only words");

static inline void hf_put_rollback_reply(struct hf_writer *c, const struct hf_rollback_reply *m)
{
    hf_put(c, HF_ROLLBACK_REPLY, m);
}

/* Collects constants, stubs and variables that nothing refers to, with interrupts masked. */
#define HF_GC_REQUEST ""

/* Reply to Gc. */
#define HF_GC_REPLY "vvv"
struct hf_gc_reply {
    uint32_t freed; /* slots */
    uint32_t bytes; /* bytes of the code heap */
    uint32_t stall_us; /* microseconds with interrupts masked */
};
_Static_assert(sizeof(struct hf_gc_reply) == 4 * 3, "only words");

static inline void hf_put_gc_reply(struct hf_writer *c, const struct hf_gc_reply *m)
{
    hf_put(c, HF_GC_REPLY, m);
}

/* Adds or removes the host's pin on a slot. */
#define HF_PIN_REQUEST "v1"
struct hf_pin_request {
    uint32_t handle; /* slot */
    uint32_t pin; /* 1: add, 0: remove */
};
_Static_assert(sizeof(struct hf_pin_request) == 4 * 2, "only words");

static inline bool hf_get_pin_request(struct hf_reader *c, struct hf_pin_request *m)
{
    return hf_get(c, HF_PIN_REQUEST, m);
}

/* Reply to Pin. */
#define HF_PIN_REPLY ""

/* Ends the trial: its generation stays. No error when none runs. */
#define HF_CONFIRM_REQUEST "v"
struct hf_confirm_request {
    uint32_t generation; /* live generation: E_GEN when the trial was rolled back meanwhile */
};
_Static_assert(sizeof(struct hf_confirm_request) == 4 * 1, "only words");

static inline bool hf_get_confirm_request(struct hf_reader *c, struct hf_confirm_request *m)
{
    return hf_get(c, HF_CONFIRM_REQUEST, m);
}

/* Reply to Confirm. */
#define HF_CONFIRM_REPLY ""

/* Reads memory in accesses of the given width; survives bus errors. */
#define HF_READ_REQUEST "4v11"
struct hf_read_request {
    uint32_t address; /* first byte */
    uint32_t length; /* 1 to `chunk` bytes */
    uint32_t width; /* 1, 2, 4; 0: the widest that the address and length allow */
    uint32_t flags; /* read flags */
};
_Static_assert(sizeof(struct hf_read_request) == 4 * 4, "only words");

static inline bool hf_get_read_request(struct hf_reader *c, struct hf_read_request *m)
{
    return hf_get(c, HF_READ_REQUEST, m);
}

/* Reply to Read. */
#define HF_READ_REPLY "+"

/* Writes memory in accesses of the given width; survives bus errors. Not for flash, code heap or hooks. */
#define HF_POKE_REQUEST "411+"
struct hf_poke_request {
    uint32_t address; /* first byte */
    uint32_t width; /* as in Read */
    uint32_t flags; /* read flags */
};
_Static_assert(sizeof(struct hf_poke_request) == 4 * 3, "only words");

static inline bool hf_get_poke_request(struct hf_reader *c, struct hf_poke_request *m)
{
    return hf_get(c, HF_POKE_REQUEST, m);
}

/* Reply to Poke. */
#define HF_POKE_REPLY ""

/* Takes the valid mark from the application by erasing the page that holds it. Only while the bootloader waits (E_OP otherwise: send Reset with mode 1 first). */
#define HF_FLASH_BEGIN_REQUEST "44"
struct hf_flash_begin_request {
    uint32_t length; /* bytes of the image */
    uint32_t mark; /* offset of the 16-byte valid mark from the image's start */
};
_Static_assert(sizeof(struct hf_flash_begin_request) == 4 * 2, "only words");

static inline bool hf_get_flash_begin_request(struct hf_reader *c, struct hf_flash_begin_request *m)
{
    return hf_get(c, HF_FLASH_BEGIN_REQUEST, m);
}

/* Reply to FlashBegin. */
#define HF_FLASH_BEGIN_REPLY ""

/* Erases pages of the application's flash. At most 16 per request. */
#define HF_FLASH_ERASE_REQUEST "vv"
struct hf_flash_erase_request {
    uint32_t page; /* first page, counted from `flash_base` */
    uint32_t count; /* pages */
};
_Static_assert(sizeof(struct hf_flash_erase_request) == 4 * 2, "only words");

static inline bool hf_get_flash_erase_request(struct hf_reader *c, struct hf_flash_erase_request *m)
{
    return hf_get(c, HF_FLASH_ERASE_REQUEST, m);
}

/* Reply to FlashErase. */
#define HF_FLASH_ERASE_REPLY ""

/* Programs bytes into erased flash. Writing the same bytes again is no error; the valid mark cannot be written. */
#define HF_FLASH_WRITE_REQUEST "4+"
struct hf_flash_write_request {
    uint32_t offset; /* from `flash_base` */
};
_Static_assert(sizeof(struct hf_flash_write_request) == 4 * 1, "only words");

static inline bool hf_get_flash_write_request(struct hf_reader *c, struct hf_flash_write_request *m)
{
    return hf_get(c, HF_FLASH_WRITE_REQUEST, m);
}

/* Reply to FlashWrite. */
#define HF_FLASH_WRITE_REPLY ""

/* Checks the image as the boot does and programs the valid mark. */
#define HF_FLASH_END_REQUEST "44"
struct hf_flash_end_request {
    uint32_t length; /* bytes */
    uint32_t crc; /* image CRC (docs/SPEC.md, Image header) */
};
_Static_assert(sizeof(struct hf_flash_end_request) == 4 * 2, "only words");

static inline bool hf_get_flash_end_request(struct hf_reader *c, struct hf_flash_end_request *m)
{
    return hf_get(c, HF_FLASH_END_REQUEST, m);
}

/* Reply to FlashEnd. */
#define HF_FLASH_END_REPLY ""

/* Resets the board after the reply has left. */
#define HF_RESET_REQUEST "1"
struct hf_reset_request {
    uint32_t mode; /* 0: boot the application; 1: wait in the bootloader */
};
_Static_assert(sizeof(struct hf_reset_request) == 4 * 1, "only words");

static inline bool hf_get_reset_request(struct hf_reader *c, struct hf_reset_request *m)
{
    return hf_get(c, HF_RESET_REQUEST, m);
}

/* Reply to Reset. */
#define HF_RESET_REPLY ""

/* Stops the application between two instructions. The reply comes when it was asked for; Hello says when it is done. No error when it is parked. */
#define HF_PARK_REQUEST ""

/* Reply to Park. */
#define HF_PARK_REPLY ""

/* Lets the parked application go on exactly where it was; after a fault it repeats the instruction. E_STATE when it is not parked or cannot go on. */
#define HF_CONTINUE_REQUEST ""

/* Reply to Continue. */
#define HF_CONTINUE_REPLY ""

/* Leaves all that runs, handlers included, runs the registered cleanups, and calls `main` on a fresh stack; all state is kept. E_STATE under an RTOS that did not register for it. */
#define HF_RESTART_REQUEST "4"
struct hf_restart_request {
    uint32_t main; /* static entry of main, Thumb bit set */
};
_Static_assert(sizeof(struct hf_restart_request) == 4 * 1, "only words");

static inline bool hf_get_restart_request(struct hf_reader *c, struct hf_restart_request *m)
{
    return hf_get(c, HF_RESTART_REQUEST, m);
}

/* Reply to Restart. */
#define HF_RESTART_REPLY ""

/* Any request's struct. */
union hf_request {
    struct hf_hello_request hello;
    struct hf_slots_request slots;
    struct hf_hooks_request hooks;
    struct hf_begin_request begin;
    struct hf_write_request write;
    struct hf_commit_request commit;
    struct hf_rollback_request rollback;
    struct hf_pin_request pin;
    struct hf_confirm_request confirm;
    struct hf_read_request read;
    struct hf_poke_request poke;
    struct hf_flash_begin_request flash_begin;
    struct hf_flash_erase_request flash_erase;
    struct hf_flash_write_request flash_write;
    struct hf_flash_end_request flash_end;
    struct hf_reset_request reset;
    struct hf_restart_request restart;
};

#endif
