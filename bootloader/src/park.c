/* Parking as far as no core is needed: the record of why, the requests, and what the application
 * registered for it (hotflash.h). The application's structs are read where they lie, with every address
 * checked, for it may have failed in any way. */
#include "hf_state.h"

#define HF_PARKING_WORDS 5u /* struct hf_parking: on_park, on_continue, on_restart, keep, keep_count */
#define ON_PARK 0u
#define ON_CONTINUE 1u
#define ON_RESTART 2u
#define KEEP 3u
#define KEEP_COUNT 4u
#define HF_KEEP_MAX 32u
#define HF_CLEANUPS_MAX 64u
/* struct hf_cleanup: run, argument, next */
#define HF_CLEANUP_BYTES 12u

#define HF_REPORT_PARK 3u

#if defined(__arm__)
#define NOINIT __attribute__((section(".noinit")))
#else
#define NOINIT
#endif
NOINIT uint32_t hf_record[HF_RECORD_WORDS + 1u];
#define record_check hf_record[HF_RECORD_WORDS]

/* Changed by the application at any time, so not part of the checksummed state. */
static struct {
    uint32_t parking[HF_PARKING_WORDS];
    uint32_t cleanups; /* the last one that was registered */
} app;

static uint32_t sum(void)
{
    return hf_sum(hf_record, HF_RECORD_WORDS);
}

bool hf_record_valid(void)
{
    return record_check == sum();
}

/* ------------------------------------------------------------------------- what is registered */

static bool callable(uint32_t entry)
{
    return (entry & 1u) != 0 && (hf_within(entry - 1u, 2, hf_map.app_base, hf_map.app_size) ||
                                 hf_within(entry - 1u, 2, hf_map.heap_base, hf_map.heap_size));
}

static void call(uint32_t entry, uint32_t argument)
{
    if (callable(entry)) {
        hf_arch_call(entry, argument);
    }
}

void hf_parking(uint32_t parking)
{
    for (uint32_t i = 0; i < HF_PARKING_WORDS; i++) {
        app.parking[i] = hf_told_readable(parking, 4u * HF_PARKING_WORDS) ? hf_word(parking + 4u * i) : 0;
    }
}

/* Takes the cleanup out of the list, and with `add` puts it first. */
void hf_cleanup(uint32_t cleanup, uint32_t add)
{
    hf_told_list(&app.cleanups, cleanup, HF_CLEANUP_BYTES, HF_CLEANUPS_MAX, add != 0);
}

bool hf_park_kept(uint32_t i, int32_t *irq)
{
    uint32_t at = app.parking[KEEP] + 2u * i;

    if (i >= app.parking[KEEP_COUNT] || i >= HF_KEEP_MAX || !hf_told_readable(at & ~3u, 4)) {
        return false;
    }
    *irq = *(const int16_t *)hf_ptr(at & ~1u);
    return true;
}

void hf_park_told(bool parked)
{
    if (hf_state.parked != HF_PARK_RESTART) {
        call(app.parking[parked ? ON_PARK : ON_CONTINUE], hf_state.parked);
    }
}

/* Each is taken out of the list before it runs: one that fails does not do so again. */
void hf_restart_clean(void)
{
    uint32_t on_restart = app.parking[ON_RESTART];

    for (uint32_t i = 0; i < HF_CLEANUPS_MAX && hf_told_readable(app.cleanups, HF_CLEANUP_BYTES); i++) {
        uint32_t cleanup = app.cleanups;

        hf_cleanup(cleanup, 0);
        call(hf_word(cleanup), hf_word(cleanup + 4u));
    }
    app.cleanups = 0;
    hf_task_forget();
    hf_parking(0);
    call(on_restart, 0);
}

/* ------------------------------------------------------------------------------------- parking */

void hf_monitor_park(uint32_t reason, bool final)
{
    bool sound = hf_monitor_interrupted();
    uint8_t body[1u + 4u * HF_RECORD_WORDS];
    struct hf_writer w = {body, body + sizeof body, false};

    if (!sound) {
        hf_frame_init(); /* its indices may be anything, and so may what was registered */
        hf_parking(0);
        app.cleanups = 0;
    }
    hf_state.parked = reason;
    hf_state.final = final;
    if (hf_state.action == HF_ACTION_PARK) {
        hf_state.action = 0;
    }
    if (reason != HF_PARK_RESTART) {
        hf_record[HF_PARKW_REASON] = reason;
        hf_record[HF_PARKW_FLAGS] = final;
        hf_record[HF_PARKW_GENERATION] = hf_state.generation;
        hf_record[HF_PARKW_BOOT] = hf_persist.boot_count;
        record_check = sum();
        hf_put_u8(&w, HF_REPORT_PARK);
        hf_put_bytes(&w, (const uint8_t *)hf_record, 4u * HF_RECORD_WORDS);
        hf_tx_fault(body, sizeof body, hf_state.fault_seq);
        hf_state.fault_seq++;
    }
    if (sound) {
        hf_state_seal();
    }
    hf_frame_pend();
}

uint32_t hf_monitor_leave(void)
{
    uint32_t action = hf_state.action;

    if (action < HF_ACTION_CONTINUE || !hf_tx_idle() || !hf_state_sound()) {
        return 0;
    }
    hf_state.action = 0;
    hf_state_seal();
    if (action == HF_ACTION_CONTINUE) {
        hf_park_told(false);
    }
    hf_state.parked = 0;
    hf_state_seal();
    return action;
}

HF_HANDLER(hf_do_record)
{
    if (hf_record_valid()) {
        hf_put_bytes(w, (const uint8_t *)hf_record, 4u * HF_RECORD_WORDS);
    }
    return HF_OK;
}

HF_HANDLER(hf_do_park)
{
    if (hf_state.parked == 0) {
        hf_state.action = HF_ACTION_PARK;
    }
    return HF_OK;
}

HF_HANDLER(hf_do_continue)
{
    if (hf_state.parked == 0 || hf_state.final != 0) {
        hf_put_u8(w, hf_state.parked == 0 ? HF_REASON_NOT_PARKED : HF_REASON_CONTEXT_LOST);
        return HF_E_STATE;
    }
    hf_state.action = HF_ACTION_CONTINUE;
    return HF_OK;
}

HF_HANDLER(hf_do_restart)
{
    if (!callable(request->restart.main)) {
        return HF_E_RANGE;
    }
    if (hf_arch_process_stack() && !callable(app.parking[ON_RESTART])) {
        hf_put_u8(w, HF_REASON_NO_CONSENT);
        return HF_E_STATE;
    }
    hf_state.action = request->restart.main;
    return HF_OK;
}
