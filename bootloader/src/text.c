/* Texts in messages. */
#include "hf_state.h"

void hf_put_text(struct hf_writer *w, const char *text)
{
    while (*text != '\0') {
        hf_put_u8(w, (uint8_t)*text++);
    }
}

void hf_put_str(struct hf_writer *w, const char *text)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    hf_put_uv(w, length);
    hf_put_text(w, text);
}

void hf_put_dec(struct hf_writer *w, uint32_t value)
{
    uint8_t digits[10];
    uint32_t n = 0;

    do {
        digits[n++] = (uint8_t)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    while (n > 0) {
        hf_put_u8(w, digits[--n]);
    }
}
