/* The monitor's handler: takes frames, dispatches requests, keeps the cached reply, and fills the line
 * with what waits: replies first, then the log. */
#include "hf_state.h"

#define HF_QUIET 0x80u

/* What a request needs to be looked at. */
#define NEED_APP 1u    /* a hot application that runs */
#define REPEATABLE 2u  /* can simply be done again: its reply is not cached */
#define LOST_TOO 4u    /* also with the state lost */
#define QUIET_TOO 8u   /* may be asked not to answer when it succeeds */

static const struct request {
    uint8_t op;
    uint8_t rules;
    char fields[6]; /* of the message; "+" alone: the handler takes them */
    HF_HANDLER((*handle));
} requests[] = {
    {HF_OP_HELLO, REPEATABLE | LOST_TOO, HF_HELLO_REQUEST, hf_do_hello},
    {HF_OP_STATUS, REPEATABLE | LOST_TOO, HF_STATUS_REQUEST, hf_do_status},
    {HF_OP_SLOTS, REPEATABLE | NEED_APP, HF_SLOTS_REQUEST, hf_do_slots},
    {HF_OP_HOOKS, REPEATABLE | NEED_APP, HF_HOOKS_REQUEST, hf_do_hooks},
    {HF_OP_BEGIN, NEED_APP, "+", hf_do_begin},
    {HF_OP_WRITE, REPEATABLE | NEED_APP | QUIET_TOO, HF_WRITE_REQUEST, hf_do_write},
    {HF_OP_COMMIT, NEED_APP, "+", hf_do_commit},
    {HF_OP_ABORT, NEED_APP, HF_ABORT_REQUEST, hf_do_abort},
    {HF_OP_ROLLBACK, NEED_APP, HF_ROLLBACK_REQUEST, hf_do_rollback},
    {HF_OP_GC, NEED_APP, HF_GC_REQUEST, hf_do_gc},
    {HF_OP_PIN, NEED_APP, HF_PIN_REQUEST, hf_do_pin},
    {HF_OP_READ, REPEATABLE, HF_READ_REQUEST, hf_do_read},
    {HF_OP_POKE, 0, HF_POKE_REQUEST, hf_do_poke},
    {HF_OP_FLASH_BEGIN, 0, HF_FLASH_BEGIN_REQUEST, hf_do_flash_begin},
    {HF_OP_FLASH_ERASE, 0, HF_FLASH_ERASE_REQUEST, hf_do_flash_erase},
    {HF_OP_FLASH_WRITE, REPEATABLE | QUIET_TOO, HF_FLASH_WRITE_REQUEST, hf_do_flash_write},
    {HF_OP_FLASH_END, 0, HF_FLASH_END_REQUEST, hf_do_flash_end},
    {HF_OP_RESET, LOST_TOO, HF_RESET_REQUEST, hf_do_reset},
    {HF_OP_RECORD, REPEATABLE | LOST_TOO, HF_RECORD_REQUEST, hf_do_record},
    {HF_OP_STACK, REPEATABLE | NEED_APP, HF_STACK_REQUEST, hf_do_stack},
    {HF_OP_CONFIRM, NEED_APP, HF_CONFIRM_REQUEST, hf_do_confirm},
    {HF_OP_PARK, NEED_APP, HF_PARK_REQUEST, hf_do_park},
    {HF_OP_CONTINUE, NEED_APP, HF_CONTINUE_REQUEST, hf_do_continue},
    {HF_OP_RESTART, NEED_APP, HF_RESTART_REQUEST, hf_do_restart},
};

