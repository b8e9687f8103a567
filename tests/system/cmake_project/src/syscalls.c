#include <stddef.h>
#include <sys/stat.h>

#include "uart.h"

int _write(int file, const char *text, int length)
{
    (void)file;
    for (int i = 0; i < length; i++) {
        uart_put(text[i]);
    }
    return length;
}

void *_sbrk(ptrdiff_t amount)
{
    extern char _heap;
    static char *end = &_heap;
    char *start = end;

    end += amount;
    return start;
}

int _read(int file, char *text, int length)
{
    (void)file;
    (void)text;
    (void)length;
    return 0;
}

int _close(int file)
{
    (void)file;
    return -1;
}

int _lseek(int file, int offset, int whence)
{
    (void)file;
    (void)offset;
    (void)whence;
    return 0;
}

int _fstat(int file, struct stat *status)
{
    (void)file;
    status->st_mode = S_IFCHR;
    return 0;
}

int _isatty(int file)
{
    (void)file;
    return 1;
}
