/* Read and Poke: natural width, surviving bus errors, within a policy of who may touch what. */
#include "hf_state.h"

/* Peripheral space and system space of the architecture (ARMv7-M ARM B3.1). */
#define HF_PERIPH_BASE 0x40000000u
#define HF_PERIPH_SIZE 0x20000000u
#define HF_SYSTEM_BASE 0xE0000000u

static uint8_t check_common(uint32_t address, uint32_t length, uint32_t *width, uint32_t flags)
{
    uint32_t any = address | length;

    if (length == 0 || length > hf_map.chunk || *width > 4 || (*width & (*width - 1u)) != 0 ||
        (flags & ~(uint32_t)HF_READF_PERIPHERAL) != 0) {
        return HF_E_FORMAT;
    }
    if (address > 0xFFFFFFFFu - (length - 1u) || (*width != 0 && (any & (*width - 1u)) != 0)) {
        return HF_E_RANGE;
    }
    if (*width == 0) {
        *width = (any & 3u) == 0 ? 4 : (any & 1u) == 0 ? 2 : 1;
    }
    if (hf_overlaps(address, length, hf_board.uart_base, hf_board.uart_size)) {
        return HF_E_DENIED;
    }
    if ((flags & HF_READF_PERIPHERAL) == 0 &&
        (hf_overlaps(address, length, HF_PERIPH_BASE, HF_PERIPH_SIZE) || address + (length - 1u) >= HF_SYSTEM_BASE)) {
        return HF_E_DENIED;
    }
    return HF_OK;
}

HF_HANDLER(hf_do_read)
{
    const struct hf_read_request *q = &request->read;
    uint32_t width = q->width;
    uint8_t status;

    status = check_common(q->address, q->length, &width, q->flags);
    if (status != HF_OK) {
        return status;
    }
    if (!hf_arch_read(q->address, w->at, q->length, width)) {
        return HF_E_FAULT;
    }
    w->at += q->length;
    return HF_OK;
}

HF_HANDLER(hf_do_poke)
{
    const struct {
        uint32_t base, size;
    } closed[] = {
        {hf_map.boot_base, hf_map.boot_size}, {hf_map.app_base, hf_map.app_size}, {hf_map.hook_base, hf_map.hook_size},
        {hf_map.monitor_base, hf_map.monitor_size}, {hf_map.heap_base, hf_map.heap_size},
    };
    const struct hf_poke_request *q = &request->poke;
    const uint8_t *data = r->at;
    uint32_t length = hf_reader_left(r), width = q->width;
    uint8_t status;

    status = check_common(q->address, length, &width, q->flags);
    if (status != HF_OK) {
        return status;
    }
    for (uint32_t i = 0; i < sizeof closed / sizeof closed[0]; i++) {
        if (hf_overlaps(q->address, length, closed[i].base, closed[i].size)) {
            return HF_E_DENIED;
        }
    }
    return hf_arch_write(q->address, data, length, width) ? (uint8_t)HF_OK : (uint8_t)HF_E_FAULT;
}