HF_HANDLER(hf_do_hello)
{
    const struct hf_hello_request *q = &request->hello;
    struct hf_hello_reply a = {0};

    if (q->min_version <= HF_WIRE_VERSION && q->max_version >= HF_WIRE_VERSION) {
        a.version = HF_WIRE_VERSION;
    }
    a.nonce = q->nonce;
    a.flags = hf_state.app | hf_arch_priority_flags();
    a.flags |= hf_arch_has_mpu() ? (uint32_t)HF_HELLO_MPU : 0u;
    a.core = hf_arch_core();
    a.boot_count = hf_persist.boot_count;
    a.chunk = hf_map.chunk;
    a.credits = hf_map.rx_size / HF_TX_BYTES(hf_map.chunk);
    a.abi = HF_ABI;
    a.heap_base = hf_map.heap_base;
    a.heap_size = hf_map.heap_size;
    a.data_base = hf_map.data_base;
    a.data_size = hf_map.data_size;
    a.hook_base = hf_map.hook_base;
    a.flash_base = hf_map.app_base;
    a.flash_size = hf_map.app_size;
    a.flash_page = hf_board.flash_page;
    a.flags |= hf_board.tick != NULL ? (uint32_t)HF_HELLO_TICK : 0u;
    a.flags |= hf_board.watchdog_start != NULL ? (uint32_t)HF_HELLO_WATCHDOG : 0u;
    a.flags |= hf_record_valid() ? (uint32_t)HF_HELLO_RECORD : 0u;
    if (hf_state.lost != 0) {
        a.flags |= HF_HELLO_STATE_LOST;
    } else {
        a.flags |= hf_state.txn != 0 ? (uint32_t)HF_HELLO_TXN_OPEN : 0u;
        a.flags |= hf_state.undo != 0 ? (uint32_t)HF_HELLO_UNDO : 0u;
        a.flags |= hf_state.trial != 0 ? (uint32_t)HF_HELLO_TRIAL : 0u;
        a.flags |= hf_state.parked != 0 ? (uint32_t)HF_HELLO_PARKED : 0u;
        a.flags |= hf_state.parked != 0 && hf_state.final != 0 ? (uint32_t)HF_HELLO_FINAL : 0u;
        a.generation = hf_state.generation;
        a.hook_capacity = hf_state.hook_capacity;
        a.hook_count = hf_state.hook_count;
        if ((hf_state.app & HF_HELLO_APP_RUNS) != 0) {
            a.heap_free = hf_heap_space();
            a.data_free = hf_data_space();
        }
    }
    hf_put_hello_reply(w, &a);
    hf_put_bytes(w, hf_app_build_id(), HF_BUILD_ID_BYTES);
    hf_put_str(w, hf_board.name);
    hf_put_str(w, HF_VERSION);
    hf_state.hello++;
    hf_state.cache_age = HF_CACHE_AGE;
    return HF_OK;
}

HF_HANDLER(hf_do_status)
{
    struct hf_status_reply a = {
        .uptime = hf_board.micros(),
        .log_dropped = hf_log_dropped(),
        .rx_overrun = hf_frame_overrun(),
        .rx_bad = hf_state.rx_bad,
        .commits = hf_state.commits,
        .masked_last = hf_state.masked_last,
        .masked_max = hf_state.masked_max,
        .scan_words = hf_state.scan_words,
        .scan_us = hf_state.scan_us,
        .stall_us = hf_state.stall_us,
        .drift = hf_state.drift,
        .protection = hf_arch_protection(),
        .trial_us = hf_trial_left(),
    };
    const uint32_t *word = hf_map.stack_low;

    while (word < hf_map.stack_high && *word == HF_STACK_FILL) {
        word++;
    }
    a.stack_free = (uint32_t)(word - hf_map.stack_low) * 4u;
    if (hf_state.lost == 0 && (hf_state.app & HF_HELLO_APP_RUNS) != 0) {
        a.hooks_bound = hf_hooks_bound(hf_state.hook_capacity);
    }
    hf_put_status_reply(w, &a);
    return HF_OK;
}

HF_HANDLER(hf_do_reset)
{
    if (request->reset.mode > 1) {
        return HF_E_FORMAT;
    }
    hf_state.reset = 1u + request->reset.mode;
    return HF_OK;
}

/* What a fault in an interrupt that preempted the handler would leave half done. */
static volatile enum { IDLE, LOOKS, CHANGES } running;

bool hf_monitor_interrupted(void)
{
    bool sound = running == IDLE ? hf_state_sound() : running == LOOKS;

    running = IDLE;
    return sound;
}

static uint8_t dispatch(const struct request *request, bool quiet, struct hf_reader *r, struct hf_writer *w)
{
    union hf_request q;

    if (request == NULL || (quiet && (request->rules & QUIET_TOO) == 0)) {
        return HF_E_OP;
    }
    if (hf_state.lost != 0 && (request->rules & LOST_TOO) == 0) {
        return HF_E_LOST;
    }
    if ((request->rules & NEED_APP) != 0 && (hf_state.app & HF_HELLO_APP_RUNS) == 0) {
        return HF_E_NOAPP;
    }
    if ((request->rules & NEED_APP) != 0 && !hf_heap_sound()) {
        return HF_E_LOST;
    }
    if (!hf_get(r, request->fields, &q)) {
        return HF_E_FORMAT;
    }
    running = (request->rules & NEED_APP) != 0 ? CHANGES : LOOKS;
    uint8_t status = request->handle(&q, r, w);

    running = LOOKS;
    return status;
}

static const struct request *find(uint32_t op)
{
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        if (requests[i].op == op) {
            return &requests[i];
        }
    }
    return NULL;
}

static void answer_again(struct hf_writer *w)
{
    hf_put_bytes(w, hf_state.cache, hf_state.cache_length);
    if (hf_state.cache_op == HF_OP_BEGIN && hf_state.cache[0] == HF_OK && hf_state.txn != 0) {
        hf_txn_grants(w);
    }
}

