/* Startup code as a project without hotflash would have it. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss, _end;
int main(void);
void Reset_Handler(void);
void Default_Handler(void);
void SysTick_Handler(void);
void low_handler(void);
void middle_handler(void);
void high_handler(void);
void PendSV_Handler(void);
void *_sbrk(ptrdiff_t increment);
int _write(int file, const char *text, int length);

__attribute__((section(".vectors"), used)) void *const vectors[16 + 24] = {
    &_estack,
    (void *)Reset_Handler,
    [2] = (void *)Default_Handler,
    [3] = (void *)Default_Handler,
    [14] = (void *)PendSV_Handler,
    [15] = (void *)SysTick_Handler,
    [16 + 20] = (void *)low_handler,
    [16 + 21] = (void *)middle_handler,
    [16 + 22] = (void *)high_handler,
};

void Reset_Handler(void)
{
    for (uint32_t *to = &_sdata, *from = &_sidata; to < &_edata;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &_sbss; to < &_ebss;) {
        *to++ = 0;
    }
    main();
    for (;;) {
    }
}

void Default_Handler(void)
{
    for (;;) {
    }
}

void *_sbrk(ptrdiff_t increment)
{
    static char *brk = (char *)&_end;
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
