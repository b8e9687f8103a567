/* The boot decision: find the application's header, check it, and say why when it is not started. */
#include "hf_state.h"

#define HF_REPORT_BOOT 1u
#define HF_REPORT_PLAIN 2u

static const struct hf_image_header *find_header(void)
{
    for (uint32_t at = 0; at < HF_IMAGE_REACH; at += HF_IMAGE_ALIGN) {
        const struct hf_image_header *h = hf_ptr(hf_map.app_base + at);

        if (h->magic == HF_IMAGE_MAGIC && h->self == hf_map.app_base + at) {
            return h;
        }
    }
    return NULL;
}

static uint32_t image_crc(const struct hf_image_header *h)
{
    const uint8_t *base = hf_ptr(h->base);
    struct hf_image_header erased = *h; /* as it was when the host took the CRC */
    uint32_t before = h->self - h->base, after = before + (uint32_t)sizeof *h, crc;

    erased.crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < sizeof h->mark / 4u; i++) {
        erased.mark[i] = 0xFFFFFFFFu;
    }
    crc = hf_crc_update(HF_CRC_INIT, base, before);
    crc = hf_crc_update(crc, (const uint8_t *)&erased, sizeof erased);
    return ~hf_crc_update(crc, base + after, h->length - after);
}

static bool vectors_sane(const struct hf_image_header *h)
{
    uint32_t sp = hf_word(h->base), reset = hf_word(h->base + 4u);

    return (sp & 3u) == 0 && sp > hf_map.ram_base && sp <= hf_map.ram_base + hf_map.ram_size && (reset & 1u) != 0 &&
           hf_within(reset & ~1u, 2, hf_map.app_base, hf_map.app_size);
}

static bool hot_ranges_sane(const struct hf_image_header *h)
{
    uint32_t end = h->self + (uint32_t)sizeof *h;

    return h->hook_base == hf_map.hook_base && h->hook_capacity <= hf_map.hook_size / 4u &&
           h->hook_count <= h->hook_capacity && (h->hook_init & 3u) == 0 && h->length <= hf_map.app_size &&
           h->length >= end - h->base && hf_within(h->hook_init, 4u * h->hook_count, h->base, h->length);
}

/* All but the valid mark. */
enum hf_reason hf_image_check(const struct hf_image_header **header)
{
    const struct hf_image_header *h = find_header();

    *header = h;
    if (h == NULL) {
        return HF_REASON_NO_HEADER;
    }
    if (h->version != HF_IMAGE_VERSION || h->size != sizeof *h) {
        return HF_REASON_VERSION;
    }
    if (h->base != hf_map.app_base || (h->nops != 4u && h->nops != 6u) || h->ram_start > h->ram_end ||
        !hf_within(h->ram_start, h->ram_end - h->ram_start, hf_map.ram_base, hf_map.ram_size) || !vectors_sane(h)) {
        return HF_REASON_RANGES;
    }
    if ((h->flags & HF_IMAGE_FLAG_HOT) == 0) {
        return HF_REASON_NONE;
    }
    if (!hot_ranges_sane(h)) {
        return HF_REASON_RANGES;
    }
    if (h->abi >> 16 != HF_ABI >> 16 || h->abi > HF_ABI) {
        return HF_REASON_ABI;
    }
    if (image_crc(h) != h->crc) {
        return HF_REASON_CRC;
    }
    return HF_REASON_NONE;
}

static bool marked(const struct hf_image_header *h)
{
    return h->mark[0] == HF_IMAGE_MARK && h->mark[1] == h->crc && h->mark[2] == ~h->crc && h->mark[3] == HF_IMAGE_MARK;
}

const uint8_t *hf_app_build_id(void)
{
    static const uint8_t none[HF_BUILD_ID_BYTES];
    uint32_t header = hf_state.header;

    if (header % HF_IMAGE_ALIGN != 0 ||
        !hf_within(header, sizeof(struct hf_image_header), hf_map.app_base, hf_map.app_size)) {
        return none;
    }
    return ((const struct hf_image_header *)hf_ptr(header))->build_id;
}

static bool asked_to_stay(void)
{
    bool stay = hf_persist.stay == HF_PERSIST_STAY;

    hf_persist_set(hf_persist.boot_count, 0);
    return stay;
}

static void take_header(const struct hf_image_header *h)
{
    hf_state.app = HF_HELLO_APP_VALID;
    hf_state.header = h->self;
    hf_state.ram_start = h->ram_start;
    hf_state.ram_end = h->ram_end;
    if ((h->flags & HF_IMAGE_FLAG_HOT) != 0) {
        hf_state.app |= HF_HELLO_APP_HOT;
        hf_state.hook_count = h->hook_count;
        hf_state.hook_capacity = h->hook_capacity;
        hf_state.hook_init = h->hook_init;
    }
}

static enum hf_boot decide(void)
{
    const struct hf_image_header *h;
    enum hf_reason reason = hf_image_check(&h);
    bool hot = reason == HF_REASON_NONE && (h->flags & HF_IMAGE_FLAG_HOT) != 0;

    if (hot && !marked(h)) {
        reason = HF_REASON_UNFINISHED;
    }
    if (reason == HF_REASON_NONE) {
        take_header(h);
    }
    if (asked_to_stay()) {
        reason = HF_REASON_ASKED;
    }
    if (reason != HF_REASON_NONE) {
        hf_report(HF_REPORT_BOOT, reason);
        return HF_BOOT_WAIT;
    }
    if (!hot) {
        hf_report(HF_REPORT_PLAIN, HF_REASON_NONE);
        return HF_BOOT_PLAIN;
    }
    hf_report(HF_REPORT_BOOT, HF_REASON_NONE);
    hf_hooks_init();
    hf_heap_init();
    return HF_BOOT_HOT;
}

enum hf_boot hf_boot_decide(void)
{
    enum hf_boot how = decide();

    hf_state_seal();
    return how;
}

uint32_t hf_boot_vectors(void)
{
    return hf_map.app_base; /* needed where the state may be lost */
}

uint32_t hf_boot_ram(void)
{
    return hf_state.ram_start;
}

uint32_t hf_boot_stack_limit(void)
{
    return ((const struct hf_image_header *)hf_ptr(hf_state.header))->stack_limit;
}

bool hf_boot_hello_seen(void)
{
    return hf_state.hello != 0;
}

void hf_boot_started(void)
{
    hf_state.app |= HF_HELLO_APP_RUNS;
    hf_state_seal();
}
