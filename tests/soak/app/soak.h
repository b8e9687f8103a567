/* What makes slots hard to reclaim. Every function below x is checked: whatever its version, it returns f(x). */
#ifndef SOAK_H
#define SOAK_H

#include <setjmp.h>
#include <stdint.h>

#ifndef VERSION
#define VERSION 0
#endif

#define TEXT(x) #x
#define REPEAT(n, what) ".rept " TEXT(n) "\n\t" what "\n\t.endr"
/* Versions differ in size, so that freed slots are taken by others, which lie across them. */
#define PAD() __asm volatile(REPEAT((VERSION * 37) % 120, "nop"))
#define FIXED __attribute__((noinline))

static inline uint32_t f(uint32_t x)
{
    return 3u * x + 1u;
}

/* main.c: never edited */
extern volatile uint32_t epoch; /* the generation, as the last tick saw it */
extern volatile uint32_t calm;  /* nothing waits any more */
extern volatile uint32_t lock_epoch;
extern volatile uint32_t told_wanted;
extern volatile uint32_t nested[3];
uint32_t hold(uint32_t x, uint32_t generations);
uint32_t apply(uint32_t (*visit)(uint32_t x, uint32_t generations), uint32_t x, uint32_t generations);
void scenario(uint32_t *rng);
void check(uint32_t got, uint32_t expected);
__attribute__((noreturn)) void fail(uint32_t code);
static inline uint32_t next(uint32_t *rng)
{
    *rng = *rng * 1664525u + 1013904223u;
    return *rng >> 8;
}

/* tasks.c */
#define TASKS 3u
void tasks_init(void);
void tasks_tend(uint32_t *rng);
void yield(void);
uint32_t *choose(uint32_t *sp); /* the context switch's C half, in sched.c; edited */
struct task {
    uint32_t *volatile sp;
    volatile uint32_t state;
};
enum { TASK_FREE, TASK_READY, TASK_DONE };
extern struct task tasks[1u + TASKS]; /* the first one is main, on the main stack */
extern struct task *volatile current;

/* edited, a unit each */
uint32_t leaf(uint32_t x, uint32_t generations);
uint32_t deep(uint32_t x, uint32_t level, uint32_t generations);
uint32_t ping(uint32_t x, uint32_t level, uint32_t generations);
uint32_t pong(uint32_t x, uint32_t level, uint32_t generations);
uint32_t tail(uint32_t x, uint32_t generations);
uint32_t tail_end(uint32_t x, uint32_t generations);
uint32_t visitor(uint32_t x, uint32_t generations);
uint32_t escape(uint32_t x, uint32_t generations);
void coroutine(void);
uint32_t lock_outer(uint32_t x, uint32_t generations);
uint32_t lock_inner(uint32_t x, uint32_t version, uint32_t lock);
void worker(uint32_t seed);
void SysTick_Handler(void);
void low_handler(void);
void middle_handler(void);
void high_handler(void);

/* Waits for pushes in the middle of a function: half of the time asleep, else at any instruction. */
#define WAIT(generations)                                                                                              \
    do {                                                                                                               \
        uint32_t since = epoch;                                                                                        \
                                                                                                                       \
        while (calm == 0 && epoch - since < (generations)) {                                                           \
            __asm volatile(REPEAT(20, "nop") "\n\twfi");                                                               \
        }                                                                                                              \
    } while (0)

#endif
