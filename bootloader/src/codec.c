/* The primitives, and the messages as their descriptions have them: one interpreter is far smaller than
 * a function for each message. */
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

uint32_t hf_get_uv(struct hf_reader *c)
{
    uint32_t result = 0;

    for (uint32_t shift = 0; shift <= 28; shift += 7) {
        uint32_t byte = hf_get_le(c, 1);

        if (shift == 28 && byte > 0x0Fu) {
            break;
        }
        result |= (byte & 0x7Fu) << shift;
        if (byte < 0x80u) {
            return result;
        }
    }
    c->bad = true;
    return 0;
}

void hf_put_str(struct hf_writer *c, const char *text)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    hf_put_uv(c, length);
    hf_put_bytes(c, (const uint8_t *)text, length);
}

bool hf_get(struct hf_reader *c, const char *fields, void *message)
{
    uint32_t *word = message;

    for (; *fields != '\0' && *fields != '+'; fields++) {
        *word++ = *fields == 'v' ? hf_get_uv(c) : hf_get_le(c, (uint32_t)(*fields - '0'));
    }
    return !c->bad && (*fields == '+' || hf_reader_left(c) == 0);
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

void hf_put(struct hf_writer *c, const char *fields, const void *message)
{
    const uint32_t *word = message;

    for (; *fields != '\0' && *fields != '+'; fields++) {
        if (*fields == 'v') {
            hf_put_uv(c, *word++);
        } else {
            hf_put_le(c, *word++, (uint32_t)(*fields - '0'));
        }
    }
}