static void remember(uint8_t op, uint8_t seq, uint32_t crc, const uint8_t *reply, uint32_t length)
{
    if (op == HF_OP_BEGIN && reply[0] == HF_OK) {
        length = 1; /* the grants are rebuilt */
    }
    if (length > HF_CACHE_BYTES) {
        length = HF_CACHE_BYTES; /* an error's text, cut */
    }
    for (uint32_t i = 0; i < length; i++) {
        hf_state.cache[i] = reply[i];
    }
    hf_state.cache_length = (uint16_t)length;
    hf_state.cache_op = op;
    hf_state.cache_seq = seq;
    hf_state.cache_crc = crc;
    hf_state.cache_age = 0;
}

/* One control request: channel, seq, operation, message. */
static void handle(const uint8_t *frame, uint32_t length)
{
    struct hf_reader r = {frame + 3, frame + length, false};
    uint8_t seq = frame[1];
    bool quiet = (frame[2] & HF_QUIET) != 0;
    uint8_t op = frame[2] & (uint8_t)~HF_QUIET;
    uint32_t crc = hf_crc_update(HF_CRC_INIT, frame, length);
    const struct request *request = find(op);
    bool keep = request != NULL && (request->rules & REPEATABLE) == 0;
    struct hf_writer w;
    uint8_t *status;

    if (!hf_tx_begin(&w, HF_CH_CONTROL, seq)) {
        return; /* not reached: the caller saw a free buffer */
    }
    status = w.at;
    if (hf_state.cache_age < HF_CACHE_AGE) {
        if (keep && hf_state.cache_seq == seq && hf_state.cache_crc == crc) {
            answer_again(&w);
            hf_tx_end(&w);
            return;
        }
        hf_state.cache_age++;
    }
    hf_put_u8(&w, HF_OK);
    *status = dispatch(request, quiet, &r, &w);
    if (keep) {
        remember(op, seq, crc, status, (uint32_t)(w.at - status));
    }
    if (quiet && *status == HF_OK) {
        return; /* the buffer was never handed over */
    }
    hf_tx_end(&w);
}

void hf_report(uint8_t kind, enum hf_reason reason)
{
    struct hf_writer w;

    if (hf_tx_begin(&w, HF_CH_FAULT, hf_state.fault_seq)) {
        hf_state.fault_seq++;
        hf_put_u8(&w, kind);
        hf_put_u8(&w, reason);
        hf_tx_end(&w);
    }
}

/* Only onto a line at rest, so that a reply never waits for more than one log frame. */
static void send_log(void)
{
    struct hf_writer w;

    if (!hf_log_waiting() || !hf_tx_idle() || !hf_tx_begin(&w, HF_CH_LOG, hf_state.log_seq)) {
        return;
    }
    hf_put_uv(&w, hf_log_dropped());
    w.at += hf_log_take(w.at, HF_LOG_PER_FRAME);
    hf_state.log_seq++;
    hf_tx_end(&w);
}

static bool room_for_reply(void)
{
    struct hf_writer w;

    return hf_tx_begin(&w, HF_CH_CONTROL, 0);
}

uint32_t hf_monitor_run(void)
{
    const uint8_t *frame;
    uint32_t length;

    (void)hf_frame_work();
    if (!hf_state_sound()) {
        hf_state_lose();
    }
    hf_state.check = ~hf_state.check;
    running = LOOKS;
    if (hf_attention() && hf_state.parked == 0) {
        hf_state.action = HF_ACTION_PARK;
    }
    running = CHANGES;
    hf_trial_end();
    running = LOOKS;
    /* The next request waits while a reply is still to be sent before a reset, or before the
     * application goes on. */
    while (hf_state.reset == 0 && hf_state.action == 0 && room_for_reply() && hf_frame_next(&frame, &length)) {
        if (frame[0] == HF_CH_CONTROL && length > 2) {
            handle(frame, length);
        }
    }
    if (hf_state.reset != 0 && hf_tx_idle()) {
        hf_persist_set(hf_persist.boot_count, hf_state.reset == 2 ? HF_PERSIST_STAY : 0);
        hf_board.reset();
    }
    if (hf_state.action == 0) {
        send_log();
    }
    running = IDLE;
    hf_state_seal();
    if (hf_state.action == 0 || hf_state.parked != 0) {
        return 0;
    }
    return hf_state.action == HF_ACTION_PARK ? HF_PARK_ASKED : HF_PARK_RESTART;
}

void hf_monitor_poll(void)
{
    hf_rx_interrupt();
    if (hf_frame_work() || hf_trial_over()) {
        (void)hf_monitor_run();
    }
    hf_tx_pump();
    hf_board.watchdog_feed(true);
}

uint32_t hf_generation(void)
{
    return hf_state.generation;
}

/* The board's UART keeps its clock here; boards whose clocks can change will be asked from this
 * place. */
void hf_clock_changed(void)
{
}

uint32_t hf_micros(void)
{
    return hf_board.micros();
}
