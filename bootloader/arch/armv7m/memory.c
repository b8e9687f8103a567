/* What the compiler asks of a freestanding environment (GCC manual, 2.1 Standards). */
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);

void *memcpy(void *to, const void *from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;

    while (length-- > 0) {
        *out++ = *in++;
    }
    return to;
}

void *memset(void *to, int value, size_t length)
{
    unsigned char *out = to;

    while (length-- > 0) {
        *out++ = (unsigned char)value;
    }
    return to;
}
