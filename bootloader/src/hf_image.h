/* The application's image header: docs/SPEC.md, Image header. Mirrored by host/hotflash/image/header.py
 * and laid down, as PLAIN, by bootloader/ld/hotflash.ld. */
#ifndef HF_IMAGE_H
#define HF_IMAGE_H

#include <stdint.h>

#define HF_IMAGE_MAGIC 0x4D494648u /* "HFIM" */
#define HF_IMAGE_VERSION 1u
#define HF_IMAGE_ALIGN 32u    /* of the header */
#define HF_IMAGE_REACH 2048u  /* the header starts within that many bytes of the application's start */
#define HF_IMAGE_FLAG_HOT 1u
#define HF_IMAGE_MARK 0x4B524D56u /* "VMRK" */
#define HF_IMAGE_VECTORS 9u
#define HF_BUILD_ID_BYTES 20u

struct hf_image_vector {
    uint32_t index; /* of the vector table; 0: unused record */
    uint32_t value; /* what the application had there */
};

struct hf_image_header {
    uint32_t magic;         /*   0 HF_IMAGE_MAGIC */
    uint16_t version;       /*   4 HF_IMAGE_VERSION */
    uint16_t size;          /*   6 sizeof(struct hf_image_header): 192 */
    uint32_t flags;         /*   8 HF_IMAGE_FLAG_*; 0: PLAIN */
    uint32_t self;          /*  12 address of this header */
    uint32_t base;          /*  16 start of the application's flash: its vector table */
    uint32_t length;        /*  20 bytes covered by the CRC, from base; 0 in a PLAIN image */
    uint32_t crc;           /*  24 CRC-32 with this word and `mark` read as 0xFF bytes */
    uint32_t abi;           /*  28 least services ABI: major * 65536 + minor */
    uint32_t vector_count;  /*  32 words of the vector table that may be used */
    uint32_t hook_base;     /*  36 hook table in RAM */
    uint32_t hook_capacity; /*  40 entries, spares included */
    uint32_t hook_count;    /*  44 entries that hook_init fills; the others are spare */
    uint32_t hook_init;     /*  48 address of hook_count initial values in flash */
    uint32_t ram_start;     /*  52 the application's RAM: scanned for frames */
    uint32_t ram_end;       /*  56 one past its end */
    uint32_t nops;          /*  60 16-bit nops per patch point (4 or 6) */
    uint8_t build_id[HF_BUILD_ID_BYTES]; /*  64 GNU build ID (SHA-1) */
    struct hf_image_vector vector[HF_IMAGE_VECTORS]; /* 84 entries that were merged */
    uint32_t stack_limit;   /* 156 lowest address of the main stack; 0: not said */
    uint32_t mark[4];       /* 160 { HF_IMAGE_MARK, crc, ~crc, HF_IMAGE_MARK }; erased: not valid */
    uint32_t padding[4];    /* 176 zeros */
};

#endif
