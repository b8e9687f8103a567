#ifndef TROUBLE_H
#define TROUBLE_H

#include <stdint.h>

/* What the test asks for; tests/system/trouble.py has the same numbers. */
enum trouble {
    TROUBLE_NONE,
    TROUBLE_UNDEFINED,  /* UsageFault: undefined instruction */
    TROUBLE_DIVIDE,     /* UsageFault: division by zero */
    TROUBLE_UNALIGNED,  /* UsageFault: unaligned access */
    TROUBLE_BUS,        /* BusFault: a read where nothing is */
    TROUBLE_FETCH,      /* MemManage: execution in peripheral space */
    TROUBLE_HARD,       /* HardFault: the bus error with interrupts masked */
    TROUBLE_SPIN,       /* no end */
    TROUBLE_OVERFLOW,   /* of the stack */
    TROUBLE_MASKED,     /* no end, interrupts masked */
    TROUBLE_DEEP,       /* no end, ten calls deep, with cleanups on the way */
    TROUBLE_CHECK,      /* no end, checking registers */
    TROUBLE_WORDS,      /* a long log, then a division by zero */
    TROUBLE_SPEAK,      /* a line of the log */
};

/* Where it happens. */
enum place { PLACE_THREAD, PLACE_HANDLER, PLACE_NESTED };

extern volatile uint32_t trouble, place, repaired;
extern volatile uint32_t starts, turns, ticks, kept, parks, continues, last_why, park_ipsr;
extern volatile uint32_t order[16], cleaned;
extern volatile uint32_t broken, checks, fp_broken;
extern volatile int kept_value;

void make_trouble(uint32_t what);
void deep(int level);
void trouble_spared(void);
void check_registers(void);
void check_fp(void);

#endif
