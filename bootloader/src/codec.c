/* The primitives that are not worth repeating at each use: they are most of what the messages are
 * made of. */
#include "hf_codec.h"

uint32_t hf_get_le(struct hf_reader *c, uint32_t bytes)
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

void hf_get_uv(struct hf_reader *c, uint32_t *value)
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

void hf_get_id20(struct hf_reader *c, const uint8_t **value)
{
    *value = c->at;
    if (hf_reader_left(c) < 20) {
        c->bad = true;
        c->at = c->end;
        return;
    }
    c->at += 20;
}

void hf_get_bytes(struct hf_reader *c, const uint8_t **value, uint32_t *length)
{
    *value = c->at;
    *length = hf_reader_left(c);
    c->at = c->end;
}

void hf_get_str(struct hf_reader *c, const uint8_t **value, uint32_t *length)
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

void hf_put_le(struct hf_writer *c, uint32_t value, uint32_t bytes)
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

void hf_put_uv(struct hf_writer *c, uint32_t value)
{
    while (value > 0x7Fu) {
        hf_put_le(c, (value & 0x7Fu) | 0x80u, 1);
        value >>= 7;
    }
    hf_put_le(c, value, 1);
}

void hf_put_bytes(struct hf_writer *c, const uint8_t *value, uint32_t length)
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

void hf_get_u8(struct hf_reader *c, uint8_t *value)
{
    *value = (uint8_t)hf_get_le(c, 1);
}

void hf_get_u32(struct hf_reader *c, uint32_t *value)
{
    *value = hf_get_le(c, 4);
}

void hf_get_u64(struct hf_reader *c, uint64_t *value)
{
    uint32_t low = hf_get_le(c, 4);
    uint32_t high = hf_get_le(c, 4);

    *value = (uint64_t)high << 32 | low;
}

void hf_put_u8(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 1);
}

void hf_put_u32(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 4);
}

void hf_put_u64(struct hf_writer *c, uint64_t value)
{
    hf_put_le(c, (uint32_t)value, 4);
    hf_put_le(c, (uint32_t)(value >> 32), 4);
}
