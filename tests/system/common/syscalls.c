/* What newlib wants of a system, as a project without hotflash would have it. */
#include <stddef.h>

extern char _end;
void *_sbrk(ptrdiff_t increment);
int _write(int file, const char *text, int length);

void *_sbrk(ptrdiff_t increment)
{
    static char *brk = &_end;
    char *before = brk;

    brk += increment;
    return before;
}

int _write(int file, const char *text, int length)
{
    (void)file;
    (void)text;
    return length;
}

int _close(int file);
int _close(int file)
{
    (void)file;
    return -1;
}
int _lseek(int file, int offset, int whence);
int _lseek(int file, int offset, int whence)
{
    (void)file, (void)offset, (void)whence;
    return 0;
}
int _read(int file, char *text, int length);
int _read(int file, char *text, int length)
{
    (void)file, (void)text, (void)length;
    return 0;
}
int _isatty(int file);
int _isatty(int file)
{
    (void)file;
    return 1;
}
int _fstat(int file, void *status);
int _fstat(int file, void *status)
{
    (void)file, (void)status;
    return -1;
}
