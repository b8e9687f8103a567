/* Trials: a generation that the device takes back by itself unless a host confirms it in time. The
 * undo record stays meanwhile, for nothing else may be committed; the board's periodic interrupt sees
 * to the time when no byte comes. */
#include "hf_state.h"

#define HF_REPORT_TRIAL 4u

void hf_trial_begin(uint32_t seconds)
{
    hf_state.trial = seconds != 0;
    hf_state.trial_end = hf_board.micros() + seconds * 1000000u;
}

uint32_t hf_trial_left(void)
{
    uint32_t left = hf_state.trial_end - hf_board.micros();

    return hf_state.trial != 0 && left < 0x80000000u ? left : 0;
}

bool hf_trial_over(void)
{
    return hf_state.trial != 0 && hf_trial_left() == 0;
}

void hf_trial_end(void)
{
    if (hf_trial_over()) {
        hf_state.trial = 0;
        if (hf_state.undo != 0 && hf_heap_sound()) {
            hf_list_bind(hf_state.undo);
        }
        hf_report(HF_REPORT_TRIAL, HF_REASON_NONE);
    }
}

void hf_tick_interrupt(void)
{
    hf_board.tick(false);
    hf_board.watchdog_feed(false);
    if (hf_trial_over()) {
        hf_frame_pend();
    }
}

HF_HANDLER(hf_do_confirm)
{
    if (request->confirm.generation != hf_state.generation) {
        return HF_E_GEN;
    }
    hf_state.trial = 0;
    return HF_OK;
}
