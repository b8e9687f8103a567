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

/* Integers of 1 to 4 bytes. */
uint32_t hf_get_le(struct hf_reader *c, uint32_t bytes);
void hf_put_le(struct hf_writer *c, uint32_t value, uint32_t bytes);

/* ULEB128 (DWARF 5, 7.6) of at most 32 bits in at most five bytes. */
uint32_t hf_get_uv(struct hf_reader *c);
void hf_put_uv(struct hf_writer *c, uint32_t value);

void hf_put_bytes(struct hf_writer *c, const uint8_t *value, uint32_t length);
void hf_put_str(struct hf_writer *c, const char *text);

static inline void hf_put_u8(struct hf_writer *c, uint32_t value)
{
    hf_put_le(c, value, 1);
}

/* Messages: structs of words, described by a character for each (hf_messages.h). '1', '2', '4': an
 * integer of that many bytes; 'v': a ULEB128. '+' ends the description of what has more behind it:
 * records, text or bytes, which the caller takes or puts. */

/* Returns whether all was there, and nothing behind it unless there may be more. */
bool hf_get(struct hf_reader *c, const char *fields, void *message);
void hf_put(struct hf_writer *c, const char *fields, const void *message);

#endif
