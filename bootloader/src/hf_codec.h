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

static inline uint32_t hf_get_le(struct hf_reader *c, uint32_t bytes)
{
    uint32_t value = 0;

    if (hf_reader_left(c) < bytes) {
        c->bad = true;
        c->at = c->end;
        return 0;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        value |= (uint32_t)c->at[i] << (8u * i);
    }
    c->at += bytes;
    return value;
}

static inline void hf_get_u8(struct hf_reader *c, uint8_t *value)
{
    *value = (uint8_t)hf_get_le(c, 1);
}

static inline void hf_get_u16(struct hf_reader *c, uint16_t *value)
{
    *value = (uint16_t)hf_get_le(c, 2);
}

static inline void hf_get_u32(struct hf_reader *c, uint32_t *value)
{
    *value = hf_get_le(c, 4);
}

static inline void hf_get_u64(struct hf_reader *c, uint64_t *value)
{
    uint32_t low = hf_get_le(c, 4);
    uint32_t high = hf_get_le(c, 4);

    *value = (uint64_t)high << 32 | low;
}

/* ULEB128 (DWARF 5, 7.6) of at most 32 bits in at most five bytes. */
static inline void hf_get_uv(struct hf_reader *c, uint32_t *value)
{
    uint32_t result = 0;

    for (uint32_t shift = 0; shift <= 28; shift += 7) {
        uint32_t byte = hf_get_le(c, 1);

        if (shift == 28 && byte > 0x0Fu) {
            break;
        }
        result |= (byte & 0x7Fu) << shift;
        if (byte < 0x80u) {
            *value = result;
            return;
        }
    }
    c->bad = true;
    *value = 0;
}

static inline void hf_get_id20(struct hf_reader *c, const uint8_t **value)
{
    *value = c->at;
    if (hf_reader_left(c) < 20) {
        c->bad = true;
        c->at = c->end;
        return;
    }
    c->at += 20;
}

/* The rest of the message. */
static inline void hf_get_bytes(struct hf_reader *c, const uint8_t **value, uint32_t *length)
{
    *value = c->at;
    *length = hf_reader_left(c);
    c->at = c->end;
}

static inline void hf_get_str(struct hf_reader *c, const uint8_t **value, uint32_t *length)
{
    hf_get_uv(c, length);
    *value = c->at;
    if (hf_reader_left(c) < *length) {
        c->bad = true;
        *length = 0;
        c->at = c->end;
        return;
    }
    c->at += *length;
}

static inline void hf_put_le(struct hf_writer *c, uint32_t value, uint32_t bytes)
{
    if ((uint32_t)(c->end - c->at) < bytes) {
        c->bad = true;
        c->at = c->end;
        return;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        *c->at++ = (uint8_t)(value >> (8u * i));
    }
}

static inline void hf_put_u8(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 1);
}

static inline void hf_put_u16(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 2);
}

static inline void hf_put_u32(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 4);
}

static inline void hf_put_u64(struct hf_writer *c, uint64_t value)
{
    hf_put_le(c, (uint32_t)value, 4);
    hf_put_le(c, (uint32_t)(value >> 32), 4);
}

static inline void hf_put_uv(struct hf_writer *c, uint32_t value)
{
    while (value > 0x7Fu) {
        hf_put_le(c, (value & 0x7Fu) | 0x80u, 1);
        value >>= 7;
    }
    hf_put_le(c, value, 1);
}

static inline void hf_put_bytes(struct hf_writer *c, const uint8_t *value, uint32_t length)
{
    if ((uint32_t)(c->end - c->at) < length) {
        c->bad = true;
        c->at = c->end;
        return;
    }
    for (uint32_t i = 0; i < length; i++) {
        *c->at++ = value[i];
    }
}

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
