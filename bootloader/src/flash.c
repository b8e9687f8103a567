/* Programming of the application's flash over the wire. The valid mark goes first and comes last, so
 * that a cut anywhere leaves an application that is not started and can be programmed again. */
#include "hf_state.h"

#define HF_MARK_BYTES 16u
#define HF_PAGES_PER_ERASE 16u

static bool waiting(void)
{
    return (hf_state.app & HF_HELLO_APP_RUNS) == 0;
}

HF_HANDLER(hf_do_flash_begin)
{
    const struct hf_flash_begin_request *q = &request->flash_begin;
    uint32_t page;

    if (!waiting()) {
        return HF_E_OP;
    }
    if (q->length > hf_map.app_size || q->mark % HF_MARK_BYTES != 0 || !hf_within(q->mark, HF_MARK_BYTES, 0, q->length)) {
        return HF_E_RANGE;
    }
    hf_state.app = 0;
    hf_state.header = 0;
    hf_state.flash_open = 1;
    hf_state.flash_mark = q->mark;
    page = (hf_map.app_base + q->mark) & ~(hf_board.flash_page - 1u);
    return hf_board.flash_erase(page) == 0 ? (uint8_t)HF_OK : (uint8_t)HF_E_FLASH;
}

HF_HANDLER(hf_do_flash_erase)
{
    const struct hf_flash_erase_request *q = &request->flash_erase;
    uint32_t pages = hf_map.app_size / hf_board.flash_page;

    if (q->count == 0 || q->count > HF_PAGES_PER_ERASE) {
        return HF_E_FORMAT;
    }
    if (!waiting() || hf_state.flash_open == 0) {
        return HF_E_OP;
    }
    if (!hf_within(q->page, q->count, 0, pages)) {
        return HF_E_RANGE;
    }
    for (uint32_t i = 0; i < q->count; i++) {
        hf_board.watchdog_feed(true);
        if (hf_board.flash_erase(hf_map.app_base + (q->page + i) * hf_board.flash_page) != 0) {
            return HF_E_FLASH;
        }
    }
    return HF_OK;
}

static bool same(uint32_t address, const uint8_t *data, uint32_t length)
{
    const uint8_t *there = hf_ptr(address);

    for (uint32_t i = 0; i < length; i++) {
        if (there[i] != data[i]) {
            return false;
        }
    }
    return true;
}

static bool programs_mark(uint32_t offset, const uint8_t *data, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (offset + i - hf_state.flash_mark < HF_MARK_BYTES && data[i] != 0xFFu) {
            return true;
        }
    }
    return false;
}

/* Whole program units straight from the frame, the last one filled up with erased bytes. */
static int program(uint32_t address, const uint8_t *data, uint32_t length)
{
    uint32_t whole = length & ~(hf_board.flash_write - 1u);
    uint8_t unit[16];

    if (whole != 0 && hf_board.flash_program(address, data, whole) != 0) {
        return -1;
    }
    if (whole == length) {
        return 0;
    }
    for (uint32_t i = 0; i < sizeof unit; i++) {
        unit[i] = whole + i < length ? data[whole + i] : 0xFFu;
    }
    return hf_board.flash_program(address + whole, unit, hf_board.flash_write);
}

HF_HANDLER(hf_do_flash_write)
{
    const struct hf_flash_write_request *q = &request->flash_write;
    const uint8_t *data = r->at;
    uint32_t length = hf_reader_left(r), address;

    if (length == 0 || length > hf_map.chunk) {
        return HF_E_FORMAT;
    }
    if (!waiting() || hf_state.flash_open == 0) {
        return HF_E_OP;
    }
    if (!hf_within(q->offset, length, 0, hf_map.app_size) || q->offset % hf_board.flash_write != 0) {
        return HF_E_RANGE;
    }
    address = hf_map.app_base + q->offset;
    if (same(address, data, length)) {
        return HF_OK;
    }
    if (programs_mark(q->offset, data, length) || program(address, data, length) != 0) {
        return HF_E_FLASH;
    }
    return same(address, data, length) ? (uint8_t)HF_OK : (uint8_t)HF_E_FLASH;
}

HF_HANDLER(hf_do_flash_end)
{
    const struct hf_flash_end_request *q = &request->flash_end;
    const struct hf_image_header *h;
    enum hf_reason reason;
    uint32_t mark[4], offset;

    if (!waiting() || hf_state.flash_open == 0) {
        return HF_E_OP;
    }
    reason = hf_image_check(&h);
    offset = h != NULL ? h->self + (uint32_t)offsetof(struct hf_image_header, mark) - hf_map.app_base : 0;
    if (reason == HF_REASON_NONE && (h->length != q->length || h->crc != q->crc || offset != hf_state.flash_mark ||
        (h->flags & HF_IMAGE_FLAG_HOT) == 0)) {
        reason = HF_REASON_OTHER;
    }
    if (reason != HF_REASON_NONE) {
        hf_put_u8(w, reason);
        return HF_E_CRC;
    }
    mark[0] = HF_IMAGE_MARK;
    mark[1] = h->crc;
    mark[2] = ~h->crc;
    mark[3] = HF_IMAGE_MARK;
    if (hf_board.flash_program(hf_map.app_base + offset, (const uint8_t *)mark, sizeof mark) != 0) {
        return HF_E_FLASH;
    }
    hf_state.flash_open = 0;
    hf_state.header = h->self;
    hf_state.app = HF_HELLO_APP_VALID | HF_HELLO_APP_HOT;
    return HF_OK;
}
