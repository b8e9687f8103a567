#include <stdint.h>

extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;

int main(void);
void reset(void);
void systick(void);

static void hang(void)
{
    for (;;) {
    }
}

typedef void handler(void);

__attribute__((section(".isr_vector"), used)) handler *const isr_vector[] = {
    (handler *)&_estack, reset, hang, hang, hang, hang, hang, 0, 0, 0, 0, hang, hang, 0, hang, systick,
};

void reset(void)
{
    uint32_t *source = &_sidata;

    for (uint32_t *target = &_sdata; target < &_edata;) {
        *target++ = *source++;
    }
    for (uint32_t *target = &_sbss; target < &_ebss;) {
        *target++ = 0;
    }
    main();
    hang();
}
