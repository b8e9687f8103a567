/* Little-endian primitives of the wire protocol, mirrored by host/hotflash/wire/codec.py.
 *
 * A reader or writer that meets its end sets `bad` and stays there: callers check once, at the
 * message's end. Reading past the end gives zeros. */
#ifndef HF_CODEC_H
#define HF_CODEC_H

#include <stdbool.h>
#include <stdint.h>

struct hf_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

struct hf_writer {
    uint8_t *at;
    uint8_t *end;
    bool bad;
};

static inline uint32_t hf_reader_left(const struct hf_reader *c)
{
    return (uint32_t)(c->end - c->at);
}

uint32_t hf_get_le(struct hf_reader *c, uint32_t bytes);

void hf_get_u8(struct hf_reader *c, uint8_t *value);

static inline void hf_get_u16(struct hf_reader *c, uint16_t *value)
{
    *value = (uint16_t)hf_get_le(c, 2);
}

void hf_get_u32(struct hf_reader *c, uint32_t *value);

void hf_get_u64(struct hf_reader *c, uint64_t *value);

/* ULEB128 (DWARF 5, 7.6) of at most 32 bits in at most five bytes. */
void hf_get_uv(struct hf_reader *c, uint32_t *value);

void hf_get_id20(struct hf_reader *c, const uint8_t **value);

/* The rest of the message. */
void hf_get_bytes(struct hf_reader *c, const uint8_t **value, uint32_t *length);

void hf_get_str(struct hf_reader *c, const uint8_t **value, uint32_t *length);

void hf_put_le(struct hf_writer *c, uint32_t value, uint32_t bytes);

void hf_put_u8(struct hf_writer *c, uint32_t value);

static inline void hf_put_u16(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 2);
}

void hf_put_u32(struct hf_writer *c, uint32_t value);

void hf_put_u64(struct hf_writer *c, uint64_t value);

void hf_put_uv(struct hf_writer *c, uint32_t value);

void hf_put_bytes(struct hf_writer *c, const uint8_t *value, uint32_t length);

static inline void hf_put_id20(struct hf_writer *c, const uint8_t *value)
{
    hf_put_bytes(c, value, 20);
}

static inline void hf_put_str(struct hf_writer *c, const uint8_t *value, uint32_t length)
{
    hf_put_uv(c, length);
    hf_put_bytes(c, value, length);
}

#endif
