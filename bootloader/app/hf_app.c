/* Glue that a hot application compiles in: standard output goes to the live log.
 *
 * The link wraps three of newlib's system calls (hot.ldflags). What is written to file descriptors 1 and 2 goes to
 * the monitor; everything else goes on to the application's own calls, if it has any. Saying that 1 and 2 are
 * terminals makes newlib hand over each line when it ends instead of a buffer when it is full.
 *
 * A release build does not compile this file, and `printf` reaches the application's own `_write` again. */
#include "hotflash.h"

#if defined(HOTFLASH) && HOTFLASH

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

/* The glue itself is not to be replaced. */
#define HF_FIXED __attribute__((patchable_function_entry(0)))

int __wrap__write(int file, const char *text, int length);
int __wrap__isatty(int file);
int __wrap__fstat(int file, struct stat *status);

/* Weak: an application without files need not define them. */
extern int __real__write(int file, const char *text, int length) __attribute__((weak));
extern int __real__isatty(int file) __attribute__((weak));
extern int __real__fstat(int file, struct stat *status) __attribute__((weak));

HF_FIXED static int is_log(int file)
{
    return (file == 1) || (file == 2);
}

HF_FIXED int __wrap__write(int file, const char *text, int length)
{
    if (is_log(file)) {
        if (length > 0) {
            hf_log_write(text, (uint32_t)length);
        }
        return length;
    }
    if (__real__write != NULL) {
        return __real__write(file, text, length);
    }
    errno = EBADF;
    return -1;
}

HF_FIXED int __wrap__isatty(int file)
{
    if (is_log(file)) {
        return 1;
    }
    return (__real__isatty != NULL) ? __real__isatty(file) : 0;
}

HF_FIXED int __wrap__fstat(int file, struct stat *status)
{
    if (is_log(file)) {
        memset(status, 0, sizeof *status);
        status->st_mode = S_IFCHR;
        return 0;
    }
    if (__real__fstat != NULL) {
        return __real__fstat(file, status);
    }
    errno = EBADF;
    return -1;
}

#else

typedef int hf_app_is_for_hot_builds;

#endif
