/* What newlib asks of the system. This board has nothing to print on, so output goes nowhere. */
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

extern char __heap_start[], __heap_end[];

int _write(int file, const char *text, int length);
int _read(int file, char *text, int length);
int _close(int file);
int _lseek(int file, int offset, int whence);
int _fstat(int file, struct stat *status);
int _isatty(int file);
void *_sbrk(ptrdiff_t amount);

int _write(int file, const char *text, int length)
{
    (void)file;
    (void)text;
    return length;
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

void *_sbrk(ptrdiff_t amount)
{
    static char *end = __heap_start;
    char *start = end;

    if (amount > __heap_end - end) {
        errno = ENOMEM;
        return (void *)-1;
    }
    end += amount;
    return start;
}
